"""Floor 2: what host and guest say to each other."""
