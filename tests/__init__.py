"""Tests. The folders have the layout of the code that they test."""
