"""ROUGE: F-scores of the words in common (rouge1), and of the longest common subsequence of words (rougeL).

Chin-Yew Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004,
https://aclanthology.org/W04-1013, as implemented by Google's rouge-score, without stemming.
"""

import datasets
import evaluate
from rouge_score import rouge_scorer

_DESCRIPTION = "ROUGE F-measure of rouge-score, per item, from 0 to 1; config_name is rouge1 or rougeL."
_FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})


class _Words:
    """Splits at white space.

    rouge-score's own tokenizer keeps a-z and 0-9 alone: ``--dry-run`` would equal ``dry run``, and Korean be nothing.
    """

    def tokenize(self, text: str) -> list[str]:
        return text.split()


class Rouge(evaluate.Metric):  # type: ignore[misc]
    """Scores per item, from 0 to 1."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="https://aclanthology.org/W04-1013",
            features=_FEATURES,
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, list[float]]:
        kind = self.config_name
        scorer = rouge_scorer.RougeScorer([kind], tokenizer=_Words())
        pairs = zip(predictions, references, strict=True)
        return {"scores": [float(scorer.score(reference, p)[kind].fmeasure) for p, reference in pairs]}
