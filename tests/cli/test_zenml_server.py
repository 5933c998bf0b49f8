"""A ZenML server that is away or does not know us is told in a sentence, not in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from cli.zenml_errors import explained
from tuneline.paths import REPO

pytestmark = pytest.mark.zenml

NOBODY = "http://127.0.0.1:9"


def test_a_server_that_cannot_be_reached_is_named_with_what_to_do(tmp_path: Path) -> None:
    places = {"ZENML_CONFIG_PATH": "zenml", "ZENML_LOCAL_STORES_PATH": "zenml/local_stores", "TUNELINE_HOME": "home"}
    server = {"ZENML_STORE_URL": NOBODY, "ZENML_STORE_TYPE": "rest", "ZENML_STORE_API_KEY": "ZENKEY_none"}
    ended = subprocess.run(
        [sys.executable, "run.py", "models"],
        cwd=REPO,
        env=os.environ | {name: str(tmp_path / place) for name, place in places.items()} | server,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: the ZenML server at {NOBODY} cannot be reached: ")
    assert "zenml login" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_login_that_has_ended_says_how_to_log_in_again(zenml_client: object) -> None:
    from zenml.exceptions import CredentialsNotValid

    error = explained(CredentialsNotValid("authentication error: token expired\nmore"))
    assert error is not None
    assert error.what.endswith("does not let you in: authentication error: token expired")
    assert "zenml login" in error.hint


def test_what_is_not_about_the_server_is_left_alone(zenml_client: object) -> None:
    assert explained(ValueError("a mistake of ours")) is None
    with pytest.raises(requests.RequestException) as elsewhere:
        requests.get(NOBODY, timeout=1)
    assert explained(elsewhere.value) is None
