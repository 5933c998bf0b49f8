"""A config as it was written: values, and for each of them the line or the option it came from.

PyYAML's node tree carries line and column of every key, which its loaders throw away; so the values
are built here, from the nodes. Plain words are read by YAML 1.2's rules: ``2e-3`` is a number and
``on`` is a word, where PyYAML's YAML 1.1 has it the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tuneline.config.problem import ConfigError, KeyPath, Place, Problem, dotted, shown

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner and composer with YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


for _type, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf)|\.(nan|NaN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _type, re.compile(f"(?:{_pattern})\\Z"), _first)

_SCALARS: dict[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": lambda text: int(text, 16 if "x" in text else 10),
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
    "str": str,
}


@dataclass
class Source:
    """Values of a config with their places.

    Attributes:
        name: the file as the user wrote it.
        values: the top level.
        keys: where each key stands.
        places: where each value stands.
        problems: what could not be read.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """Where a value (or its key) stands; for what was not written, where the section around it stands."""
        if key and path in self.keys:
            return self.keys[path]
        if path in self.places:
            return self.places[path]
        for length in range(len(path) - 1, -1, -1):
            if path[:length] in self.keys or path[:length] in self.places:
                return self.keys.get(path[:length]) or self.places[path[:length]]
        return Place(self.name)

    def graft(self, path: KeyPath, other: Source) -> None:
        """Put another file's values at ``path``, with their places and problems."""
        self._forget(path)
        self._put(path, other.values)
        self.keys |= {path + below: place for below, place in other.keys.items() if below}
        self.places |= {path + below: place for below, place in other.places.items()}
        self.problems += other.problems

    def override(self, option: str) -> None:
        """Apply ``section.key=value``; list items go by their index. Unknown keys are found later, with all others."""
        place = Place(f"--set {option}")
        key, equals, text = option.partition("=")
        if not equals or not key.strip():
            self.problems.append(Problem(place, (), "is not of the form section.key=value"))
            return
        path = tuple(int(part) if part.isdecimal() else part for part in key.strip().split("."))
        read = read_yaml(text, str(place), at_option=True)
        if read.problems:
            self.problems += read.problems
            return
        self._forget(path)
        kept = self._sections_on_the_way(path)
        problem = self._put(path, read.values["value"])
        if problem:
            self.problems.append(Problem(place, path, problem))
            return
        for length in range(kept + 1, len(path) + 1):
            self.keys[path[:length]] = self.places[path[:length]] = place

    def _forget(self, path: KeyPath) -> None:
        for places in (self.keys, self.places):
            for known in [known for known in places if known[: len(path)] == path and known != path]:
                del places[known]

    def _sections_on_the_way(self, path: KeyPath) -> int:
        """How many of the path's parts are there already and can hold what follows."""
        inside: Any = self.values
        for depth, part in enumerate(path[:-1]):
            there = part in inside if isinstance(inside, dict) else isinstance(part, int) and part < len(inside)
            inside = inside[part] if there else None
            if not isinstance(inside, dict | list):
                return depth
        return len(path) - 1

    def _put(self, path: KeyPath, value: Any) -> str:
        """Set a value, making sections that are missing on the way. Returns what is in the way, or nothing."""
        inside: Any = self.values
        for depth, part in enumerate(path):
            last = depth == len(path) - 1
            if isinstance(inside, dict):
                part = str(part)
                if last:
                    inside[part] = value
                elif not isinstance(inside.get(part), dict | list):
                    inside[part] = {}
                inside = inside[part]
            elif isinstance(inside, list) and isinstance(part, int) and part < len(inside):
                if last:
                    inside[part] = value
                inside = inside[part]
            elif isinstance(inside, list):
                end = f"has {len(inside)} item{'s' * (len(inside) != 1)}, counted from 0"
                return f"there is no {dotted(path[: depth + 1])}: {dotted(path[:depth])} {end}"
            else:
                return f"{dotted(path[:depth])} is {shown(inside)}, which has no keys"
        return ""


def read_file(path: Path, name: str) -> Source:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: the file.
        name: what messages call it.

    Raises:
        ConfigError: it is missing, empty, not UTF-8, not YAML, or not a mapping. Smaller problems are
            kept in the result, to be told with all others.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError:
        raise ConfigError(name, [Problem(Place(name), (), "is a folder, a config is a YAML file")]) from None
    except OSError as error:
        raise ConfigError(name, [Problem(Place(name), (), f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        what = f"is not a text file: byte {error.start} is no UTF-8"
        raise ConfigError(name, [Problem(Place(name), (), what)]) from None
    source = read_yaml(text, name)
    if source.problems and not source.values:
        raise ConfigError(name, source.problems)
    return source


def read_yaml(text: str, name: str, *, at_option: bool = False) -> Source:
    """Parse YAML. A file must be a mapping; an option's value may be anything and is kept as ``value``."""
    source = Source(name)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Place(name) if at_option or mark is None else Place(name, mark.line + 1, mark.column + 1)
        source.problems.append(Problem(at, (), _syntax(error, text)))
        return source
    except yaml.YAMLError as error:  # control characters
        source.problems.append(Problem(Place(name), (), f"is not YAML: {error}".splitlines()[0]))
        return source
    value = None if node is None else _build(node, (), source, set(), at_option)
    if at_option:
        source.values = {"value": value}
    elif isinstance(value, dict):
        source.values = value
    elif value is None:
        source.problems.append(Problem(Place(name), (), "is empty"))
    else:
        what = f"holds {shown(value)} where its sections should be (lines such as `model:`)"
        source.problems.append(Problem(Place(name, 1), (), what))
    return source


def _syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    line = text.splitlines()[mark.line] if mark is not None and mark.line < len(text.splitlines()) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in str(error.problem):
        return "a tab: YAML is indented with spaces only"
    context = f" ({error.context})" if error.context else ""
    return f"is not YAML: {error.problem}{context}"


def _build(node: yaml.Node, path: KeyPath, source: Source, above: set[int], at_option: bool) -> Any:
    """The value of a node, noting the places of all that is in it."""
    place = _place(node, source, at_option)
    source.places[path] = place
    if id(node) in above:
        source.problems.append(Problem(place, path, "contains itself"))
        return None
    above = above | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, index), source, above, at_option) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            at = _place(key_node, source, at_option)
            if not isinstance(key_node, yaml.ScalarNode):
                source.problems.append(Problem(at, path, "a key is a word, not a list or a section"))
                continue
            key = (*path, str(key_node.value))
            if key_node.value in values:
                what = f"is written twice; the first one is at {source.keys[key]}"
                source.problems.append(Problem(at, key, what))
                continue
            source.keys[key] = at
            values[key_node.value] = _build(value_node, key, source, above, at_option)
        return values
    kind = node.tag.removeprefix(_TAG)
    try:
        return _SCALARS[kind](node.value)
    except (KeyError, ValueError):
        source.problems.append(Problem(place, path, f"{shown(node.value)} cannot be read as {node.tag}"))
        return None


def _place(node: yaml.Node, source: Source, at_option: bool) -> Place:
    if at_option:
        return Place(source.name)
    return Place(source.name, node.start_mark.line + 1, node.start_mark.column + 1)
