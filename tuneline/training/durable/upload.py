"""States on their way to the store, in the background: the next step does not wait for a bucket."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tuneline.training.durable.store import CheckpointStore, step_name


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of room: not every library raises what the system said."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error)
    return "No space left on device" in text or "PytorchStreamWriter failed" in text


class Upload:
    """Brings one state at a time to the store. A failure is told and ends nothing: the states before it are there.

    Args:
        store: where to.
        keep: how many states stay there.
        say: told in a line what went wrong.
        newest: step of the newest state that is there already, None if there is none.

    Attributes:
        last_step: of the newest state that is complete.
    """

    def __init__(self, store: CheckpointStore, keep: int, say: Callable[[str], None], newest: int | None) -> None:
        self._store = store
        self._keep = keep
        self._say = say
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._running: Future[None] | None = None
        self.last_step = newest

    @property
    def busy(self) -> bool:
        """Whether a state is on its way."""
        return self._running is not None and not self._running.done()

    def start(self, folder: Path, step: int) -> None:
        """Hand over a state; the folder is gone afterwards. Waits for the one before."""
        self.wait()
        self._running = self._thread.submit(self._bring, folder, step)

    def wait(self) -> None:
        """Until nothing is on its way."""
        if self._running is not None:
            self._running.result()

    def close(self) -> None:
        """Wait, and take nothing more."""
        self._thread.shutdown(wait=True)

    def failed(self, step: int, error: BaseException) -> None:
        """Tell that a state could not be saved."""
        if is_disk_full(error):
            why = f"no room left in {self._store.folder} or in {tempfile.gettempdir()} ({_free()})"
            what_next = "; free some there, or lower training.checkpoints.keep"
        else:
            why, what_next = f"{type(error).__name__}: {str(error).strip()[:300]}", ""
        last = "none is there yet" if self.last_step is None else f"the last good one is of step {self.last_step}"
        self._say(f"the checkpoint of step {step} could not be saved: {why}{what_next}. Training goes on; {last}")

    def _bring(self, folder: Path, step: int) -> None:
        try:
            self._store.put(folder, step_name(step))
            self.last_step = step
            self._store.keep_newest(self._keep)
        except Exception as error:  # noqa: BLE001 - storage clients raise what they like
            self.failed(step, error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _free() -> str:
    return f"{shutil.disk_usage(tempfile.gettempdir()).free / 2**30:.1f} GiB free"
