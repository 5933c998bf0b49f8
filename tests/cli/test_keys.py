"""``run.py keys``: what it prints, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Run

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml

TINY = ("--set", "name=tiny")


def test_a_key_is_printed_once_listed_without_itself_and_revoked(run: Run, zenml_client: Client) -> None:
    limits = ("--requests-per-minute", "60", "--tokens-per-minute", "20000", "--expires-in", "90d")
    made = run("keys", "create", "web", "--scope", "inference", "--scope", "feedback", *limits, *TINY)
    assert made.code == 0, made
    key = made.out.strip()
    assert key.startswith("tl-")
    assert "not shown again" in made.err
    listed = run("keys", "list", *TINY)
    said = " ".join(listed.out.split())
    for word in ("web", "feedback", "60 requests,", "20,000 tokens", "active"):
        assert word in said
    (row,) = json.loads(run("keys", "list", "--json", *TINY).out)
    assert (row["name"], row["scopes"], row["requests_per_minute"]) == ("web", ["feedback", "inference"], 60)
    assert row["expires_at"] > row["created_at"]
    assert key not in listed.out + json.dumps(row)
    assert "is revoked since" in run("keys", "revoke", row["id"], *TINY).out
    assert json.loads(run("keys", "list", "--json", *TINY).out)[0]["state"] == "revoked"


def test_what_is_wrong_is_said_with_what_to_do(run: Run, refused: Callable[..., str], zenml_client: Client) -> None:
    assert run("keys", "create", "web", *TINY).code == 0
    for arguments, words in {
        ("create", "web"): ("has a key called 'web' already", "choose another"),
        ("create", "a/b"): ("'a/b' cannot be a key's name", "Use letters"),
        ("create", "ci", "--scope", "inferense"): ("no scope 'inferense'", "Did you mean 'inference'?"),
        ("create", "ci", "--expires-in", "soon"): ("--expires-in is 'soon'", "90d"),
        ("revoke", "wep"): ("has no key 'wep'", "Did you mean 'web'?"),
    }.items():
        said = refused("keys", *arguments, *TINY)
        for word in words:
            assert word in said
    assert len(json.loads(run("keys", "list", "--json", *TINY).out)) == 1
