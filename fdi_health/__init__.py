"""The domain of fdi-health: from settings and a deadline to one verdict over several instances."""

VERSION = "0.1.0"
"""The product's version; a test keeps it equal to the one in pyproject.toml."""
