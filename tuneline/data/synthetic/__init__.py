"""The MLOps/DevOps question generator: free, seeded, any size, with names held out for evaluation."""

from tuneline.data.synthetic.families import TOOLS, Family, load_families
from tuneline.data.synthetic.generate import generate_records
from tuneline.data.synthetic.names import is_held_out

__all__ = ["TOOLS", "Family", "generate_records", "is_held_out", "load_families"]
