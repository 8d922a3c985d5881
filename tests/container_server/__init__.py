"""The container's server, started as the container starts it, with slow and hostile callers."""
