"""One module per platform: each turns its kind of request or event into an HTTP request."""
