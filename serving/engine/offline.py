"""Answers a batch of prompts with vLLM in this process: ``python -m serving.engine.offline JOB.json RESULT.json``.

For evaluations: base model, champion and candidate answer in one engine, as they will be served (same arguments, same
environment), but without a server, which would be two processes and a minute more to start. Greedy.

JOB holds a ``Job``; RESULT a list of ``[token ids, finished]`` in the order of the requests. RESULT is there when all
of it is.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from serving.engine import vllm_server  # noqa: F401 - asks for the AMX tiles, which vLLM takes for granted
from serving.engine.command import EngineSpec, engine_environment, engine_flags, installed_device
from tuneline.errors import TunelineError
from tuneline.release import BaseRef, EngineArguments

PROGRESS = "tuneline-answered"


class Job(BaseModel):
    """What is asked.

    Attributes:
        base: the base model; a hub id or a folder.
        arguments: how the engine is started.
        adapters: by subject, the adapter's folder. A subject without one is the base model.
        requests: subject and token ids of the prompt.
        max_new_tokens: longest answer, tokens.
        stop_ids: token ids that end an answer.
        cache: where vLLM keeps its caches.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: BaseRef
    arguments: EngineArguments
    adapters: dict[str, Path]
    requests: tuple[tuple[str, tuple[int, ...]], ...]
    max_new_tokens: int
    stop_ids: tuple[int, ...]
    cache: Path


def answer(job: Job, flags: list[str]) -> list[tuple[tuple[int, ...], bool]]:
    """Start vLLM and let it answer: token ids of each answer (the one that ends it included), and whether it ended."""
    # Here and not above: what the environment says is read when vLLM is imported.
    from vllm import LLM, EngineArgs, SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.lora.request import LoRARequest
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parsed = EngineArgs.add_cli_args(FlexibleArgumentParser()).parse_args(flags)
    engine = LLM.from_engine_args(EngineArgs.from_cli_args(parsed))
    print(f"{PROGRESS} 0", flush=True)
    loras = {
        subject: LoRARequest(subject, number, str(folder))
        for number, (subject, folder) in enumerate(sorted(job.adapters.items()), 1)
    }
    outputs = engine.generate(
        [TokensPrompt(prompt_token_ids=list(prompt)) for _, prompt in job.requests],
        SamplingParams(
            temperature=0.0, max_tokens=job.max_new_tokens, stop_token_ids=list(job.stop_ids), detokenize=False
        ),
        use_tqdm=_progress_lines(),
        lora_request=[loras.get(subject) for subject, _ in job.requests],
    )
    return [(tuple(output.outputs[0].token_ids), output.outputs[0].finish_reason == "stop") for output in outputs]


def _progress_lines() -> Any:
    """A progress bar for vLLM that prints a line with the number of answers instead, at most ten a second."""
    from tqdm import tqdm

    class Lines(tqdm):  # type: ignore[misc]
        def display(self, *_: Any, **__: Any) -> None:
            if str(self.desc).startswith("Processed"):  # vLLM has other bars, too
                print(f"{PROGRESS} {self.n}", flush=True)

    return Lines


def main(argv: list[str]) -> int:
    """The command line; returns the exit code."""
    job = Job.model_validate_json(Path(argv[0]).read_bytes())
    result = Path(argv[1])
    try:
        device = installed_device()
        spec = EngineSpec(
            model=job.base.model, local=Path(job.base.model).is_absolute(), base=job.base, arguments=job.arguments
        )
        folder = Path(tempfile.gettempdir())
        environment = engine_environment(
            spec.local, device, folder=folder, cache=job.cache, api_key="", inherited=os.environ
        )
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.clear()
        os.environ.update(environment)
        sys.dont_write_bytecode = False  # the next start is seconds faster
        answers = answer(job, engine_flags(spec, device))
    except TunelineError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    part = result.with_suffix(".part")
    part.write_bytes(TypeAdapter(list[tuple[tuple[int, ...], bool]]).dump_json(answers))
    part.rename(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
