"""A searched config with values put in: what a trial trains, and what the best one is trained and judged with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from tuneline.config.experiment import Config
from tuneline.config.explain import types_at
from tuneline.config.search import SearchConfig, place_value, value_at


def searched(config: Config) -> SearchConfig:
    """The section ``search`` of a config that has one."""
    assert config.search is not None, "a search is started with a config that has a section search"
    return config.search


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The config that ``--set`` would have made of these values; without the search, measured as the search measures.

    Raises:
        ValueError: the values do not go together.
    """
    given = config.model_dump(mode="json", exclude={"search"})
    if config.search is not None and config.search.validation is not None:
        given["training"]["validation"] = config.search.validation.model_dump(mode="json")
    for key, value in values.items():
        place_value(given, key, value)
    return Config.model_validate_json(json.dumps(given), strict=True)


def value_of(config: Config, key: str) -> Any:
    """What a config says at a key, as plain values."""
    return value_at(config.model_dump(mode="json"), key)


def is_whole(config: Config, key: str) -> bool:
    """Whether a key takes whole numbers and no others."""
    path = tuple(int(part) if part.isdecimal() else part for part in key.split("."))
    types = types_at(path, config.model_dump(mode="json"), _schema())
    return "integer" in types and "number" not in types


@cache
def _schema() -> dict[str, Any]:
    """Making it takes 20 ms, and every trial of every study asks."""
    return Config.model_json_schema()
