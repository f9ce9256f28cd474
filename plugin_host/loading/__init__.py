"""From a candidate's bytes to a plugin that has proven itself."""
