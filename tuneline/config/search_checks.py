"""What a search may try: every value is checked when the config is read, not hours later in its own trial."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tuneline.config.explain import explain, keys_at
from tuneline.config.problem import Finding, KeyPath, nearest, shown
from tuneline.config.search import ParameterConfig, SearchConfig, place_value
from tuneline.config.source import Source

Findings = Callable[[Mapping[str, Any]], Iterator[Finding]]

SEARCHED = ("model", "prompt", "training")
_OTHER_RECORDS = "losses on different records cannot be compared"
_SAME_LOSS = "it does not change the loss"
_REFUSED = {
    "data": f"other data has other records to measure on, and {_OTHER_RECORDS}",
    "training.max_length": f"it decides which records are left out, and {_OTHER_RECORDS}",
    "training.validation": f"it decides what is measured on, and {_OTHER_RECORDS}",
    "training.seed": "it decides which records are measured on, and the luckiest one is no better in the next run",
    "training.max_minutes": "a run that ends by the clock cannot be repeated",
    "model.base": "another tokenizer cuts other tokens, and losses per token cannot be compared",
    "model.revision": "another tokenizer may cut other tokens, and losses per token cannot be compared",
} | {
    f"training.{key}": _SAME_LOSS
    for key in (
        *("export", "micro_batch_tokens", "packing", "gradient_checkpointing", "torch_compile", "on_oom"),
        *("checkpoints", "distributed"),
    )
}
# The more corners a search has, the less a single one says; a thousand config checks take half a second.
_MOST_CORNERS = 256


def search_findings(search: SearchConfig, sections: Mapping[str, Any], findings: Findings) -> Iterator[Finding]:
    """Check a search against the sections that it varies.

    Args:
        search: the section.
        sections: the others, as they stand in the config.
        findings: what does not fit together in sections; run on every candidate's.
    """
    yield from _validation(search, sections)
    right: dict[str, ParameterConfig] = {}
    for key, parameter in search.parameters.items():
        found = [*_key(key, sections), *_shape(key, parameter)]
        yield from found
        if not found:
            right[key] = parameter
    before = set(findings(sections))
    alone = {key: list(_values(key, parameter, sections, findings, before)) for key, parameter in right.items()}
    yield from itertools.chain.from_iterable(alone.values())
    whole = {key: parameter for key, parameter in right.items() if not alone[key]}
    yield from _together(whole, sections, findings, before)
    if len(whole) == len(search.parameters):
        yield from _number(search)


def combinations(search: SearchConfig) -> float:
    """How many different candidates there are; infinite as soon as a range has any number in it."""
    return math.prod(_count(parameter) for parameter in search.parameters.values())


def _count(parameter: ParameterConfig) -> float:
    if parameter.choices is not None:
        return len(parameter.choices)
    low, high = parameter.low or 0, parameter.high or 0
    if parameter.step is not None:
        return math.floor((high - low) / parameter.step + 1e-9) + 1
    return math.inf


def _path(key: str, *below: str | int) -> KeyPath:
    return ("search", "parameters", key, *below)


def _validation(search: SearchConfig, sections: Mapping[str, Any]) -> Iterator[Finding]:
    given = sections["training"].validation
    if search.validation is None and given is None:
        what = "is missing, and so is training.validation: there is no loss to compare trials by"
        yield Finding(("search", "validation"), what, "{share: 0.1}, a tenth of the training records")
    if search.validation is not None and given is not None:
        yield Finding(("search", "validation"), "is given beside training.validation", "one of them")


def _key(key: str, sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether there is such a key, and whether it may be tried."""
    parts = key.split(".")
    for length in range(1, len(parts) + 1):
        if reason := _REFUSED.get(".".join(parts[:length])):
            yield Finding(_path(key), f"cannot be searched: {reason}", "another key of model, prompt or training")
            return
    if parts[0] not in SEARCHED:
        close = nearest(parts[0], SEARCHED)
        if close or parts[0] not in _OTHER_SECTIONS:
            what = f"there is no section {parts[0]!r} to search"
        else:
            what = f"cannot be searched: {_SAME_LOSS}"
        yield Finding(_path(key), what, f"{close}.…" if close else "a key of model, prompt or training")
        return
    values, schema = _plain(sections), _schema(sections)
    if parts == ["prompt"]:
        return
    if len(parts) == 1:
        yield Finding(_path(key), "is a whole section", f"one of its keys, such as {key}.{_first(key, schema)}")
    for length in range(1, len(parts)):
        keys = keys_at(tuple(parts[:length]), values, schema)
        if keys and parts[length] not in keys:
            close = nearest(parts[length], keys)
            allowed = ".".join([*parts[:length], close]) if close else ", ".join(keys)
            yield Finding(_path(key), f"there is no key {'.'.join(parts[: length + 1])}", allowed)
            return


_OTHER_SECTIONS = ("name", "evaluation", "gate", "serving", "monitoring", "card", "zenml", "search")


def _first(section: str, schema: dict[str, Any]) -> str:
    return keys_at((section,), {}, schema)[0]


