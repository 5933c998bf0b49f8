"""The Trainer with checkpoints that go to a store, passes that fit into memory, and a look at every step's loss."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from tuneline.training.durable.faults import LossGuard
from tuneline.training.durable.memory import OutOfMemory, cut, halve, is_out_of_memory, no_memory
from tuneline.training.durable.state import RunState, load_state, save_state
from tuneline.training.durable.upload import Upload, is_disk_full
from tuneline.training.trainer import MicroBatches, PackedTrainer

if TYPE_CHECKING:
    from tuneline.config import TrainingConfig

# Pickled, and read by nobody: the config says the same.
_UNUSED = ("training_args.bin", "README.md")


class DurableTrainer(PackedTrainer):
    """Saves more than transformers does, and does a step again when memory ran out.

    Args:
        training: the config's section.
        guard: looks at the losses.
        upload: takes the states; None in all processes but the first, and without a store.
        say: told what a person should know.
        cut: into how many passes a micro-batch is cut, a power of two.
        kwargs: the Trainer's.
    """

    def __init__(
        self,
        *,
        training: TrainingConfig,
        guard: LossGuard,
        upload: Upload | None,
        say: Callable[[str], None],
        cut: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._training = training
        self._guard = guard
        self._upload = upload
        self._say = say
        self._micro_batches: MicroBatches = []
        self._losses: list[Tensor] = []
        self.run_state = RunState(cut=cut)

    # ---- taking up again -----------------------------------------------------------------------------

    def train_from(self, checkpoint: Path | None) -> None:
        """Train to the end, from a checkpoint if there is one."""
        if checkpoint is None:
            self.train()
            return
        cut = self.run_state.cut
        self.run_state = load_state(checkpoint, self.callback_handler.callbacks)
        self.run_state.cut = max(cut, self.run_state.cut)
        self.add_callback(_LossSinceLogged(self))
        self.train(resume_from_checkpoint=str(checkpoint))
        self.remove_callback(_LossSinceLogged)

    @property
    def loss_since_logged(self) -> tuple[float, int]:
        """Sum of the steps' losses since the last logged step, over all processes, and that step."""
        return float(self.accelerator.gather(self._tr_loss).mean()), self._globalstep_last_logged

    @loss_since_logged.setter
    def loss_since_logged(self, value: tuple[float, int]) -> None:
        self._tr_loss.fill_(value[0])
        self._globalstep_last_logged = value[1]

    # ---- saving --------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        self.run_state.pending_loss, self.run_state.last_logged = self.loss_since_logged
        failure: Exception | None = None
        try:
            super()._save_checkpoint(model, trial)
            if self.is_world_process_zero():
                save_state(folder, self.run_state, self.callback_handler.callbacks)
            for name in _UNUSED:
                (folder / name).unlink(missing_ok=True)
        except Exception as error:
            # The libraries below wrap what the system said in errors of their own.
            if not is_disk_full(error):
                raise
            failure = error
        if self._anywhere(failure is not None):
            shutil.rmtree(folder, ignore_errors=True)
            if self._upload is not None:
                self._upload.failed(self.state.global_step, failure or OSError("another process could not write"))
        elif self._upload is not None:
            self._upload.start(folder, self.state.global_step)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if state_dict is None and isinstance(self.model, PeftModel):
            # Asked for the state of the whole model, 4-bit layers on a CPU unpack their weights and calculate on with
            # another kernel: saving would change the losses that follow (by 0.006 nats in a tiny model).
            state_dict = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        super()._save(output_dir, state_dict)

    def _anywhere(self, here: bool) -> bool:
        """Whether something is so in any of the processes; waits for all of them."""
        if self.args.world_size == 1:
            return here
        flag = torch.tensor([here], dtype=torch.int32, device=self.args.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag.item())

    # ---- one step ------------------------------------------------------------------------------------

    def training_step(
        self, model: torch.nn.Module, inputs: MicroBatches, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward of a step; from its beginning and in smaller passes if memory runs out."""
        while True:
            pieces = [piece for batch in inputs for piece in cut(batch, self.run_state.cut)]
            try:
                self._losses = self.passes(model, pieces, num_items_in_batch)
                self._micro_batches = pieces
                return torch.stack(self._losses).sum()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error)
            # Outside the handler: while the error lives, its frames hold the activations that were too much.
            self._cut_finer(reason, pieces)
            model.zero_grad()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _cut_finer(self, reason: str, pieces: MicroBatches) -> None:
        if self._training.on_oom == "stop":
            raise no_memory(reason, self._training)
        if all(len(halve(piece)) == 1 for piece in pieces):
            longest = max(piece["input_ids"].shape[1] for piece in pieces)
            raise no_memory(reason, self._training, longest)
        if self.args.world_size > 1:
            raise OutOfMemory(reason)
        self.run_state.cut *= 2
        tokens = self._training.micro_batch_tokens // self.run_state.cut
        self._say(
            f"memory ran out at step {self.state.global_step + 1}: micro-batches of {tokens} tokens from now on, "
            f"{self.run_state.cut} times as many a step; the result is the same"
        )

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
        # float16's loss scaling finds its factor by overflowing.
        known = None if norm is None or self.args.fp16 else float(norm)
        self._guard.check(self.state.global_step + 1, self._losses, self._micro_batches, known)
        return norm


class _LossSinceLogged(TrainerCallback):  # type: ignore[misc]
    """Puts back what the loop sets to zero when it begins.

    Without it the first logged loss after a resumption would be a mean over fewer steps than that of an uninterrupted
    run.
    """

    def __init__(self, trainer: DurableTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Between the loop's zeros and its first step."""
        saved = self._trainer.run_state
        self._trainer.loss_since_logged = saved.pending_loss, saved.last_logged
        saved.resumed_from = (*saved.resumed_from, state.global_step)
