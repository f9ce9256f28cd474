"""Files of our own: for this user alone, written whole, and locks that end with their holder."""
