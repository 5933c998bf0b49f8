"""Steps that make the tiny base model."""
