"""``run.py card``: a version's model card."""

from __future__ import annotations

from pathlib import Path

from cli.screen import say
from cli.workplace import checked_config, use_stack
from tuneline.errors import UserError


def run_card(
    version: str | None, output: Path | None, path: Path | None, stack: str | None, overrides: list[str]
) -> None:
    """Print a version's card as Markdown, or write it to a file."""
    config = checked_config(path, overrides)
    use_stack(stack)
    from zenml.client import Client

    from controlplane.versions import get_version, list_versions
    from tuneline.card import to_markdown

    if version is None:
        versions = list_versions(config.name)
        if not versions:
            raise UserError(f"{config.name!r} has no versions yet", hint="`python run.py train` makes the first one.")
        found = versions[-1]
    else:
        found = get_version(config.name, version)
    if found.record.card is None:
        raise UserError(
            f"version {found.name} of {config.name!r} has no card: it was made before there were any",
            hint="`python run.py train --no-cache` makes a version that has one.",
        )
    markdown = to_markdown(Client().get_artifact_version(found.record.card).load())
    if output is None:
        print(markdown, end="")
        return
    output.write_text(markdown, encoding="utf-8")
    say(f"The card of {config.name} version {found.name} is in {output}.")
