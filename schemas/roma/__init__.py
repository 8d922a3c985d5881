"""The documents of ROMA Connect that explain a verdict or say what to ask."""
