"""Hyperparameter search: Optuna proposes, trainings answer, documents in the artifact store remember."""
