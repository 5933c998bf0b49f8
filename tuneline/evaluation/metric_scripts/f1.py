"""F1 of words as SQuAD counts them: case, punctuation and the articles a, an, the aside, in any order.

Pranav Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016,
https://aclanthology.org/D16-1264, section 6.1; two texts without a word left are alike, as in the
official script of SQuAD 2.0.
"""

import re
import string
from collections import Counter

import datasets
import evaluate

_DESCRIPTION = "F1 of SQuAD's normalised words, per item, from 0 to 1."
_FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _words(text: str) -> list[str]:
    return re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split()


def _f1(prediction: str, reference: str) -> float:
    given, right = _words(prediction), _words(reference)
    if not given or not right:
        return float(given == right)
    common = sum((Counter(given) & Counter(right)).values())
    return 2 * common / (len(given) + len(right))


class F1(evaluate.Metric):  # type: ignore[misc]
    """Scores per item, from 0 to 1."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="https://aclanthology.org/D16-1264",
            features=_FEATURES,
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, list[float]]:
        return {"scores": [_f1(p, r) for p, r in zip(predictions, references, strict=True)]}
