"""Module files: read as hostile bytes, capped, and rewritten; nothing here runs one."""
