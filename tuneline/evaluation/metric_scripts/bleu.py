"""BLEU of single sentences: the precision of word n-grams up to 4, answers that are too short punished.

Kishore Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002,
https://aclanthology.org/P02-1040, as implemented by sacreBLEU: 13a tokens, exponential smoothing, and
of an answer with fewer than 4 words the n-grams that it has (effective order), or no short one could be right.
"""

import datasets
import evaluate
import sacrebleu

_DESCRIPTION = "Sentence-level BLEU of sacreBLEU with effective order, per item, from 0 to 1."
_FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})


class Bleu(evaluate.Metric):  # type: ignore[misc]
    """Scores per item, from 0 to 1."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="https://aclanthology.org/P02-1040",
            features=_FEATURES,
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, list[float]]:
        pairs = zip(predictions, references, strict=True)
        return {"scores": [sacrebleu.sentence_bleu(p, [r], use_effective_order=True).score / 100 for p, r in pairs]}
