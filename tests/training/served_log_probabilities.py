"""vLLM's log-probabilities of given texts, for several models one after the other: run by the serving environment.

``python -m tests.training.served_log_probabilities JOB.json RESULT.json``. JOB is a list of ``{base, adapter, texts}``
(folders, and token ids); RESULT has a list for each, of the log-probabilities of each text's tokens but the first.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from serving.engine import vllm_server  # noqa: F401 - asks for the AMX tiles, which vLLM takes for granted
from serving.engine.command import EngineSpec, engine_environment, engine_flags, installed_device
from tuneline.release import BaseRef, EngineArguments


def measure(base: str, adapter: str, texts: list[list[int]]) -> list[list[float]]:
    """Start an engine as the endpoint does, ask it, and end it."""
    from vllm import LLM, EngineArgs, SamplingParams
    from vllm.distributed import cleanup_dist_env_and_memory
    from vllm.inputs import TokensPrompt
    from vllm.lora.request import LoRARequest
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    arguments = EngineArguments(dtype="float32", max_model_len=512, kv_cache_gib=0.25, max_num_seqs=8)
    flags = engine_flags(EngineSpec(base, True, BaseRef(model=base), arguments), installed_device())
    parsed = EngineArgs.add_cli_args(FlexibleArgumentParser()).parse_args(flags)
    engine = LLM.from_engine_args(EngineArgs.from_cli_args(parsed))
    found: list[list[float]] = []
    # One at a time: vLLM 0.32's kernels for a CPU take the adapters of a batch by requests where log-probabilities of
    # prompts need them by tokens.
    for text in texts:
        (output,) = engine.generate(
            [TokensPrompt(prompt_token_ids=text)],
            SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False),
            use_tqdm=False,
            lora_request=LoRARequest("adapter", 1, adapter),
        )
        places: Any = output.prompt_logprobs
        found.append([places[at][text[at]].logprob for at in range(1, len(text))])
    del engine
    gc.collect()
    cleanup_dist_env_and_memory()
    return found


if __name__ == "__main__":
    job, result = map(Path, sys.argv[1:])
    folder = Path(tempfile.gettempdir())
    environment = engine_environment(
        True, installed_device(), folder=folder, cache=folder / "cache", api_key="", inherited=os.environ
    )
    os.environ |= environment | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    result.write_text(json.dumps([measure(**one) for one in json.loads(job.read_text())]))
