"""What the host costs, measured against its peers in one run: ``python -m benchmarks``."""
