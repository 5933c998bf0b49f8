"""A training that loses no work: checkpoints, taking up again, and what is done when something breaks."""
