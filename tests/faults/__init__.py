"""Every fault at every place where it can occur, through every entry point."""
