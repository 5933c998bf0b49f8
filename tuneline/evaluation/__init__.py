"""Evaluation: the same questions to base model, champion and candidate, every answer kept."""
