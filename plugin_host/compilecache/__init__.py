"""Compiled code, kept for all workers and the next start, and trusted only when it is ours."""
