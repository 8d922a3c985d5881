"""The secret stores of Google Cloud."""
