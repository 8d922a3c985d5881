"""HTTP in, HTTP out: a request becomes a verdict, or a problem that says what to fix."""
