"""The first signal is a question, the second one an order."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tuneline.training.durable.interruption import Interruption, interruption


def test_the_first_signal_asks_and_the_second_ends_at_once() -> None:
    told: list[str] = []
    with interruption(lambda: told.append("the others")) as asked:
        assert asked.by is None
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.by == "SIGINT" and told == ["the others"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_signals_stay_as_they_are() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with interruption() as asked:
            seen.extend([asked, signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(seen[0], Interruption) and seen[0].by is None and seen[1] == before
