"""ROMA Connect: its APIs, and what its error responses mean."""
