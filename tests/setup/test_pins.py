"""The constraints files fit pyproject.toml, and name nothing but versions."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tuneline.paths import REPO

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
EXTRAS = {
    "pipelines": ("pipelines", "dev"),
    "serving-cpu": ("serving-cpu",),
    "serving-gpu": ("serving-gpu",),
}


def _pins(name: str) -> dict[str, str]:
    lines = (REPO / "constraints" / f"{name}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("name", EXTRAS)
def test_every_requirement_has_a_pin_that_fits(name: str) -> None:
    pins = _pins(name)
    groups = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in EXTRAS[name])]
    for requirement in (Requirement(line) for group in groups for line in group):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement


@pytest.mark.parametrize("name", EXTRAS)
def test_pins_are_names_and_plain_versions(name: str) -> None:
    for package, version in _pins(name).items():
        assert re.fullmatch(r"[a-z0-9-]+", package)
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{package}=={version}"


def test_the_environments_that_exchange_adapters_agree_on_what_reads_them() -> None:
    pipelines, cpu, gpu = _pins("pipelines"), _pins("serving-cpu"), _pins("serving-gpu")
    for package in ("torch", "transformers", "tokenizers", "safetensors", "bentoml", "fsspec", "s3fs"):
        assert pipelines[package] == cpu[package] == gpu[package]
