"""Several processes for one training: started, listened to and ended with the step that asked for them.

They get the variables that accelerate's launcher sets and are started without it: its agent kills what does not end
within 30 s of a SIGTERM, and saving a large model takes longer.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

import torch

from tuneline import paths
from tuneline.errors import TunelineError, UserError
from tuneline.training.distributed.handover import hand_over
from tuneline.training.distributed.messages import Message
from tuneline.training.durable.interruption import Interrupted, interruption
from tuneline.training.durable.memory import OutOfMemory, no_memory
from tuneline.training.durable.result import find_checkpoint, read_outcome
from tuneline.training.durable.start import Start
from tuneline.training.job import TrainingJob
from tuneline.training.outcome import TrainingOutcome

if TYPE_CHECKING:
    from tuneline.config import TrainingConfig

_GRACE = 10.0  # seconds for the others after one has failed: their collectives may wait for it for minutes
_TAIL = 30  # lines of a log


@dataclass
class _Worker:
    rank: int
    process: subprocess.Popen[bytes]
    pipe: IO[bytes]
    log: Path
    rest: bytes = b""
    errors: list[TunelineError] = field(default_factory=list)


def train_in_processes(job: TrainingJob, start: Start) -> TrainingOutcome:
    """Train in ``training.distributed.processes`` processes of this machine.

    Raises:
        UserError: there are fewer GPUs than processes, or memory does not suffice.
        TunelineError: what the first failing process raised.
    """
    _check_machine(job.training)
    while True:
        try:
            _run(job, start)
            return read_outcome(job.output)
        except OutOfMemory as error:
            if start.cut * 2 > job.training.micro_batch_tokens:
                raise no_memory(error.what, job.training, halved=True) from error
            start = replace(start, cut=start.cut * 2)
            tokens = job.training.micro_batch_tokens // start.cut
            job.say(f"memory ran out in a process: all begin again with micro-batches of {tokens} tokens")
            shutil.rmtree(start.checkpoint, ignore_errors=True)
            if start.store is not None:
                start = replace(start, step=find_checkpoint(start.store, job, start.checkpoint))


def _check_machine(training: TrainingConfig) -> None:
    gpus, wanted, strategy = torch.cuda.device_count(), training.distributed.processes, training.distributed.strategy
    if gpus and wanted > gpus:
        raise UserError(
            f"training.distributed.processes is {wanted}, but this machine has {gpus} GPUs",
            hint=f"At most {gpus}: each process needs one of its own.",
        )
    if strategy != "ddp" and not gpus:
        raise UserError(
            f"training.distributed.strategy is {strategy}, but this machine has no GPU to share a model among",
            hint="Set it to ddp, which trains on CPUs as well.",
        )
    if strategy == "deepspeed" and find_spec("deepspeed") is None:
        raise UserError(
            "training.distributed.strategy is deepspeed, but the package deepspeed is not installed",
            hint="Install it into this environment, or set fsdp, which needs nothing more.",
        )


def _run(job: TrainingJob, start: Start) -> None:
    workers: list[_Worker] = []

    def pass_on() -> None:
        for worker in workers:
            worker.process.send_signal(signal.SIGTERM)

    with interruption(pass_on) as asked:
        try:
            workers += _start(job, start)
            if asked.by is not None:
                pass_on()  # it came before there was anybody to tell
            _listen(job, workers)
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.wait()
                worker.pipe.close()
    errors = [error for worker in workers for error in worker.errors]
    # What another process says after the first has failed is mostly that it lost its connection.
    known = [error for error in errors if type(error) is not TunelineError]
    if errors:
        error = (known or errors)[0]
        if isinstance(error, Interrupted) and asked.by is not None:
            error.by(asked.by)  # to the processes it was passed on as SIGTERM
        raise error
    for worker in workers:
        if worker.process.returncode:
            raise TunelineError(
                f"training process {worker.rank} of {len(workers)} ended with code {worker.process.returncode}",
                hint=_tail(worker.log),
            )


def _start(job: TrainingJob, start: Start) -> list[_Worker]:
    count = job.training.distributed.processes
    handover = hand_over(job, start)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | handover.environment
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    path = [str(paths.REPO), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment |= {
        "LOCAL_WORLD_SIZE": str(count),
        "PYTHONPATH": os.pathsep.join(path),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if not torch.cuda.is_available():
        environment |= {"ACCELERATE_USE_CPU": "true"}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    workers = []
    for rank in range(count):
        reading, writing = os.pipe()
        log = start.scratch / f"process-{rank}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker", handover.file, str(writing), str(os.getpid())],
                env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                start_new_session=True,  # Ctrl-C reaches them through this process alone
            )
        os.close(writing)
        os.set_blocking(reading, False)
        workers.append(_Worker(rank, process, os.fdopen(reading, "rb", buffering=0), log))
    return workers


def _listen(job: TrainingJob, workers: list[_Worker]) -> None:
    """Pass on what the processes tell until all have ended, or one has failed and the others had their grace."""
    deadline: float | None = None
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.pipe, selectors.EVENT_READ, worker)
        while selector.get_map() and (deadline is None or time.monotonic() < deadline):
            events = selector.select(timeout=0.5)
            # A process of its own that a worker left behind may still hold the pipe.
            silent = [key for key in selector.get_map().values() if key.data.process.poll() is not None]
            for key in [key for key, _ in events] or silent:
                worker = key.data
                chunk = worker.pipe.read(65536)
                if not chunk:  # the end, or nothing more to come
                    selector.unregister(worker.pipe)
                    if worker.process.wait() and deadline is None:
                        deadline = time.monotonic() + _GRACE
                    continue
                *lines, worker.rest = (worker.rest + chunk).split(b"\n")
                for line in lines:
                    _take(job, worker, Message.parse(line))


def _take(job: TrainingJob, worker: _Worker, message: Message) -> None:
    if message.kind == "progress":
        job.on_progress(message.progress())
    elif message.kind == "say":
        job.say(str(message.content["line"]))
    else:
        error = message.error()
        if type(error) is TunelineError and not error.hint:
            error = TunelineError(f"training process {worker.rank}: {error.what}", hint=_tail(worker.log))
        worker.errors.append(error)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_TAIL:]
    return "\n".join(["The last it wrote:", *lines]) if lines else "It wrote nothing."
