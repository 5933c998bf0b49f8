"""Exact match: 1 where the answer is the reference, white space at both ends aside, else 0."""

import datasets
import evaluate

_DESCRIPTION = "1 where prediction and reference are the same text, white space at both ends aside; per item."
_FEATURES = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})


class ExactMatch(evaluate.Metric):  # type: ignore[misc]
    """Scores per item, 0 or 1."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            features=_FEATURES,
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, list[float]]:
        pairs = zip(predictions, references, strict=True)
        return {"scores": [float(prediction.strip() == reference.strip()) for prediction, reference in pairs]}
