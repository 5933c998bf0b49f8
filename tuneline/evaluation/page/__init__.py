"""The parts of the evaluation report's page: scores by suite, what changed between the answers, slices."""
