"""``run.py export``: a version's files for others, checked against what was registered and evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.cli.conftest import Run
from tests.evaluation.pages import item_of, report_with, suite_of
from tests.training.tiny import job, write_base
from tuneline.evaluation.golden import token_logprobs
from tuneline.release.document import AdapterRef, BaseRef, EngineArguments
from tuneline.release.export_folder import MARKER
from tuneline.release.files import fingerprint
from tuneline.release.parity import GoldenPrompt
from tuneline.training.adapter import LoraAdapter
from tuneline.training.train import train

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml
PROMPT, ANSWER = tuple(range(7, 30)), tuple(range(40, 60))


def _registered(adapter: LoraAdapter, base: Path, golden: list[float]) -> str:
    """Register a version of these files, with log-probabilities that its evaluation recorded."""
    from zenml import save_artifact

    from controlplane.versions import register
    from materializers.evaluation_report import EvaluationReportMaterializer
    from tests.controlplane.registered import record_of

    kept = GoldenPrompt(
        id="i0", prompt_ids=PROMPT, completion_ids=ANSWER, logprobs=tuple(golden), base_logprobs=tuple(golden)
    )
    report = report_with(suite_of({"base": [0.0], "candidate": [1.0]}, items=[item_of(0)]), golden=(kept,))
    changed: dict[str, Any] = {
        "report": save_artifact(report, "report", materializer=EvaluationReportMaterializer).id,
        "adapter": AdapterRef(
            uri=str(adapter.folder), sha256=adapter.sha256, model_version="unregistered", rank=adapter.rank
        ),
        "base": BaseRef(model=str(base), sha256=fingerprint(base)),
        "whole_model": BaseRef(model=str(base), sha256=fingerprint(base)) if adapter.merged else None,
        "engine": EngineArguments(dtype="float32"),
    }
    return register("tiny", record_of().model_copy(update=changed), []).name


def _logprobs(model: Any) -> list[float]:
    with torch.inference_mode():
        return token_logprobs(model.eval(), PROMPT, ANSWER)


def test_a_version_is_written_as_adapter_or_whole_model_once_and_only_into_its_own_folder(
    zenml_client: Client, run: Run, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base")
    adapter = train(job(base, tmp_path / "trained", max_steps=4)).adapter
    (adapter.folder / "README.md").write_text("the card")
    trained = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter.folder)
    golden = _logprobs(trained)
    assert run("stop", "--set", "name=tiny").code == 0  # chooses the stack
    version = _registered(adapter, base, golden)

    out = tmp_path / "handed" / "out"
    ended = run("export", version, "--output", str(out), "--set", "name=tiny")
    assert (ended.code, ended.err) == (0, "")
    assert {file.name for file in out.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        MARKER,
    }
    assert json.loads((out / MARKER).read_text())["adapter"] == adapter.sha256
    assert _logprobs(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out)) == golden

    before = (out / MARKER).stat().st_mtime_ns
    assert "unchanged" in run("export", version, "--output", str(out), "--set", "name=tiny").out
    assert (out / MARKER).stat().st_mtime_ns == before

    ended = run("export", version, "--output", str(out), "--merged", "--set", "name=tiny")  # takes its own place
    assert (ended.code, ended.err.count("Traceback")) == (0, 0)
    assert not (out / "adapter_config.json").exists()
    assert _logprobs(AutoModelForCausalLM.from_pretrained(out)) == pytest.approx(golden, abs=1e-3)
    assert str(tmp_path) not in "".join(file.read_text() for file in out.glob("*.json"))
    assert [file.name for file in out.parent.iterdir()] == ["out"]

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("mine")
    refused = run("export", version, "--output", str(foreign), "--set", "name=tiny")
    assert refused.code == 2
    assert "has files in it that no export wrote" in refused.err
    assert [file.name for file in foreign.iterdir()] == ["mine.txt"]


def test_a_whole_model_version_is_written_as_it_lies_in_the_store(
    zenml_client: Client, run: Run, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base")
    adapter = train(job(base, tmp_path / "trained", max_steps=4, use_dora=True, export="merged")).adapter
    assert adapter.merged is not None
    golden = _logprobs(AutoModelForCausalLM.from_pretrained(adapter.merged))
    assert run("stop", "--set", "name=tiny").code == 0
    version = _registered(adapter, adapter.merged, golden)
    ended = run("export", version, "--output", str(tmp_path / "out"), "--set", "name=tiny")
    assert (ended.code, ended.err.count("Traceback")) == (0, 0)
    assert "is a whole model" in ended.out
    (tmp_path / "out" / MARKER).unlink()
    assert fingerprint(tmp_path / "out") == adapter.merged_sha256

    other = _registered(adapter, adapter.merged, [value - 1 for value in golden])
    ended = run("export", other, "--output", str(tmp_path / "other"), "--set", "name=tiny")
    assert ended.code == 1
    assert "log-probabilities differ by 1.000 nats per token" in ended.err
    assert not (tmp_path / "other").exists()
