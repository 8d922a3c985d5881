"""How requests to ROMA Connect and to fdi-health are authenticated."""
