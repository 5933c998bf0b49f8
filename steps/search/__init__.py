"""Steps of a hyperparameter search."""
