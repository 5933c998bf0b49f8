"""Feedback on its way to ``<folder>/feedback/``: one new file of JSON lines for what came in the last seconds.

Files are never changed, so nothing of what is there can be lost, and a bucket does as well as a disk. A gateway that is
killed loses what came since its last file, at most two seconds' worth. A file that was written although the storage
said otherwise is written twice; its reader counts the last line about an answer. While the storage is away,
feedback waits in memory, up to 16 MiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from serving.metrics import Metrics
from tuneline import paths

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 2.0
_WAITING_BYTES = 16 * 2**20
_STOP_SECONDS = 5.0


class FeedbackStore:
    """Collects lines and writes them in batches."""

    def __init__(self, folder: str, metrics: Metrics) -> None:
        self._folder = paths.feedback_folder(folder)
        self._metrics = metrics
        self._lines: list[bytes] = []
        self._bytes = 0
        self._failed = False
        self._writing = asyncio.Lock()  # what is cancelled at the stop goes on, and is not to be written twice
        self._task: asyncio.Task[None] | None = None

    def add(self, line: dict[str, Any]) -> bool:
        """Take a line; False if there is no room for it."""
        data = json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        if self._bytes + len(data) > _WAITING_BYTES:
            return False
        self._lines.append(data)
        self._count(len(data))
        return True

    def start(self) -> None:
        """Begin to write every two seconds."""
        self._task = asyncio.create_task(self._follow(), name="feedback")

    async def stop(self) -> None:
        """Write what waits, for at most five seconds."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._flush(), _STOP_SECONDS)
        if self._lines:
            logger.error("%d feedbacks could not be stored in %s and are lost", len(self._lines), self._folder)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            await asyncio.shield(asyncio.ensure_future(self._flush()))

    async def _flush(self) -> None:
        async with self._writing:
            if self._lines:
                await self._write_all()

    async def _write_all(self) -> None:
        count, data = len(self._lines), b"".join(self._lines)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}.jsonl"
        try:
            await asyncio.to_thread(_write, self._folder, name, data)
        except Exception:  # storage clients raise what they like
            if not self._failed:
                logger.exception("feedback cannot be stored in %s; it waits in memory", self._folder)
            self._failed = True
            return
        if self._failed:
            logger.info("feedback is stored in %s again", self._folder)
        self._failed = False
        del self._lines[:count]
        self._count(-len(data))

    def _count(self, change: int) -> None:
        self._bytes += change
        self._metrics.feedback_waiting.set(len(self._lines))


def _write(folder: str, name: str, data: bytes) -> None:
    """Write a file whole or not at all."""
    fs, path = fsspec.url_to_fs(folder)
    if not isinstance(fs, LocalFileSystem):
        fs.pipe_file(f"{path}/{name}", data)
        return
    place = Path(path)
    place.mkdir(parents=True, exist_ok=True)
    part = place / f".{name}.part"
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(place / name)
    entries = os.open(place, os.O_RDONLY)
    try:
        os.fsync(entries)
    finally:
        os.close(entries)
