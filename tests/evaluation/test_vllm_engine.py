"""The engine that serves also evaluates: all subjects in one process, which ends whatever happens."""

from __future__ import annotations

import os
import random
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedModel

from tuneline import paths
from tuneline.errors import TunelineError, UserError
from tuneline.evaluation.engines.engine import Request
from tuneline.evaluation.engines.transformers_engine import TransformersEngine
from tuneline.evaluation.engines.vllm_engine import VllmEngine
from tuneline.evaluation.subjects import AdapterSubject, with_adapters
from tuneline.release import BaseRef, EngineArguments
from tuneline.release.files import ADAPTER_FILES, fingerprint

BASE = paths.ASSETS / "tiny-base"
ROLES: tuple[Any, ...] = ("base", "champion", "candidate")


def _engine(adapters: dict[Any, Path], **arguments: Any) -> VllmEngine:
    settings = EngineArguments(**{"max_model_len": 256, "kv_cache_gib": 0.25} | arguments)
    return VllmEngine(BaseRef(model=str(BASE)), settings, adapters, max_new_tokens=12, stop_ids=[5])


@pytest.fixture
def fake_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """An interpreter of the serving environment that runs a shell script: ``$3 $4`` are job and result."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def make(script: str) -> None:
        file = tmp_path / "python"
        guard = f'if [ "$1" = -I ]; then exec {sys.executable} "$@"; fi\n'
        file.write_text(f"#!/bin/sh\n{guard}{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("TUNELINE_SERVING_PYTHON", str(file))

    return make


REQUESTS = [Request("base", (7, 8)), Request("candidate", (9,))]
ADAPTERS: dict[Any, Path] = {"candidate": Path("/adapter")}


def test_answers_and_progress_come_from_the_process(fake_python: Callable[[str], None], tmp_path: Path) -> None:
    lines = "echo tuneline-answered 0; sleep 1; echo tuneline-answered 1; sleep 1"
    fake_python(f"cat $3 > {tmp_path}/seen.json; {lines}; echo '[[[1, 5], true], [[2], false]]' > $4")
    done: list[int] = []
    answers = _engine(ADAPTERS).answer(REQUESTS, done.append)
    assert [(answer.ids, answer.finished) for answer in answers] == [((1, 5), True), ((2,), False)]
    assert done == [0, 1, 2]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["python", "seen.json"]


@pytest.mark.parametrize("end", ["exit 3", "kill -9 $$", "exit 0"])
def test_a_process_that_ends_without_an_answer_is_told_with_the_end_of_its_log(
    end: str, fake_python: Callable[[str], None], tmp_path: Path
) -> None:
    fake_python(f"echo out of memory >&2; {end}")
    with pytest.raises(TunelineError, match="out of memory"):
        _engine(ADAPTERS).answer(REQUESTS)
    assert [file.name for file in tmp_path.iterdir()] == ["python"]


def test_an_interruption_ends_the_whole_process_tree(fake_python: Callable[[str], None], tmp_path: Path) -> None:
    fake_python(f"sleep 1000 & echo $! > {tmp_path}/pids; echo $$ >> {tmp_path}/pids; echo tuneline-answered 0; wait")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _engine(ADAPTERS).answer(REQUESTS, interrupt)
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        assert not Path(f"/proc/{pid}").exists()


def test_without_a_serving_environment_or_an_adapter_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNELINE_SERVING_PYTHON", "/nowhere/python")
    with pytest.raises(UserError, match="no serving environment: /nowhere/python"):
        _engine(ADAPTERS).answer(REQUESTS)
    with pytest.raises(TunelineError, match="no adapter for the candidate"):
        _engine({}).answer(REQUESTS)


needs_engine = [
    pytest.mark.engine,
    pytest.mark.skipif(not paths.serving_python().exists(), reason="no serving environment; ./setup.sh makes it"),
]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    made: dict[Any, Path] = {}
    for seed, role in enumerate(ROLES[1:], 1):
        torch.manual_seed(seed)
        config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
        made[role] = tmp_path_factory.mktemp(role)
        get_peft_model(_base(), config).save_pretrained(str(made[role]), save_embedding_layers=False)
    return made


def _base() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)  # type: ignore[no-any-return]


def _requests(count: int) -> list[Request]:
    rng = random.Random(1)
    prompts = [tuple(rng.randrange(6, 1000) for _ in range(rng.randint(3, 30))) for _ in range(count)]
    return [Request(role, prompt) for prompt in prompts for role in ROLES]


class TestRealEngine:
    pytestmark = needs_engine

    def test_all_subjects_in_one_engine_answer_as_transformers_does(self, adapters: dict[Any, Path]) -> None:
        requests = _requests(12)
        answers = _engine(adapters, dtype="float32").answer(requests)
        subjects = [
            AdapterSubject(role, folder, role, fingerprint(folder, ADAPTER_FILES)) for role, folder in adapters.items()
        ]
        with with_adapters(_base(), subjects) as model:
            reference = TransformersEngine(model, pad_id=1, stop_ids=[5], max_new_tokens=12, batch_size=12)
            expected = reference.answer(requests)
        for place, role in enumerate(ROLES):
            same = sum(a == b for a, b in zip(answers[place::3], expected[place::3], strict=True))
            assert same >= 11, f"{role}: {same} of 12"
        assert len({tuple(answers[place::3]) for place in range(3)}) == 3

    def test_an_engine_that_is_killed_half_way_gives_no_partial_result(self, adapters: dict[Any, Path]) -> None:
        killed = threading.Event()

        def kill(_: int) -> None:
            if not killed.is_set():
                killed.set()
                for pid in _offline_children():
                    os.kill(pid, signal.SIGKILL)

        began = time.monotonic()
        with pytest.raises(TunelineError, match="status 137 before it had answered"):
            _engine(adapters).answer(_requests(400), kill)
        assert killed.is_set() and time.monotonic() - began < 300


def _offline_children() -> list[int]:
    """Pids of vLLM processes below this one: this process's child is the guard, vLLM is the guard's."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        pid, parent = int(file.parent.name), _parent(file)
        line = (file.parent / "cmdline").read_bytes()
        if b"serving.engine.offline" in line and _parent(Path(f"/proc/{parent}/stat")) == os.getpid():
            found.append(pid)
    return found


def _parent(stat_file: Path) -> int:
    return int(stat_file.read_text().rpartition(")")[2].split()[1])
