"""The container's server, started as the container starts it, under slow, rude and clever callers."""
