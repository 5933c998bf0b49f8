"""Validation measures what is never learnt, changes nothing of what is, and gives back the best weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM, TrainerControl, TrainerState, TrainingArguments

from tests.training.random_base import make_random_base
from tuneline import paths
from tuneline.config import Config, load_config
from tuneline.config.training_parts import ValidationConfig
from tuneline.data.records import ChatRecord
from tuneline.data.synthetic import generate_records
from tuneline.errors import UserError
from tuneline.training.block_attention import block_attention
from tuneline.training.durable.state import RunState, load_state, save_state
from tuneline.training.job import TrainingJob
from tuneline.training.outcome import TrainingOutcome
from tuneline.training.packing import Sample
from tuneline.training.train import train
from tuneline.training.validation import Validation, is_kept_back, validation_batches, validation_loss

RECORDS = list(generate_records(("kubectl",), 80, seed=1))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two random layers with the tiny base model's tokenizer."""
    return make_random_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def trained(base: Path, tmp_path: Path) -> Callable[..., TrainingOutcome]:
    """Train on the tiny base with overrides."""

    def run(name: str, records: list[ChatRecord], *overrides: str) -> TrainingOutcome:
        config = settings(base, *overrides)
        return train(TrainingJob(records, config.model, config.training, config.prompt, tmp_path / name))

    return run


def settings(base: Path, *overrides: str) -> Config:
    small = ("max_steps=6", "batch_tokens=1024", "micro_batch_tokens=512", "max_length=256")
    return load_config(
        paths.CONFIGS / "tiny.yaml", [f"model.base={base}", *(f"training.{text}" for text in (*small, *overrides))]
    )


def weights(outcome: TrainingOutcome) -> dict[str, torch.Tensor]:
    return load_file(outcome.adapter.folder / "adapter_model.safetensors")


def test_who_is_kept_back_is_decided_by_id_and_seed_alone() -> None:
    ids = [f"record {number}" for number in range(4000)]
    kept = {name for name in ids if is_kept_back(name, 0.1, seed=0)}
    assert 0.08 < len(kept) / len(ids) < 0.12
    assert kept < {name for name in ids if is_kept_back(name, 0.2, seed=0)}
    assert kept != {name for name in ids if is_kept_back(name, 0.1, seed=1)}
    assert not any(is_kept_back(name, 0.0, seed=0) for name in ids)


def test_what_is_kept_back_is_not_learnt_and_measuring_changes_nothing(trained: Callable[..., TrainingOutcome]) -> None:
    measured = trained("measured", RECORDS, "validation={share: 0.2, every_steps: 2}")
    learnt = [record for record in RECORDS if not is_kept_back(record.id, 0.2, seed=0)]
    alone = trained("alone", learnt)
    assert measured.run.samples == len(learnt) == alone.run.samples
    assert measured.run.validation_samples == len(RECORDS) - len(learnt) > 0
    assert all(torch.equal(weight, weights(alone)[name]) for name, weight in weights(measured).items())
    by_step = {moment.step: moment.validation_loss for moment in measured.curve if moment.validation_loss is not None}
    assert list(by_step) == [2, 4, 6]
    assert measured.run.best_validation_loss == min(by_step.values())
    assert measured.run.best_step == min(by_step, key=by_step.__getitem__)
    assert alone.run.best_validation_loss is None and alone.run.validation_samples == 0


def test_a_run_that_gets_no_better_stops_and_keeps_its_best_weights(trained: Callable[..., TrainingOutcome]) -> None:
    rising = "learning_rate=3", "scheduler=constant", "warmup_ratio=0", "max_steps=40"
    stopped = trained("stopped", RECORDS, "validation={share: 0.2, every_steps: 1, patience: 3}", *rising)
    best = stopped.run.best_step
    assert best is not None and stopped.run.steps == best + 3 < 40
    assert stopped.run.stopped is not None and f"step {best} in 3 measurements" in stopped.run.stopped
    at_best = trained("at best", RECORDS, "validation={share: 0.2, every_steps: 1}", *rising[:3], f"max_steps={best}")
    assert all(torch.equal(weight, weights(at_best)[name]) for name, weight in weights(stopped).items())


def test_a_share_that_leaves_nothing_on_one_side_is_refused(trained: Callable[..., TrainingOutcome]) -> None:
    with pytest.raises(UserError, match="leaves 4 records for training and 0 for validation"):
        trained("none", RECORDS[:4], "validation={share: 0.0001}")


def test_the_loss_is_the_mean_over_tokens_however_they_are_batched(base: Path) -> None:
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    samples = [Sample(list(range(5, 5 + n)), [0.0] + [1.0] * (n - 1)) for n in (9, 30, 17, 4)]
    cpu = torch.device("cpu")

    def loss(of: list[Sample], tokens: int, *, packed: bool) -> float:
        batches = validation_batches(of, packed=packed, micro_batch_tokens=tokens, pad_id=0)
        with block_attention(model) if packed else nullcontext():
            return validation_loss(model, batches, cpu)

    losses = [loss(samples, tokens, packed=packed) for packed, tokens in ((True, 64), (False, 64), (False, 16))]
    alone = [loss([sample], 64, packed=False) for sample in samples]
    counts = [len(sample.ids) - 1 for sample in samples]
    mean = sum(loss * count for loss, count in zip(alone, counts, strict=True)) / sum(counts)
    assert losses == pytest.approx([mean] * 3, abs=1e-5)
    assert model.training is False


def test_patience_and_best_weights_go_on_where_a_checkpoint_left_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    losses = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr("tuneline.training.validation.validation_loss", lambda *_: next(losses))
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    config = ValidationConfig(share=0.1, every_steps=1, patience=2)
    model = torch.nn.Linear(2, 1)

    def step(validation: Validation, number: int) -> TrainerControl:
        with torch.no_grad():
            model.weight.fill_(number)
        control = TrainerControl()
        validation.on_step_end(arguments, TrainerState(global_step=number, max_steps=9), control, model=model)
        return control

    before = Validation(config, [])
    assert not any(step(before, number).should_training_stop for number in (1, 2))
    after = Validation(config, [])
    save_state(tmp_path, RunState(), [before])
    load_state(tmp_path, [after])
    assert step(after, 3).should_training_stop
    assert (after.best_step, after.best_loss) == (1, 1.0)
    after.on_train_end(arguments, TrainerState(), TrainerControl(), model=model)
    assert model.weight.tolist() == [[1.0, 1.0]]
