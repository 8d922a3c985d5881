"""Daemon threads, and one call at a time per key."""
