"""The plugins folder: which files are there, whole and settled, and when to look again."""
