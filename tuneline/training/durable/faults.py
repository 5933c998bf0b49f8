"""A loss that is no number, or one that explodes: training stops with the batch that did it, before it does damage.

Looked at once a step, between the gradients and the optimizer: the weights are still those before the batch.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from tuneline.data.records import ChatRecord
from tuneline.errors import TunelineError
from tuneline.training.packing import Sample

# Gradients are clipped, so one wild step does no harm and several in a row do. Medians of 50 steps; a fresh run's
# first ten say little.
_WINDOW, _FEWEST, _IN_A_ROW = 50, 10, 5
_LOSS_FACTOR, _LOSS_MARGIN = 2.0, 1.0  # nats: from 0.5 to 2.0, from 3 to 7
_NORM_FACTOR = 100.0
_BEGINNING = 200


class LossFault(TunelineError):
    """The loss is no number or explodes. Nothing was learnt from the batch that showed it."""


class LossGuard:
    """Watches the losses of one run.

    Args:
        samples: what is learnt from; ``source`` leads from a sample to its record.
        records: of the job.
        note: writes a JSON document beside the checkpoints and says where; None without checkpoints.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        records: Sequence[ChatRecord],
        note: Callable[[str, dict[str, Any]], str] | None,
    ) -> None:
        self._samples = samples
        self._records = records
        self._note = note
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self._norms: deque[float] = deque(maxlen=_WINDOW)
        self._wild = 0

    def check(
        self, step: int, losses: Sequence[Tensor], batches: Sequence[dict[str, Any]], grad_norm: float | None
    ) -> None:
        """Look at one optimizer step.

        Args:
            step: its number, from 1.
            losses: of its micro-batches, scalars that add up to the step's loss.
            batches: the micro-batches.
            grad_norm: before clipping; None where it is not known or may be infinite for a while (float16).

        Raises:
            LossFault: a loss or the gradient is NaN or infinite, or several steps in a row were far above the others.
        """
        by_batch = [float(loss) for loss in torch.stack(list(losses)).cpu()]
        loss = math.fsum(by_batch) if all(map(math.isfinite, by_batch)) else math.nan
        if not math.isfinite(loss):
            bad = next(i for i, value in enumerate(by_batch) if not math.isfinite(value))
            raise self._fault(step, f"the loss is {by_batch[bad]}", [batches[bad]], by_batch, grad_norm)
        if grad_norm is not None and not math.isfinite(grad_norm):
            raise self._fault(step, f"the gradient's length is {grad_norm}", batches, by_batch, grad_norm)
        if self._is_wild(loss, grad_norm):
            self._wild += 1
            if self._wild >= _IN_A_ROW:
                median = statistics.median(self._losses)
                what = f"the loss explodes: {loss:.3g}, {_IN_A_ROW} steps in a row far above the median {median:.3g}"
                raise self._fault(step, what, batches, by_batch, grad_norm)
            return
        self._wild = 0
        self._losses.append(loss)
        if grad_norm is not None:
            self._norms.append(grad_norm)

    def _is_wild(self, loss: float, grad_norm: float | None) -> bool:
        if len(self._losses) < _FEWEST:
            return False
        if loss > _LOSS_FACTOR * statistics.median(self._losses) + _LOSS_MARGIN:
            return True
        if grad_norm is None or len(self._norms) < _FEWEST:
            return False
        return grad_norm > _NORM_FACTOR * statistics.median(self._norms) > 0

    def _fault(
        self,
        step: int,
        what: str,
        batches: Sequence[dict[str, Any]],
        losses: Sequence[float],
        grad_norm: float | None,
    ) -> LossFault:
        records = [self._describe(ids) for batch in batches for ids in _conversations(batch)]
        names = ", ".join(str(record["id"]) for record in records[:5]) + (" …" if len(records) > 5 else "")
        where = ""
        if self._note is not None:
            document = {
                "step": step,
                "what": what,
                "micro_batch_losses": [value if math.isfinite(value) else str(value) for value in losses],
                "grad_norm": grad_norm if grad_norm is None or math.isfinite(grad_norm) else str(grad_norm),
                "records": records,
            }
            try:
                where = f" They are listed in {self._note(f'fault-{step:08d}.json', document)}."
            except Exception as error:  # noqa: BLE001 - storage clients raise what they like; the fault comes first
                where = f" Their list could not be written: {error}."
        return LossFault(
            f"{what} at step {step}, in a batch of {len(records)} records: {names}",
            hint=f"Look at these records, or lower training.learning_rate.{where} No adapter was written.",
        )

    def _describe(self, ids: list[int]) -> dict[str, Any]:
        same = (sample for sample in self._samples if sample.ids == ids[: len(sample.ids)])
        sample = max(same, key=lambda sample: len(sample.ids), default=None)  # what follows is padding
        if sample is None or sample.source < 0:
            return {"id": "unknown", "index": None, "tokens": len(ids), "text": ""}
        record = self._records[sample.source]
        texts = [message.content for message in record.messages if message.role == "user"] or [record.reference]
        beginning = texts[-1][:_BEGINNING]
        return {"id": record.id, "index": sample.source, "tokens": len(ids), "text": beginning}


def _conversations(batch: dict[str, Any]) -> Iterator[list[int]]:
    """The token ids of each conversation of a micro-batch, with the padding behind it."""
    for ids, positions, weights in zip(batch["input_ids"], batch["position_ids"], batch["loss_weights"], strict=True):
        begins = [*(positions == 0).nonzero().flatten().tolist(), len(ids)]
        for begin, end in pairwise(begins):
            if float(weights[begin:end].sum()) > 0:
                yield ids[begin:end].tolist()
