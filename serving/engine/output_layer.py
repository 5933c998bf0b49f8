"""Takes a crash out of vLLM's CPU engine: a prompt's log-probabilities while somebody else is answered.

With LoRA on, vLLM 0.32 adds every adapter's share of the output layer to the logits, row by row, with one adapter's
number for each *question* of the batch. A prompt's log-probabilities have a row for each of its *tokens*. Alone in the
batch the one number stands for all rows; beside any other question the shapes do not fit, and the whole engine ends.
So the proof of a second version ended the engine under the traffic of the first, and the proof of a first version did
if it fell together with the supervisor's own one-token question.
https://github.com/vllm-project/vllm/issues/16668 and https://github.com/vllm-project/vllm/issues/17766

There is no such share here: adapters on the output layer are refused before they are trained
(``tuneline.config.checks``), and one from elsewhere would fail its proof. What is left out are sums of zeros.
"""

from __future__ import annotations

import importlib
from typing import Any

WRAPPER = "vllm.lora.punica_wrapper.punica_cpu"


def leave_out_adapters() -> None:
    """Add nothing to the logits, in this process and in those forked from it."""
    wrapper: Any = importlib.import_module(WRAPPER).PunicaWrapperCPU
    wrapper.add_lora_logits = _nothing


def _nothing(*_: object, **__: object) -> None:
    return None
