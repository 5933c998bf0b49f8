"""What is measured and against whom: each script writes its numbers as JSON. Run with ``python -m benchmarks.NAME``."""
