"""Prompt templates: what surrounds a question, the same in training, evaluation and serving."""

from tuneline.prompts.template import PromptTemplate

__all__ = ["PromptTemplate"]
