"""Instruction data: from any file, hub data set or template to checked chat records."""
