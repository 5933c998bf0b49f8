"""Which tuneline this is."""

from __future__ import annotations

import tomllib

from tuneline import paths


def tuneline_version() -> str:
    """The version in pyproject.toml: the code runs from its checkout, so no installed package knows it."""
    project = tomllib.loads((paths.REPO / "pyproject.toml").read_text())["project"]
    return str(project["version"])
