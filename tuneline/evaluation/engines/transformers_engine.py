"""The reference engine: transformers in this process, base model, champion and candidate in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from tuneline.evaluation.engines.decode_attention import decoding_attention, decoding_cache
from tuneline.evaluation.engines.engine import Answer, Request
from tuneline.evaluation.engines.mixed_lora import Rows, mixed_adapters
from tuneline.evaluation.engines.padding import left_padded
from tuneline.evaluation.report import Role

_ROLES: tuple[Role, ...] = ("base", "champion", "candidate")

# Finished rows are dropped once they are this share of a batch: dropping copies the cache, keeping wastes products.
_FINISHED_SHARE = 0.25


def stop_ids(generation: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Token ids that end an answer: those of the tokenizer and of the model's generation config, as in the engine."""
    declared = getattr(generation, "eos_token_id", None)
    own = declared if isinstance(declared, (list, tuple)) else [declared]
    return tuple(sorted({int(token) for token in [tokenizer.eos_token_id, *own] if token is not None}))


class TransformersEngine:
    """Greedy decoding of our own.

    transformers' ``generate`` keeps finished rows computing until the slowest row ends, and a base model that was never
    taught to stop rambles to the limit beside adapters that end after a line. Here finished rows leave the batch, and
    all subjects share it.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        *,
        pad_id: int,
        stop_ids: Sequence[int],
        max_new_tokens: int,
        batch_size: int,
    ) -> None:
        """Get ready; nothing is computed.

        Args:
            model: with the adapters "champion" and "candidate" loaded as far as they are asked, or plain.
            pad_id: any known token.
            stop_ids: token ids that end an answer.
            max_new_tokens: longest answer, tokens.
            batch_size: rows at once for each subject; three subjects make batches three times as large.
        """
        self._model = model
        self._core: Any = model.get_base_model() if isinstance(model, PeftModel) else model
        self._pad_id = pad_id
        self._stop = torch.tensor(tuple(stop_ids), device=model.device)
        self._max_new_tokens = max_new_tokens
        self._batch_size = batch_size

    @torch.inference_mode()
    def answer(self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None) -> list[Answer]:
        """Answer all requests (see ``Engine``).

        Raises:
            TunelineError: an adapter that is asked is not loaded, or is no plain LoRA.
        """
        answers: dict[int, Answer] = {}
        was_training = self._core.training
        self._core.eval()
        try:
            subjects = {request.subject for request in requests} - {"base"}
            with decoding_attention(self._core), mixed_adapters(self._model, subjects) as rows:
                for batch in batches(requests, self._batch_size):
                    self._decode(requests, batch, rows, answers)
                    if on_progress is not None:
                        on_progress(len(answers))
        finally:
            self._core.train(was_training)
        return [answers[place] for place in range(len(requests))]

    def _decode(self, requests: Sequence[Request], batch: list[int], rows: Rows, answers: dict[int, Answer]) -> None:
        """Answer one batch; ``batch`` holds places in ``requests``, those of one subject next to each other."""
        alive = list(batch)
        ids, mask, positions = left_padded(
            [requests[place].prompt_ids for place in alive], self._pad_id, self._model.device
        )
        cache = decoding_cache(self._core, self._max_new_tokens)
        tokens: dict[int, list[int]] = {place: [] for place in alive}
        while True:
            rows.assign([None if requests[place].subject == "base" else requests[place].subject for place in alive])
            logits = self._core(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            chosen = logits.argmax(-1)
            ended = torch.isin(chosen, self._stop)
            for place, token, end in zip(alive, chosen.tolist(), ended.tolist(), strict=True):
                if place not in answers:
                    tokens[place].append(token)
                    if end or len(tokens[place]) == self._max_new_tokens:
                        answers[place] = Answer(tuple(tokens[place]), finished=end)
            left = [row for row, place in enumerate(alive) if place not in answers]
            if not left:
                return
            if len(alive) - len(left) >= _FINISHED_SHARE * len(alive):
                keep = torch.tensor(left, device=ids.device)
                alive = [alive[row] for row in left]
                cache.batch_select_indices(keep)
                chosen, mask, positions = chosen[keep], mask[keep], positions[keep]
            ids = chosen[:, None]
            positions = positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)


def batches(requests: Sequence[Request], batch_size: int) -> list[list[int]]:
    """Places of the requests in batches: prompts of like length together, each subject's rows next to each other."""
    by_role = {
        role: sorted(
            (place for place, request in enumerate(requests) if request.subject == role),
            key=lambda place: len(requests[place].prompt_ids),
            reverse=True,
        )
        for role in _ROLES
    }
    longest = max(map(len, by_role.values()), default=0)
    return [
        [place for places in by_role.values() for place in places[begin : begin + batch_size]]
        for begin in range(0, longest, batch_size)
    ]
