"""How long an answer takes: one question at a time, the subjects in turn, so that a busy moment hits all of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from tuneline.evaluation.ask import Prompt
from tuneline.evaluation.engines.engine import Answer, Engine, Request
from tuneline.evaluation.report import Role


def timed(engine: Engine, prompts: Mapping[Role, Sequence[Prompt]]) -> dict[Role, list[tuple[Answer, float]]]:
    """Answer each prompt alone and take the time.

    Args:
        engine: who answers.
        prompts: the same number for each subject.

    Returns:
        Per subject, answer and seconds of each prompt.
    """
    found: dict[Role, list[tuple[Answer, float]]] = {role: [] for role in prompts}
    roles = list(prompts)
    for role in roles:  # the first answer of all pays for what is set up once
        engine.answer([Request(role, prompts[role][0])])
    for place in range(len(prompts[roles[0]])):
        for turn in range(len(roles)):
            role = roles[(place + turn) % len(roles)]
            started = time.perf_counter()
            (answer,) = engine.answer([Request(role, prompts[role][place])])
            found[role].append((answer, time.perf_counter() - started))
    return found
