"""The command line: one module per command, ZenML imported only by those that need it."""
