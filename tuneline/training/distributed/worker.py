"""One of several training processes: ``python -m tuneline.training.distributed.worker JOBFILE PIPE PARENT``."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from tuneline.errors import TunelineError
from tuneline.training.distributed.handover import take_over
from tuneline.training.distributed.messages import Reporter
from tuneline.training.distributed.orphans import end_with
from tuneline.training.durable.interruption import interruption
from tuneline.training.progress import Progress
from tuneline.training.train import train_here


def main(job_file: Path, pipe: int, parent: int) -> int:
    """Do a share of a job.

    Args:
        job_file: written by ``hand_over``.
        pipe: descriptor that takes what there is to tell.
        parent: the process that started this one; this one ends with it.

    Returns:
        The process's exit code.
    """
    end_with(parent)
    reporter = Reporter(pipe)
    first = os.environ["RANK"] == "0"

    def ignore(_: Progress | str) -> None:
        pass

    job, start = take_over(job_file, reporter.progress if first else ignore, reporter.say if first else ignore)
    try:
        with interruption() as asked:
            train_here(job, start, asked)
    except TunelineError as error:
        reporter.error(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the parent raises it; the trace is in this process's log
        traceback.print_exc()
        reporter.error(error)
        return 1
    return 0


if __name__ == "__main__":
    # No destroying of process groups: after an error another process may wait in one for ever.
    code = main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.flush()
    os._exit(code)
