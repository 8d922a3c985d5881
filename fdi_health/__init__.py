"""The domain of fdi-health: from settings and a deadline to one verdict over several instances."""
