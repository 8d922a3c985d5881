"""Every fault at every place it can strike, through every way in."""
