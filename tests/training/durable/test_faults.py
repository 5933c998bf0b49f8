"""What breaks while training is told with the batch that did it, and costs no more than it must."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.tiny_job import tiny_base, tiny_job
from tuneline.errors import UserError
from tuneline.training.durable import store, upload
from tuneline.training.durable.faults import LossFault, LossGuard
from tuneline.training.durable.memory import cut
from tuneline.training.layout import Block
from tuneline.training.packing import Sample, collate
from tuneline.training.train import train
from tuneline.training.trainer import PackedTrainer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


def _compute_loss(monkeypatch: pytest.MonkeyPatch, spoil: Any) -> None:
    """Let ``spoil(loss, inputs)`` change each loss."""
    true = PackedTrainer.compute_loss
    monkeypatch.setattr(
        PackedTrainer, "compute_loss", lambda self, model, inputs, **kw: spoil(true(self, model, inputs, **kw), inputs)
    )


def test_a_loss_that_is_no_number_stops_with_the_records_that_did_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(base, tmp_path / "adapter", training={"max_steps": 6}, checkpoints=str(tmp_path / "checkpoints"))
    seen: list[torch.Tensor] = []

    def spoil(loss: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(inputs["position_ids"])
        return loss * torch.nan if len(seen) == 6 else loss  # the third micro-batch of the second step

    _compute_loss(monkeypatch, spoil)
    with pytest.raises(LossFault, match="the loss is nan at step 2") as caught:
        train(job)
    document = json.loads((tmp_path / "checkpoints" / "fault-00000002.json").read_text())
    by_id = {record.id: record for record in job.records}
    assert document["records"] and all(
        by_id[entry["id"]].messages[0].content.startswith(entry["text"]) for entry in document["records"]
    )
    assert len(document["records"]) <= int((seen[5] == 0).sum()), "the other micro-batch is not accused"
    assert document["records"][0]["id"] in caught.value.what
    assert not job.output.exists()


def test_an_exploding_loss_stops_after_some_steps_and_a_single_wild_one_does_not() -> None:
    batch = collate([Sample([5, 6], [1.0, 1.0], 0)], (Block((0,), 2),), pad_id=0, ragged=True)
    guard = LossGuard([], [], None)
    losses = [1.0] * 12 + [40.0] + [1.0] * 5 + [40.0] * 4
    for step, loss in enumerate(losses, start=1):
        guard.check(step, [torch.tensor(loss)], [batch], 1.0)
    with pytest.raises(LossFault, match="the loss explodes: 40, 5 steps in a row far above the median 1 at step 23"):
        guard.check(len(losses) + 1, [torch.tensor(40.0)], [batch], 1.0)


@pytest.mark.parametrize("ragged", [True, False])
def test_a_micro_batch_is_cut_between_conversations_only(ragged: bool) -> None:
    samples = [Sample([10 * n + i for i in range(n)], [1.0] * n, n) for n in (3, 4, 5, 6)]
    layout = (Block((3, 2), 6), Block((1, 0), 4)) if ragged else (Block((3, 2, 1, 0), 6),)
    batch = collate(samples, layout, pad_id=0, ragged=ragged)
    pieces = cut(batch, 8)
    assert [[token for token in piece["input_ids"].flatten().tolist() if token] for piece in pieces] == [
        samples[number].ids for number in (3, 2, 1, 0)
    ]
    expected = [((1, 6),), ((1, 6),), ((1, 4),), ((1, 4),)] if ragged else [None] * 4
    assert [piece.get("blocks") for piece in pieces] == expected
    assert sum(float(piece["loss_weights"].sum()) for piece in pieces) == float(batch["loss_weights"].sum())


def test_out_of_memory_the_step_is_done_again_in_smaller_passes_with_the_same_result(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(tiny_job(base, tmp_path / "plain", training={}))
    passes = 0

    def spoil(loss: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        nonlocal passes
        passes += 1
        if passes > 5 and inputs["input_ids"].numel() > 180:  # a half is not exact
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss

    _compute_loss(monkeypatch, spoil)
    said: list[str] = []
    halved = train(tiny_job(base, tmp_path / "halved", training={}, say=said.append))
    assert "memory ran out at step 3: micro-batches of 128 tokens" in said[-1]
    assert halved.run.micro_batch_tokens == 128
    for one, other in zip(halved.curve, plain.curve, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-3)
    ours, theirs = (load_file(o.adapter.folder / "adapter_model.safetensors") for o in (halved, plain))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)

    passes = 0
    with pytest.raises(UserError, match=r"a pass of training.micro_batch_tokens \(256\) does not fit") as stopped:
        train(tiny_job(base, tmp_path / "stopped", training={"on_oom": "stop"}))
    assert "training.micro_batch_tokens: 128" in stopped.value.hint


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = store.CheckpointStore.put

    def put(self: store.CheckpointStore, source: Path, name: str) -> None:
        if name == "step-00000004":
            raise OSError(28, "No space left on device")
        true(self, source, name)

    monkeypatch.setattr(store.CheckpointStore, "put", put)
    said: list[str] = []
    checkpoints = {"every_steps": 2}
    folder = str(tmp_path / "checkpoints")
    outcome = train(
        tiny_job(
            base,
            tmp_path / "adapter",
            training={"max_steps": 6, "checkpoints": checkpoints},
            checkpoints=folder,
            say=said.append,
        )
    )
    assert outcome.run.steps == 6
    told = next(line for line in said if "could not be saved" in line)
    assert "step 4" in told and "no room left" in told and "the last good one is of step 2" in told


def test_what_libraries_say_of_a_full_disk_is_understood() -> None:
    assert upload.is_disk_full(RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing"))
    assert not upload.is_disk_full(OSError(13, "Permission denied"))
