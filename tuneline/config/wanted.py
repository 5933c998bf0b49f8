"""Which values of a config are paths, looked for in what was written before it is known to be right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tuneline.config.locate import (
    locate_data,
    locate_feedback,
    locate_model,
    locate_prompts,
    locate_script,
    locate_tasks,
)
from tuneline.config.problem import KeyPath

Find = Callable[[str], str]
# Where the value is, what holds it, and what finds the file.
Wanted = tuple[KeyPath, Any, Find]


def wanted_files(values: dict[str, Any]) -> Iterator[Wanted]:
    """Every value of an experiment's config that is, or may be, the path of a file or folder."""
    yield from _one(values, ("model",), "base", locate_model)
    yield from _sources(values, ("data", "sources"))
    yield from _sources(values, ("data", "evaluation", "sources"))
    yield from _scripts(values, ("evaluation",), "metrics", "primary")
    yield from _scripts(values, ("gate",), "", "metric")
    for path, suite in _items(values, ("evaluation", "suites")):
        yield from _scripts(values, path, "metrics", "metric")
        match suite.get("type"):
            case "prompts":
                yield from _one(values, path, "path", locate_prompts)
            case "questions":
                yield from _sources(values, (*path, "sources"))
            case "lm_eval":
                yield from _one(values, path, "include_path", locate_tasks)


def _sources(values: Any, path: KeyPath) -> Iterator[Wanted]:
    for place, item in _items(values, path):
        if item.get("type") == "file":
            yield from _one(values, place, "path", locate_data)
        if item.get("type") == "feedback":
            yield from _one(values, place, "folder", locate_feedback)


def _scripts(values: Any, path: KeyPath, several: str, single: str) -> Iterator[Wanted]:
    yield from _one(values, path, single, locate_script)
    metrics = value_in(values, (*path, several))
    for index in range(len(metrics) if isinstance(metrics, list) else 0):
        yield (*path, several, index), metrics, locate_script


def _one(values: Any, path: KeyPath, key: str, find: Find) -> Iterator[Wanted]:
    section = value_in(values, path)
    if isinstance(section, dict) and key in section:
        yield (*path, key), section, find


def _items(values: Any, path: KeyPath) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    items = value_in(values, path)
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield (*path, index), item


def value_in(values: Any, path: KeyPath) -> Any:
    """What stands at a path, None if there is nothing."""
    for part in path:
        if isinstance(values, dict):
            values = values.get(str(part))
        elif isinstance(values, list) and isinstance(part, int):
            values = values[part]
        else:
            return None
    return values
