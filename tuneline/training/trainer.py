"""transformers' Trainer with our batches and our loss. The loop, the schedules and the devices stay its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer

from tuneline.training.head import bare_head
from tuneline.training.loss import batch_loss
from tuneline.training.optimizer import let_b_learn_faster

MicroBatches = list[dict[str, Any]]


class PackedTrainer(Trainer):  # type: ignore[misc]
    """Takes a whole optimizer step as one item, so that its position in the data is its number of steps.

    The Trainer's own accumulation is 1; the loss is normalised over the supervised tokens of the step, over all of its
    micro-batches and processes. ``train_dataset`` is ``tuneline.training.batches.Steps``, which knows its process.

    Args:
        loraplus_lr_ratio: how many times faster LoRA's B learns than its A; None: equally fast.
        kwargs: the Trainer's.
    """

    def __init__(self, *, loraplus_lr_ratio: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._loraplus_lr_ratio = loraplus_lr_ratio

    def get_train_dataloader(self) -> DataLoader[MicroBatches]:
        """The steps in their order; which share of them is this process's own the dataset knows."""
        return DataLoader(
            self.train_dataset,
            batch_size=1,
            shuffle=False,
            collate_fn=_only,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
        )

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the optimizer, with LoRA+'s step sizes if they are wanted."""
        made = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if made and self._loraplus_lr_ratio is not None:
            let_b_learn_faster(optimizer, model or self.model, self._loraplus_lr_ratio)
        return optimizer

    def get_batch_samples(
        self, epoch_iterator: Iterator[MicroBatches], num_batches: int, device: torch.device
    ) -> tuple[list[MicroBatches], Tensor | None]:
        """Fetch an optimizer step and the sum of its loss weights over all processes."""
        steps = list(itertools.islice(epoch_iterator, num_batches))
        if not steps:
            return steps, None
        self.state.num_input_tokens_seen += self.train_dataset.plan.tokens_of(self.state.global_step)
        total = torch.stack([batch["loss_weights"][:, 1:].sum() for batch in steps[0]]).sum().to(device)
        if self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return steps, total.clamp(min=1e-6)

    def training_step(
        self, model: nn.Module, inputs: MicroBatches, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward over the step's micro-batches."""
        return torch.stack(self.passes(model, inputs, num_items_in_batch)).sum()

    def passes(self, model: nn.Module, inputs: MicroBatches, num_items_in_batch: Tensor | int | None) -> list[Tensor]:
        """Forward and backward over micro-batches; gradients are exchanged after the last.

        Returns:
            Their shares of the step's loss, scalars.
        """
        model.train()
        losses = []
        for place, batch in enumerate(inputs, 1):
            prepared = self._prepare_inputs(batch)
            last = place == len(inputs)
            self.accelerator.gradient_state._set_sync_gradients(last)
            with self._exchange(model, last=last):
                with self.compute_loss_context_manager():
                    loss = self.compute_loss(model, prepared, num_items_in_batch=num_items_in_batch)
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return losses

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Weighted loss on the supervised tokens of a micro-batch; see ``tuneline.training.loss``."""
        normaliser = inputs["loss_weights"][:, 1:].sum() if num_items_in_batch is None else num_items_in_batch
        loss = batch_loss(model, inputs, normaliser, bare_head(self.model))
        if self.args.world_size > 1 and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # DDP averages the gradients over processes
        return (loss, None) if return_outputs else loss

    def floating_point_ops(self, inputs: MicroBatches) -> int:
        """Not counted: the Trainer's estimate takes one batch of ids."""
        return 0

    def _exchange(self, model: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        # DeepSpeed keeps count of its own; for the others an exchange per micro-batch would be wasted.
        if last or self.is_deepspeed_enabled:
            return nullcontext()
        waiting: AbstractContextManager[Any] = self.accelerator.no_sync(model)
        return waiting


def _only(items: list[MicroBatches]) -> MicroBatches:
    return items[0]
