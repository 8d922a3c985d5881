"""The domain of fdi-health: from settings and a deadline to one verdict over several instances."""

__version__ = "1.0.0"
"""The release; the source is deployed as it is, so that no package's metadata says it."""
