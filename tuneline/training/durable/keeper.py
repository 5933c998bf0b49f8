"""When a running training is saved, and when it ends because somebody asked for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tuneline.training.durable.interruption import Interruption, ended

if TYPE_CHECKING:
    from tuneline.config.training_parts import CheckpointsConfig
    from tuneline.training.durable.upload import Upload


class Keeper(TrainerCallback):  # type: ignore[misc]
    """Asks the Trainer for a checkpoint when one is due, and for the end after a signal.

    With several processes all of them do the same: what any of them wants counts for all. It has to come after the
    callbacks that may end the run.

    Args:
        config: how often.
        upload: brings states to the store; None in all processes but the first, and without a store.
        interruption: whether the end was asked for.
    """

    def __init__(self, config: CheckpointsConfig, upload: Upload | None, interruption: Interruption) -> None:
        self._config = config
        self._upload = upload
        self._interruption = interruption
        self._saved_at = time.monotonic()
        self.ended = False  # by a signal

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock; end at once if that was asked for while the model was loaded."""
        if self._interruption.by is not None:
            saved = None if self._upload is None else self._upload.last_step
            raise ended(self._interruption.by, state.global_step, state.max_steps, saved)
        self._saved_at = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Decide what happens after this step."""
        last = state.global_step >= state.max_steps  # the result itself is kept then
        save, end = self._due(state.global_step), self._interruption.by is not None
        stop = control.should_training_stop  # by another callback, whose clock may be ahead of the other processes'
        if args.world_size > 1:
            wishes = torch.tensor([save, end, stop], dtype=torch.int32, device=args.device)
            torch.distributed.all_reduce(wishes, torch.distributed.ReduceOp.MAX)
            save, end, control.should_training_stop = (bool(wish) for wish in wishes.tolist())
        if last or control.should_training_stop:
            return
        if end:
            self.ended = True
            control.should_training_stop = True
        if save or end:
            control.should_save = True
            self._saved_at = time.monotonic()

    def _due(self, step: int) -> bool:
        # By time it waits until the one before is through; by steps, which a person asked for, training waits for it.
        if self._upload is None:
            return False
        if self._config.every_steps is not None and step % self._config.every_steps == 0:
            return True
        return time.monotonic() - self._saved_at > self._config.every_minutes * 60 and not self._upload.busy
