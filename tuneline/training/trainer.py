"""transformers' Trainer with our batches and our loss. The loop, the schedules and the devices stay its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer

from tuneline.training.loss import supervised_loss
from tuneline.training.progress import useful_tokens


class PackedTrainer(Trainer):  # type: ignore[misc]
    """Feeds rows without an attention mask and normalises the loss over the whole optimizer step."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # We normalise ourselves, so the Trainer must not divide by the accumulation steps again.
        self.model_accepts_loss_kwargs = True

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Tensor]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor | None]:
        """Fetch one optimizer step's micro-batches and the sum of their loss weights."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return batches, None
        useful = torch.stack([useful_tokens(batch) for batch in batches]).sum().to(device)
        self.state.num_input_tokens_seen += int(self.accelerator.gather(useful).sum())
        total = torch.stack([batch["loss_weights"][:, 1:].sum() for batch in batches]).sum().to(device)
        if self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return batches, total.clamp(min=1e-6)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Weighted loss on the supervised tokens; see ``tuneline.training.loss``."""
        outputs = model(input_ids=inputs["input_ids"], position_ids=inputs["position_ids"], use_cache=False)
        weights = inputs["loss_weights"]
        normaliser = weights[:, 1:].sum() if num_items_in_batch is None else num_items_in_batch
        loss = supervised_loss(outputs.logits, inputs["labels"], weights, normaliser)
        if self.args.world_size > 1 and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # DDP averages the gradients over processes
        return (loss, outputs) if return_outputs else loss
