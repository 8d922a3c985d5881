"""HTTP in, HTTP out: what a trigger hands over becomes a verdict, or a problem that says what to fix."""
