"""Reading a config: every problem at once, before anything else is loaded."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tuneline.config.checks import findings
from tuneline.config.experiment import Config
from tuneline.config.explain import explain, keys_at, misplaced
from tuneline.config.locate import NotHere, locate
from tuneline.config.pretraining import PretrainingConfig
from tuneline.config.problem import ConfigError, Finding, KeyPath, Place, Problem, nearest, other_name, shown
from tuneline.config.section import Section
from tuneline.config.source import Source, read_file
from tuneline.config.wanted import value_in, wanted_files
from tuneline.config.zenml_run import OURS

C = TypeVar("C", bound=Section)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read an experiment's config and check all of it.

    Args:
        path: the YAML file; a relative path is looked up in the current directory, then in the repository.
        overrides: ``section.key=value`` options in their order; values are YAML, list items go by index.

    Returns:
        The config. Paths of local models and data files are absolute in it.

    Raises:
        ConfigError: with every problem that was found.
    """
    source = _read(path)
    for option in overrides:
        if option.split("=", 1)[0].strip().startswith("prompt."):
            _include_prompt(source)
        source.override(option)
    _include_prompt(source)
    _include_searched_prompts(source)
    _place_files(source)
    whole, partial = _validate(Config, source)
    wrong = {problem.path for problem in source.problems}
    source.problems += [_problem(finding, source) for finding in findings(whole) if finding.path not in wrong]
    source.problems += [
        _problem(finding, source)
        for name, section in partial.items()
        for finding in findings({name: section})
        if finding.path in source.places and finding.path not in wrong
    ]
    return _finish(Config, source)


def load_pretraining_config(path: str | Path, overrides: Sequence[str] = ()) -> PretrainingConfig:
    """Read the config of the tiny base model's pretraining; as ``load_config``.

    Raises:
        ConfigError: with every problem that was found.
    """
    source = _read(path)
    for option in overrides:
        source.override(option)
    sections, _ = _validate(PretrainingConfig, source)
    if "model" in sections and sections["model"].hidden_size % sections["model"].num_attention_heads:
        shape = sections["model"]
        what = f"is {shape.hidden_size}, which is not a multiple of num_attention_heads ({shape.num_attention_heads})"
        source.problems.append(_problem(Finding(("model", "hidden_size"), what), source))
    return _finish(PretrainingConfig, source)


def _read(path: str | Path) -> Source:
    name = str(path)
    try:
        return read_file(locate(name, "a YAML file, such as those in configs/"), name)
    except NotHere as missing:
        what = str(missing).removeprefix(f"is {name!r}, which ")
        raise ConfigError(name, [Problem(Place(name), (), what, missing.allowed, missing.nearest)]) from None


def _include_prompt(source: Source) -> None:
    """Put a prompt template's file in the place of its path."""
    if not _include(source, ("prompt",), source.values.get("prompt")):
        del source.values["prompt"]


def _include_searched_prompts(source: Source) -> None:
    """The same for the templates that a search may choose."""
    path = ("search", "parameters", "prompt", "choices")
    choices = value_in(source.values, path)
    for index, choice in enumerate(choices if isinstance(choices, list) else ()):
        _include(source, (*path, index), choice)


def _include(source: Source, path: KeyPath, given: Any) -> bool:
    """Whether a template could be put in the place of its path, or there was nothing to do."""
    if not isinstance(given, str):
        return True
    try:
        source.graft(path, read_file(locate(given), given))
    except NotHere as missing:
        source.problems.append(_missing(missing, path, source))
        return False
    except ConfigError as error:
        source.problems += error.problems
        return False
    return True


def _validate(kind: type[Section], source: Source) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the sections one by one, so that a broken one hides nothing of the others.

    Returns:
        The sections that are right, and what is left of the others without their wrong keys.
    """
    schema = kind.model_json_schema()
    whole: dict[str, Any] = {}
    partial: dict[str, Any] = {}
    for key in [key for key in source.values if key not in kind.model_fields]:
        allowed = list(kind.model_fields)
        meant = other_name(key, allowed) or misplaced(key, schema) or nearest(key, allowed)
        what = f"unknown section (given {shown(source.values[key])})"
        source.problems.append(Problem(source.place((key,), key=True), (key,), what, ", ".join(allowed), meant))
    for key, field in kind.model_fields.items():
        value = source.values.get(key)
        if value is None and not field.is_required():  # a section whose lines are all commented out is empty
            source.values.pop(key, None)
            whole[key] = field.get_default()
        elif value is None:
            allowed = keys_at((key,), source.values, schema)
            what = f"is missing: {str(field.description).rstrip('.')}"
            where = f"a section with keys {', '.join(allowed)}" if allowed else "text"
            source.problems.append(Problem(source.place((key,), key=True), (key,), what, where))
        else:
            section: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])
            try:
                # As JSON, because strict Pydantic takes lists for tuples there, and still no text for numbers.
                whole[key] = section.validate_json(json.dumps(value), strict=True)
            except ValidationError as error:
                problems = explain(error, source, (key,), schema)
                source.problems += [_owned(problem) for problem in problems]
                with contextlib.suppress(ValidationError):  # nothing is left, e.g. a required key is missing
                    rest = _without(value, (key,), {problem.path for problem in problems})
                    partial[key] = section.validate_json(json.dumps(rest), strict=True)
    return whole, partial


def _without(value: Any, path: KeyPath, wrong: set[KeyPath]) -> Any:
    """A section's values without those at the given paths."""
    if isinstance(value, dict):
        return {k: _without(v, (*path, k), wrong) for k, v in value.items() if (*path, k) not in wrong}
    if isinstance(value, list):
        return [_without(v, (*path, i), wrong) for i, v in enumerate(value) if (*path, i) not in wrong]
    return value


def _owned(problem: Problem) -> Problem:
    """Say why a name that ZenML knows is not taken."""
    if problem.path[:1] == ("zenml",) and problem.path[-1] in OURS and len(problem.path) in (2, 4):
        reason = OURS[str(problem.path[-1])]
        return Problem(problem.place, problem.path, f"cannot be set: {reason}")
    return problem


def _place_files(source: Source) -> None:
    """Find local models and files, and put their absolute paths into the values.

    It works on the values as they were written, so that a missing file is told beside a wrong type.
    """
    for path, inside, find in wanted_files(source.values):
        given = inside[path[-1]]
        if isinstance(given, str):
            try:
                inside[path[-1]] = find(given)
            except NotHere as missing:
                source.problems.append(_missing(missing, path, source))


def _missing(missing: NotHere, path: KeyPath, source: Source) -> Problem:
    return Problem(source.place(path), path, str(missing), missing.allowed, missing.nearest)


def _problem(finding: Finding, source: Source) -> Problem:
    return Problem(source.place(finding.path), finding.path, finding.what, finding.allowed)


def _finish(kind: type[C], source: Source) -> C:
    if source.problems:
        raise ConfigError(source.name, source.problems)
    return kind.model_validate_json(json.dumps(source.values), strict=True)
