"""Every command explains itself, and every command that a message, a comment or the README names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import typer

from cli.app import app
from tests.cli.conftest import Run
from tuneline.paths import REPO

ROOT = typer.main.get_command(app)
PYTHON = "cli configs controlplane materializers pipelines serving stacks steps tuneline".split()
PAGES = ["README.md", "Makefile", "setup.sh", "run.py"]
# What comes behind `run.py` up to the end of the line, of the quotation or of the markup around it.
MENTIONED = re.compile(r"\brun\.py +([^`\"'\n\[\]|)]+)")


def commands(command: typer.core.TyperGroup | typer.core.TyperCommand, path: tuple[str, ...] = ()) -> Iterator[tuple]:
    """Every command with the words that lead to it."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


COMMANDS = dict(commands(ROOT))
OPTIONS = {
    path: {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for path, found in COMMANDS.items()
}


def mentions() -> list[tuple[str, list[str]]]:
    """Every ``run.py …`` in code, configs and pages: where, and the words behind it."""
    files = [file for folder in PYTHON for suffix in ("py", "yaml") for file in (REPO / folder).rglob(f"*.{suffix}")]
    found = []
    for file in [*files, *(REPO / page for page in PAGES)]:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            place = f"{file.relative_to(REPO)}:{number}"
            found += [(place, words.split()) for words in MENTIONED.findall(line)]
    return found


def wrong(words: list[str]) -> str:
    """What the words name that is not there; nothing if all of it is."""
    path: tuple[str, ...] = ()
    for before, word in zip(["", *words], words, strict=False):
        if word.startswith("-"):
            option = word.split("=")[0].rstrip(".,;:")
            if option not in OPTIONS[path] | {"--help", "-h"}:
                return f"{' '.join(path) or 'run.py'} has no option {option}"
        elif before.startswith("-"):
            continue  # that option's value
        elif word.startswith("{") and path == ():
            path = ("train",)  # stands for any command: it may have the options that all have
        elif isinstance(COMMANDS[path], typer.core.TyperGroup) and re.fullmatch(r"[a-z]+", word):
            path = (*path, word)
            if path not in COMMANDS:
                return f"there is no command {' '.join(path)}"
    return ""


def test_every_command_and_option_that_is_named_anywhere_exists() -> None:
    found = mentions()
    assert len(found) > 50  # else the pattern finds nothing any more
    assert [f"{place}: {problem}" for place, words in found if (problem := wrong(words))] == []


def test_every_command_is_in_the_readmes_table() -> None:
    lines = (REPO / "README.md").read_text().splitlines()
    table = "\n".join(line for line in lines if line.startswith("| `python run.py"))
    missing = [path[0] for path in COMMANDS if len(path) == 1 and f"`python run.py {path[0]}" not in table]
    assert missing == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("serve", "there is no command serve"),
        ("stack aply FILE", "there is no command stack aply"),
        ("deploy --logs", "deploy has no option --logs"),
        ("--fast", "run.py has no option --fast"),
        ("{command} --fast", "train has no option --fast"),
        ("--stack other --config configs/tiny.yaml", ""),
        ("train --set data.sources.0.path=a.json", ""),
    ],
)
def test_a_command_that_is_not_there_is_noticed(words: str, problem: str) -> None:
    assert wrong(words.split()) == problem


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "run.py")
def test_help_explains_the_command_and_everything_it_takes(run: Run, path: tuple[str, ...]) -> None:
    ended = run(*path, "--help")
    assert (ended.code, ended.err) == (0, "")
    command = COMMANDS[path]
    assert len(command.help.split()) >= 3
    assert command.help.split(".")[0].split("\n")[0].replace("[bold]", "")[:60] in ended.out
    for parameter in command.params:
        assert len(parameter.help.split()) >= 2, parameter.name


def test_the_exit_codes_are_explained(run: Run) -> None:
    said = run("--help").out
    for meaning in ("0 done", "2 your input is wrong", "3 the gate did not pass", "1 anything else"):
        assert meaning in said
