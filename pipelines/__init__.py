"""The pipelines: each function reads as its graph."""
