"""tuneline: what the product knows about fine-tuning, judging and releasing language models.

This package is the floor of the house. It imports neither ZenML nor BentoML, so the same code
serves a pipeline step, the gateway in front of the engine, a notebook and a unit test.
"""
