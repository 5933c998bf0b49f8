"""chrF: the F-score of character n-grams, forgiving where exact match is not.

Maja Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015,
https://aclanthology.org/W15-3049, as implemented by sacreBLEU (n-grams up to 6, beta 2).
"""

import datasets
import evaluate
import sacrebleu

_DESCRIPTION = "Sentence-level chrF2 of sacreBLEU, per item, from 0 to 1."
_FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})


class ChrF(evaluate.Metric):  # type: ignore[misc]
    """Scores per item, from 0 to 1."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="https://aclanthology.org/W15-3049",
            features=_FEATURES,
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, list[float]]:
        pairs = zip(predictions, references, strict=True)
        return {"scores": [sacrebleu.sentence_chrf(p, [r]).score / 100 for p, r in pairs]}
