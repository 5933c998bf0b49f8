"""Checks: what an answer must fulfil where there is no one right text."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import jsonschema
import yaml
from pydantic import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from tuneline.config.problem import nearest, shown
from tuneline.evaluation.report import Check

KINDS: tuple[str, ...] = get_args(Check.model_fields["kind"].annotation)
LANGUAGES = ("python", "json", "yaml")
_OPTIONS = ("tolerance", "ignore_case")

_FENCE = re.compile(r"\A\s*```[^\n`]*\n(.*?)\n?```\s*\Z", re.DOTALL)
# A sign belongs to a number unless something stands right before it (10-20 is a range), digits behind a letter are
# part of a name (v2), and commas count only between groups of three digits.
_NUMBER = re.compile(
    r"(?:(?<![\w.)])[-+\u2212])?(?<![A-Za-z_\d.])(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?\s?%?"
    r"|(?:(?<![\w.)])[-+\u2212])?(?<![\w.])\.\d+(?:[eE][-+]?\d+)?\s?%?"
)


def check_score(checks: Sequence[Check], completion: str) -> float:
    """Score an answer: 1 if it passes all checks, else 0.

    Half of the checks is no half of a right answer, and a score of two values is what McNemar's test takes.

    Raises:
        ValueError: there are no checks, so nothing could be said.
    """
    if not checks:
        raise ValueError("an item without checks has no score")
    return float(all(passes(check, completion) for check in checks))


def passes(check: Check, completion: str) -> bool:
    """Whether an answer fulfils a check that ``read_check`` made.

    Code and JSON may stand in one fenced block (```` ```json ````) that is the whole answer. YAML must be a mapping or
    a list, because every sentence is a YAML text. The last number of an answer counts, written as 1,234.5 or 1e-3; a
    percentage counts as it is written and as its hundredth, so 45% fulfils 45 and 0.45.
    """
    value = check.value
    match check.kind:
        case "contains":
            return _folded(str(value), check) in _folded(completion, check)
        case "not_contains":
            return _folded(str(value), check) not in _folded(completion, check)
        case "exact":
            return _folded(str(value).strip(), check) == _folded(completion.strip(), check)
        case "regex":
            return re.search(str(value), completion, re.IGNORECASE if check.ignore_case else 0) is not None
        case "number":
            assert isinstance(value, float)  # read_check saw to it
            # A hair more than the tolerance: 0.3 is 0.1 away from 0.2, but not to a float.
            return any(abs(found - value) <= check.tolerance + 1e-9 * abs(value) for found in last_number(completion))
        case "json_schema":
            assert isinstance(value, dict)
            return _fulfils(value, completion)
        case "parses":
            return _parses(str(value), _unfenced(completion))


def last_number(text: str) -> tuple[float, ...]:
    """The last number in a text in all its readings: none, one, or of a percentage two."""
    if not (found := list(_NUMBER.finditer(text))):
        return ()
    digits = found[-1].group().replace(",", "").replace("\u2212", "-")
    number = float(digits.rstrip("% \u00a0\t\n"))
    return (number, number / 100) if digits.endswith("%") else (number,)


def read_checks(row: Mapping[str, Any]) -> tuple[Check, ...]:
    """The checks of a row of a prompts file.

    They stand under ``checks``, each as ``{"kind": "contains", "value": "git"}`` or ``{"contains": "git"}``, or right
    in the row under their kinds; a list of texts there is as many checks. ``tolerance`` and ``ignore_case`` stand
    beside them.

    Raises:
        ValueError: one is not right; the message says which and why.
    """
    listed = row.get("checks") or []
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise ValueError('checks is no list of objects such as {"contains": "git"}')
    found = [check for place, each in enumerate(listed, 1) for check in _listed(each, place)]
    return (*found, *_short(row))


def _listed(given: dict[str, Any], place: int) -> list[Check]:
    try:
        if "kind" in given or "value" in given:
            return [read_check(**given)]
        for key in given:
            if key not in (*KINDS, *_OPTIONS):
                raise ValueError(_unknown(key, (*KINDS, *_OPTIONS)))
        if not (checks := _short(given)):
            raise ValueError(f"has none of {', '.join(KINDS)}")
    except (ValueError, TypeError) as error:
        raise ValueError(f"check {place}: {error}") from None
    return checks


def _short(given: Mapping[str, Any]) -> list[Check]:
    options = {key: given[key] for key in _OPTIONS if key in given}
    kinds = [kind for kind in KINDS if given.get(kind) is not None]
    if options and not kinds:
        raise ValueError(f"{next(iter(options))} stands there without a check that it could belong to")
    return [
        read_check(kind, value, **options)
        for kind in kinds
        for value in (given[kind] if isinstance(given[kind], list) else [given[kind]])
    ]


def read_check(kind: str = "", value: object = None, **options: Any) -> Check:
    """Make a check of which everything is right: the pattern compiles, the schema is one, the language is known.

    Raises:
        ValueError: it is not, with the reason.
    """
    if kind not in KINDS:
        raise ValueError(_unknown(kind, KINDS))
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"number is {shown(value)}, not a number")
    elif kind == "json_schema":
        _check_schema(value)
    elif not isinstance(value, str) or not value:
        raise ValueError(f"{kind} is {shown(value)}, not a text")
    if kind == "regex":
        try:
            re.compile(str(value))
        except re.error as error:
            raise ValueError(f"regex {shown(value)} is no regular expression: {error}") from None
    if kind == "parses" and value not in LANGUAGES:
        raise ValueError(f"parses is {shown(value)}, not one of {', '.join(LANGUAGES)}")
    try:
        return Check.model_validate({"kind": kind, "value": value, **options})
    except ValidationError as error:
        detail = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}") from None


def _unknown(given: str, allowed: Sequence[str]) -> str:
    meant = nearest(given, allowed)
    return f"{given!r} is no kind of check" + (f"; did you mean {meant}?" if meant else f": {', '.join(allowed)}")


def _check_schema(value: object) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"json_schema is {shown(value)}, not an object")
    try:
        jsonschema.validators.validator_for(value, jsonschema.Draft202012Validator).check_schema(value)
        resolver = Registry().with_resource("", DRAFT202012.create_resource(value)).resolver()
        for reference in _references(value):
            resolver.lookup(reference)
    except jsonschema.SchemaError as error:
        where = "".join(f".{part}" for part in error.path)
        raise ValueError(f"json_schema{where} is no JSON schema: {error.message}") from None
    except Unresolvable as error:
        raise ValueError(f"json_schema refers to {error.ref!r}, which is not in it") from None


def _references(value: object) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in _references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [found for item in value.values() for found in _references(item)]


def _fulfils(schema: dict[str, Any], completion: str) -> bool:
    try:
        value = _json(_unfenced(completion))
    except (ValueError, RecursionError):
        return False
    kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    # An empty registry: without one, jsonschema fetches what a schema refers to from the internet.
    return bool(kind(schema, registry=Registry()).is_valid(value))


def _parses(language: str, text: str) -> bool:
    try:
        if language == "python":
            return bool(ast.parse(text).body)
        if language == "json":
            _json(text)
            return True
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
        return bool(documents) and all(isinstance(document, dict | list) for document in documents)
    except (SyntaxError, ValueError, RecursionError, MemoryError, yaml.YAMLError):
        return False


def _json(text: str) -> Any:
    def refused(name: str) -> None:
        raise ValueError(f"{name} is no JSON")  # Python's reader takes NaN and Infinity, the standard does not

    return json.loads(text, parse_constant=refused)


def _unfenced(text: str) -> str:
    found = _FENCE.match(text)
    return found.group(1) if found else text


def _folded(text: str, check: Check) -> str:
    return text.casefold() if check.ignore_case else text
