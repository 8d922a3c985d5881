"""What fdi-health accepts and returns, as marshmallow schemas; this package imports nothing else of ours."""
