"""A prompt's log-probabilities beside another question, in vLLM's own CPU code."""

from __future__ import annotations

import os
import subprocess
from multiprocessing import resource_tracker

import pytest

from serving.engine import output_layer, zygote
from tuneline import paths

# Two questions in the batch, of which one has 32 rows of logits: vLLM's call for that question's log-probabilities.
_PROGRAM = """
import torch
from vllm.lora.layers import LoRAMapping
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from serving.engine import output_layer

output_layer.leave_out_adapters()
wrapper = PunicaWrapperCPU(64, 4, "cpu")
tokens = (1,) * 33 + (0,) * 3
wrapper.update_metadata(LoRAMapping(tokens, (1, 0), is_prefill=True), [1, None], 2, 640)
logits = torch.randn(32, 640)
before = logits.clone()
a, b = torch.zeros(2, 1, 16, 256), torch.zeros(2, 1, 640, 16)  # no adapter has a share of the output layer
wrapper.add_lora_logits(logits, torch.randn(32, 256), a, b, 1.0)
assert torch.equal(logits, before)
print("the same logits")
"""


@pytest.mark.skipif(not paths.serving_python().exists(), reason="needs the serving environment: `make setup` makes it")
def test_the_engine_survives_a_prompts_log_probabilities_beside_another_question() -> None:
    finished = subprocess.run(
        [str(paths.serving_python()), "-c", _PROGRAM],
        cwd=paths.REPO,
        env=os.environ | {"VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": str(paths.REPO)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.splitlines()[-1] == "the same logits"


def test_the_engines_core_is_forked_from_a_process_that_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forked(Exception):
        pass

    happened: list[str] = []

    def fork() -> int:
        raise Forked

    monkeypatch.setattr(output_layer, "leave_out_adapters", lambda: happened.append("mended"))
    monkeypatch.setattr(resource_tracker, "ensure_running", lambda: None)
    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(Forked):
        zygote.serve_forks()
    assert happened == ["mended"]
