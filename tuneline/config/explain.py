"""From Pydantic's errors to problems that name place, value, what is allowed, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tuneline.config.problem import KeyPath, Problem, nearest, other_name, shown
from tuneline.config.source import Source

Schema = dict[str, Any]


def explain(error: ValidationError, source: Source, prefix: KeyPath, schema: Schema) -> list[Problem]:
    """Turn the errors of one section into problems.

    A value that fits none of several types gives Pydantic one error for each type; it is one problem.

    Args:
        error: what Pydantic found.
        source: the values, for places.
        prefix: the section's path.
        schema: the whole config's JSON schema.
    """
    problems: dict[KeyPath, Problem] = {}
    for detail in error.errors(include_url=False, include_context=True):
        path = _path_in_values((*prefix, *detail["loc"]), source.values, detail["type"])
        problems.setdefault(path, _problem(detail, path, source, schema))
    # A list with a wrong item is also too short without it; the item's problem says it all.
    above = {path[:length] for path in problems for length in range(len(path))}
    return [problem for path, problem in problems.items() if path not in above]


def misplaced(key: str, schema: Schema) -> str:
    """Where in the config a key of this name belongs, or nothing."""
    for section, below in schema.get("properties", {}).items():
        if any(key in variant.get("properties", {}) for variant in _variants(below, schema)):
            return f"{section}.{key}"
    return ""


def keys_at(path: KeyPath, values: Any, schema: Schema) -> list[str]:
    """The keys that a section may have; where its ``type`` decides, those of that type."""
    return list(dict.fromkeys(key for s in _at(path, values, schema) for key in s.get("properties", {})))


def types_at(path: KeyPath, values: Any, schema: Schema) -> set[str]:
    """The JSON types that a key takes."""
    return {s["type"] for s in _at(path, values, schema) if "type" in s}


def _problem(detail: ErrorDetails, path: KeyPath, source: Source, schema: Schema) -> Problem:
    kind, given = detail["type"], detail["input"]
    here = _at(path, source.values, schema)
    if kind == "extra_forbidden":
        return _unknown_key(path, keys_at(path[:-1], source.values, schema), source, schema)
    if detail["loc"][-1:] == ("[key]",):
        above = _at(path[:-1], source.values, schema)
        return _unknown_key(path, [key for s in above for key in s["propertyNames"]["enum"]], source, schema)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        types = [s["properties"]["type"]["const"] for s in here if "type" in s.get("properties", {})]
        if kind == "union_tag_not_found":
            return Problem(source.place(path), (*path, "type"), "is missing", " | ".join(types))
        return _wrong_value((*path, "type"), given["type"], " | ".join(types), types, source)
    allowed = _describe_all(here, schema)
    if kind == "missing":
        meaning = next((s["description"].rstrip(".") for s in here if "description" in s), "")
        return Problem(source.place(path), path, f"is missing: {meaning}" if meaning else "is missing", allowed)
    words = [str(word) for s in here for word in s.get("enum", [s["const"]] if "const" in s else [])]
    return _wrong_value(path, given, allowed or detail["msg"], words, source)


def _unknown_key(path: KeyPath, allowed: list[str], source: Source, schema: Schema) -> Problem:
    key = str(path[-1])
    meant = other_name(key, allowed) or misplaced(key, schema) or nearest(key, allowed)
    what = f"unknown key (given {shown(_value(path, source.values))})"
    return Problem(source.place(path, key=True), path, what, ", ".join(allowed) or "no key at all", meant)


def _wrong_value(path: KeyPath, given: Any, allowed: str, words: list[str], source: Source) -> Problem:
    meant = nearest(given, words) if isinstance(given, str) and given not in words else ""
    return Problem(source.place(path), path, "is empty" if given is None else f"is {shown(given)}", allowed, meant)


def _path_in_values(loc: Iterable[str | int], values: Any, kind: str) -> KeyPath:
    """The error's path without the labels that Pydantic adds for the members of a union."""
    parts = list(loc)
    path: list[str | int] = []
    for index, part in enumerate(parts):
        if isinstance(values, dict) and part in values:
            values = values[str(part)]
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        elif not (kind == "missing" and index == len(parts) - 1):
            continue
        path.append(part)
    return tuple(path)


def _value(path: KeyPath, values: Any) -> Any:
    for part in path:
        values = values[part]
    return values


def _variants(schema: Schema, root: Schema) -> Iterator[Schema]:
    """A schema without references and unions: one or several plain ones. A description stays with its field."""
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        yield from _variants({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, root)
    elif "anyOf" in schema or "oneOf" in schema:
        for member in schema["anyOf"] if "anyOf" in schema else schema["oneOf"]:
            for variant in _variants(member, root):
                yield {**variant, "description": schema["description"]} if "description" in schema else variant
    else:
        yield schema


def _at(path: KeyPath, values: Any, root: Schema) -> list[Schema]:
    """The plain schemas that apply at a path."""
    schemas = [root]
    for part in path:
        below: list[Schema] = []
        for schema in schemas:
            if isinstance(part, int) and "items" in schema:
                below += _variants(schema["items"], root)
            elif part in schema.get("properties", {}):
                below += _variants(schema["properties"][part], root)
            elif isinstance(schema.get("additionalProperties"), dict):
                below += _variants(schema["additionalProperties"], root)
        if isinstance(values, dict):
            values = values.get(str(part))
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            values = None
        tag = values.get("type") if isinstance(values, dict) else None
        tagged = [s for s in below if s.get("properties", {}).get("type", {}).get("const") == tag]
        schemas = tagged or below
    return schemas


def _describe_all(schemas: Iterable[Schema], root: Schema) -> str:
    texts = [_describe(schema, root) for schema in schemas]
    texts = [text for text in dict.fromkeys(texts) if text and text != "nothing"]
    return ", or ".join(texts)


def _describe(schema: Schema, root: Schema) -> str:
    """What a value of this schema looks like, in words."""
    if "const" in schema or "enum" in schema:
        return " | ".join(str(word) for word in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "integer":
            return "a whole number" + _bounds(schema)
        case "number":
            return "a number" + _bounds(schema)
        case "boolean":
            return "true or false"
        case "string":
            pattern = f" that matches {schema['pattern']}" if "pattern" in schema else ""
            return (
                "text"
                + pattern
                + (f" ({schema['description'].rstrip('.')})" if pattern and "description" in schema else "")
            )
        case "array":
            kinds = list(_variants(schema.get("items", {}), root))
            items = "sections" if any("properties" in kind for kind in kinds) else _describe_all(kinds, root)
            return ("a list with at least one of: " if schema.get("minItems") else "a list of: ") + items
        case "object":
            return "a section" + (f" with keys {', '.join(schema['properties'])}" if schema.get("properties") else "")
        case "null":
            return "nothing"
    return ""


def _bounds(schema: Schema) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    bounds = [f"{word} {schema[name]:g}" for name, word in words.items() if name in schema]
    return f" {' and '.join(bounds)}" if bounds else ""
