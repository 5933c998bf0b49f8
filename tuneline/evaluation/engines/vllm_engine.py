"""vLLM in a process of its own, with the serving environment's interpreter: all subjects in one engine, in one go."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tuneline import paths
from tuneline.errors import TunelineError, UserError
from tuneline.evaluation.engines.engine import Answer, Request
from tuneline.evaluation.report import Role
from tuneline.release.document import BaseRef, EngineArguments

_LINE = re.compile(rb"^tuneline-answered (\d+)$", re.MULTILINE)
_TICK_SECONDS = 0.2
_TAIL_LINES = 25


class VllmEngine:
    """Starts vLLM for one call and ends it. The start takes 20 s here, of the tiny model on two cores."""

    def __init__(
        self,
        base: BaseRef,
        arguments: EngineArguments,
        adapters: Mapping[Role, Path],
        *,
        max_new_tokens: int,
        stop_ids: Sequence[int],
    ) -> None:
        """Get ready; nothing is started.

        Args:
            base: the base model, a hub id or an absolute path.
            arguments: how the engine is started; those of ``serving``, so that what is evaluated is what is served.
            adapters: by role, the folder with PEFT's two files.
            max_new_tokens: longest answer, tokens.
            stop_ids: token ids that end an answer.
        """
        # All adapters in every batch; otherwise those of one would wait for those of another. And one place more: on a
        # CPU, vLLM 0.32 lets the base model's rows in a mixed batch use the last place (index -1), so that has to stay
        # empty. https://github.com/vllm-project/vllm/pull/48421
        self._arguments = arguments.model_copy(update={"max_loras": max(arguments.max_loras, len(adapters) + 1)})
        self._base = base
        self._adapters = adapters
        self._max_new_tokens = max_new_tokens
        self._stop_ids = tuple(stop_ids)

    def answer(self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None) -> list[Answer]:
        """Answer all requests (see ``Engine``); told 0 once the engine has started.

        Raises:
            UserError: there is no serving environment.
            TunelineError: vLLM ended before it had answered, or has no adapter for a subject.
        """
        if not requests:
            return []
        if missing := {request.subject for request in requests} - {"base", *self._adapters}:
            raise TunelineError(f"There is no adapter for the {missing.pop()}, so nobody can answer for it.")
        python = paths.serving_python()
        if not python.exists():
            raise UserError(
                f"evaluation.engine is vllm, but there is no serving environment: {python} does not exist.",
                hint="Run ./setup.sh, or set evaluation.engine to transformers.",
            )
        with tempfile.TemporaryDirectory(prefix="tl-") as name:
            folder = Path(name)
            job, result, log = folder / "job.json", folder / "result.json", folder / "vllm.log"
            job.write_text(json.dumps(self._job(requests)), encoding="utf-8")
            command = [str(python), "-m", "serving.engine.offline", str(job), str(result)]
            with log.open("wb") as output, _running(command, folder / "run", output) as process:
                told = -1
                while process.poll() is None:
                    time.sleep(_TICK_SECONDS)
                    done = [int(number) for number in _LINE.findall(log.read_bytes())][-1:] or [-1]
                    if on_progress is not None and done[0] > told:
                        told = done[0]
                        on_progress(told)
            if process.returncode != 0 or not result.exists():
                lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_TAIL_LINES:]
                raise TunelineError(
                    f"vLLM ended with status {process.returncode} before it had answered. The end of its log:\n"
                    + "\n".join(lines),
                    hint="`evaluation.engine: transformers` evaluates without it.",
                )
            answers = json.loads(result.read_bytes())
        if on_progress is not None and told < len(requests):
            on_progress(len(requests))
        return [Answer(tuple(ids), finished) for ids, finished in answers]

    def _job(self, requests: Sequence[Request]) -> dict[str, object]:
        """``serving.engine.offline.Job``, which this environment cannot import."""
        return {
            "base": self._base.model_dump(),
            "arguments": self._arguments.model_dump(),
            "adapters": {role: str(folder.absolute()) for role, folder in self._adapters.items()},
            "requests": [[request.subject, list(request.prompt_ids)] for request in requests],
            "max_new_tokens": self._max_new_tokens,
            "stop_ids": list(self._stop_ids),
            "cache": str(paths.home().absolute() / "cache" / "engine"),
        }


@contextmanager
def _running(command: Sequence[str], folder: Path, output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run vLLM below the guard that also keeps the served engine (``serving/engine/tree.py``).

    The guard ends the whole process tree when the block is left and when this process is killed: either closes its
    lifeline. In a session of its own, so that Ctrl-C reaches only us.
    """
    ours, theirs = socket.socketpair()
    folder.mkdir()
    guard = paths.REPO / "serving" / "engine" / "tree.py"
    with ours, theirs:
        process = subprocess.Popen(
            [command[0], "-I", str(guard), str(theirs.fileno()), str(folder), *command],
            cwd=paths.REPO,
            env=os.environ | {"TMPDIR": str(folder)},  # vLLM leaves rendezvous files behind
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        try:
            yield process
        finally:
            ours.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            if process.poll() is None:
                process.kill()
                process.wait()
