"""Stacks as files, applied to ZenML, and the model deployer flavor that they use."""
