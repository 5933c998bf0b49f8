"""Whose weights answer: most subjects share the base model's, a whole model has its own.

The sets are in memory one after the other, never two at a time: two of a model that fills a GPU would not fit.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from tuneline.evaluation.report import Role
from tuneline.evaluation.subjects import AdapterSubject
from tuneline.release.files import FingerprintMismatch, fingerprint
from tuneline.training.base_model import Quantization, load_base

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, ServingConfig

# vLLM's names of a quantization made while loading, and the same for transformers. Others come with the weights.
_QUANTIZATIONS: dict[str | None, Quantization] = {"bitsandbytes": "nf4"}


@dataclass(frozen=True)
class Weights:
    """One set of weights and who answers with it.

    Attributes:
        model: where they are.
        adapters: the adapters over them. Over a whole model lies its own, which changes nothing, as when it is served.
        with_base: whether the base model itself is asked here.
    """

    model: ModelConfig
    adapters: tuple[AdapterSubject, ...]
    with_base: bool

    @property
    def roles(self) -> frozenset[Role]:
        """Who answers."""
        base: frozenset[Role] = frozenset({"base"}) if self.with_base else frozenset()
        return base | {adapter.role for adapter in self.adapters}


def weights_of(model: ModelConfig, adapters: Sequence[AdapterSubject]) -> tuple[Weights, ...]:
    """Each set of weights once: whole models, the candidate's first, then the base model with all plain adapters.

    The base model comes last, because its log-probabilities of the candidate's answers are wanted as well.

    Args:
        model: the base model.
        adapters: champion and candidate.

    Raises:
        FingerprintMismatch: a whole model's files are not the registered ones.
    """
    whole = []
    for adapter in sorted(adapters, key=lambda adapter: adapter.role != "candidate"):
        if adapter.whole is None:
            continue
        if (found := fingerprint(adapter.whole)) != adapter.whole_sha256:
            raise FingerprintMismatch(
                f"The {adapter.role}'s whole model in {adapter.whole} has the fingerprint {found[:12]}…, "
                f"not {(adapter.whole_sha256 or '')[:12]}…: its files are not the ones that were registered."
            )
        own = model.model_copy(update={"base": str(adapter.whole.absolute()), "revision": None})
        whole.append(Weights(own, (adapter,), with_base=False))
    plain = tuple(adapter for adapter in adapters if adapter.whole is None)
    return (*whole, Weights(model, plain, with_base=True))


@contextmanager
def loaded(weights: Weights, serving: ServingConfig) -> Iterator[PreTrainedModel]:
    """A set of weights in memory, as it will be served, and gone afterwards.

    Raises:
        UserError: it cannot be loaded.
    """
    quantization = _QUANTIZATIONS.get(serving.quantization, "none")
    model = [load_base(weights.model, quantization=quantization, dtype=serving.dtype)]
    try:
        yield model[0]
    finally:
        model.clear()
        gc.collect()  # PEFT's layers and their hooks refer to each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
