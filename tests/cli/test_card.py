"""``run.py card``: the Markdown alone, so that it can be piped into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.card.cards import card
from tests.cli.conftest import Run
from tuneline.card import to_markdown

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml


def test_the_card_of_a_version_is_printed_or_written_and_the_newest_is_meant(
    zenml_client: Client, run: Run, tmp_path: Path
) -> None:
    from zenml import save_artifact

    from materializers.model_card import ModelCardMaterializer
    from tests.controlplane.registered import registered

    assert run("stop", "--set", "name=tiny").code == 0  # chooses the stack
    made = card(tmp_path)
    registered("a", None)
    registered("b", None, card=save_artifact(made, "card", materializer=ModelCardMaterializer).id)

    printed = run("card", "--set", "name=tiny")
    assert (printed.code, printed.out) == (0, to_markdown(made))
    file = tmp_path / "CARD.md"
    assert run("card", "2", "--output", str(file), "--set", "name=tiny").code == 0
    assert file.read_text() == to_markdown(made)
    refused = run("card", "1", "--set", "name=tiny")
    assert refused.code == 2
    assert "version 1 of 'tiny' has no card" in refused.err
