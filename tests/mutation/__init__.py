"""Mutation testing: changes to the code that decides, each of which a test has to notice."""