def _shape(key: str, parameter: ParameterConfig) -> Iterator[Finding]:
    """Whether it is a range or choices, and the right way round."""
    low, high, choices = parameter.low, parameter.high, parameter.choices
    if choices is not None:
        for name in ("low", "high", "step"):
            if getattr(parameter, name) is not None:
                yield Finding(_path(key, name), "is given beside choices", "one of: low and high, choices")
        if parameter.log:
            yield Finding(_path(key, "log"), "is given beside choices, which have no order", "low and high instead")
        texts = [json.dumps(choice, sort_keys=True) for choice in choices]
        if len(texts) < 2:
            yield Finding(_path(key, "choices"), f"has {len(texts)} of them: nothing to choose", "at least two")
        for index, text in enumerate(texts):
            if text in texts[:index]:
                yield Finding(_path(key, "choices", index), f"is {shown(choices[index])}, which is there already")
        return
    if low is None or high is None:
        name = "low" if low is None else "high"
        yield Finding(_path(key), f"has no {name}", "{low: …, high: …} or {choices: […]}")
        return
    if low >= high:
        yield Finding(_path(key, "low"), f"is {low:g}, which is not below high ({high:g})", f"below {high:g}")
    if parameter.log and low <= 0:
        yield Finding(_path(key, "low"), f"is {low:g}, which has no logarithm", "above 0, or log: false")
    if parameter.log and parameter.step is not None:
        yield Finding(_path(key, "step"), "is given with log: true, whose steps grow", "one of them")
    if parameter.step is not None and parameter.step > high - low > 0:
        yield Finding(_path(key, "step"), f"is {parameter.step:g}, more than from low to high", f"{high - low:g}")


def _values(
    key: str, parameter: ParameterConfig, sections: Mapping[str, Any], findings: Findings, before: set[Finding]
) -> Iterator[Finding]:
    """Every choice and both ends of a range, each in the config as it stands."""
    for end in parameter.ends:
        made = _candidate({key: parameter.at(end)}, sections)
        if isinstance(made, Finding):
            yield Finding(_path(key, *end), made.what, made.allowed)
        else:
            for finding in findings(made):
                if finding not in before:
                    yield Finding(_path(key, *end), *_told(finding, key))


def _together(
    parameters: Mapping[str, ParameterConfig], sections: Mapping[str, Any], findings: Findings, before: set[Finding]
) -> Iterator[Finding]:
    """The corners: values that are right one by one and not together."""
    if len(parameters) < 2:
        return
    told: set[Finding] = set()
    for corner in _corners([[(key, end) for end in parameter.ends] for key, parameter in parameters.items()]):
        values = {key: parameters[key].at(end) for key, end in corner}
        made = _candidate(values, sections)
        if isinstance(made, Finding):
            continue  # each is right alone, and sections are independent: findings below tell what is not
        for finding in findings(made):
            where = next(((key, end) for key, end in corner if _names(finding, key)), corner[0])
            others = ", ".join(f"{key} {shown(value)}" for key, value in values.items() if key != where[0])
            if finding not in before | told:
                told.add(finding)
                what, allowed = _told(finding, where[0])
                yield Finding(_path(where[0], *where[1]), f"{what}, together with {others}", allowed)


def _corners(ends: list[list[tuple[str, KeyPath]]]) -> Iterator[tuple[tuple[str, KeyPath], ...]]:
    if math.prod(len(of_one) for of_one in ends) <= _MOST_CORNERS:
        yield from itertools.product(*ends)
        return
    draw = random.Random(0)
    for _ in range(_MOST_CORNERS):
        yield tuple(draw.choice(of_one) for of_one in ends)


def _names(finding: Finding, key: str) -> bool:
    return ".".join(map(str, finding.path)).startswith(key)


def _told(finding: Finding, key: str) -> tuple[str, str]:
    there = "" if _names(finding, key) else f"does not go with {'.'.join(map(str, finding.path))}, which "
    return f"{there}{finding.what}", finding.allowed


def _candidate(values: Mapping[str, Any], sections: Mapping[str, Any]) -> dict[str, Any] | Finding:
    """The sections with values put in, or why one of them cannot be."""
    plain = _plain(sections)
    for key, value in values.items():
        try:
            place_value(plain, key, value)
        except LookupError:
            return Finding((), f"{key} is an item that the list does not have")
    made = dict(sections)
    for name in {key.split(".")[0] for key in values}:
        adapter: TypeAdapter[Any] = TypeAdapter(type(sections[name]))
        try:
            made[name] = adapter.validate_json(json.dumps(plain[name]), strict=True)
        except ValidationError as error:
            problem = explain(error, Source("", plain), (name,), _schema(sections))[0]
            return Finding((), problem.what, problem.allowed + (f" ({problem.nearest}?)" if problem.nearest else ""))
    return made


def _plain(sections: Mapping[str, Any]) -> dict[str, Any]:
    return {name: sections[name].model_dump(mode="json") for name in SEARCHED}


def _schema(sections: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of the searched sections, as ``explain`` reads that of a whole config."""
    schema: dict[str, Any] = {"properties": {}, "$defs": {}}
    for name in SEARCHED:
        of_one = type(sections[name]).model_json_schema()
        schema["$defs"] |= of_one.pop("$defs", {})
        schema["properties"][name] = of_one
    return schema


def _number(search: SearchConfig) -> Iterator[Finding]:
    there_are = combinations(search)
    if search.trials > there_are:
        what = f"is {search.trials}, but the parameters have {there_are:.0f} combinations"
        yield Finding(("search", "trials"), what, f"at most {there_are:.0f}, or more values to try")
