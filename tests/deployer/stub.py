"""Fixtures: a stub in the serving environment's place, and a deployer that starts it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from zenml.client import Client

    from stacks.deployer.deployer import BentoVLLMModelDeployer

_STUB = Path(__file__).with_name("stub_serving.py")
Behave = Callable[..., None]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Behave:
    """Put the stub in the place of ``python -m serving``; call it to choose how the next one started behaves."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift 2\nexec "{sys.executable}" -I "{_STUB}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("TUNELINE_SERVING_PYTHON", str(python))

    def behave(**behaviour: Any) -> None:
        monkeypatch.setenv("TUNELINE_STUB", json.dumps(behaviour))

    return behave


@pytest.fixture
def deployer(zenml_client: Client, stub: Behave) -> BentoVLLMModelDeployer:
    """The model deployer of the local stack, which starts stubs."""
    from stacks.apply import activate, apply_stack
    from stacks.deployer.deployer import BentoVLLMModelDeployer

    apply_stack("local")
    activate("tuneline-local")
    found = zenml_client.active_stack.model_deployer
    assert isinstance(found, BentoVLLMModelDeployer)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """An endpoint's folder with release 1."""
    made = tmp_path / "store" / "tuneline" / "endpoints" / "tiny"
    (made / "releases").mkdir(parents=True)
    (made / "releases" / "00000001.json").write_text("{}")
    return str(made)
