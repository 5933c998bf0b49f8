"""LoRA and QLoRA training on packed rows, and the adapter that comes out of it."""
