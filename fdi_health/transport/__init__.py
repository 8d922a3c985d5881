"""HTTP with a deadline: `client` on top of `connections`, with `retry` and `exception_mapping`."""
