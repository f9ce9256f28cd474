"""Guests that attack the site that runs them, one file each, and what must come of it."""
