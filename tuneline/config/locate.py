"""Finding the files a config names: in the current directory first, then in the repository."""

from __future__ import annotations

import re
from pathlib import Path

from tuneline.config.problem import nearest
from tuneline.paths import REPO

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_DATA = "a JSON, JSON Lines, CSV or Parquet file of this machine"
_PROMPTS = "a JSON Lines file of this machine"
_FOLDER = "an endpoint's folder: <artifact store>/tuneline/endpoints/<endpoint>"
_SCRIPT = "a Python file of this machine"
_TASKS = "a folder with lm-eval's task files"
_MODEL = "a folder with config.json, weights and tokenizer, or a hub id such as Qwen/Qwen3-0.6B"


class NotHere(Exception):  # load.py turns it into a problem with a place
    """A file or folder cannot be used; the message says why, ``nearest`` what was probably meant."""

    def __init__(self, what: str, allowed: str = "", nearest: str = "") -> None:
        super().__init__(what)
        self.allowed = allowed
        self.nearest = nearest


def locate(given: str, allowed: str = "") -> Path:
    """The absolute path of an existing file or folder.

    Args:
        given: the path; a relative one begins in the current directory, or in the repository.
        allowed: what would be right, for the message.

    Raises:
        NotHere: there is none.
    """
    path = Path(given).expanduser()
    roots = [Path("/")] if path.is_absolute() else list(dict.fromkeys([Path.cwd(), REPO]))
    for root in roots:
        if (root / path).exists():
            return (root / path).absolute()
    where = "does not exist" if path.is_absolute() else f"is not in {' and not in '.join(map(str, roots))}"
    folders = [(root / path).parent for root in roots if (root / path).parent.is_dir()]
    close = next(
        filter(None, (nearest(path.name, [entry.name for entry in folder.iterdir()]) for folder in folders)), ""
    )
    raise NotHere(f"is {given!r}, which {where}", allowed, str(path.parent / close) if close else "")


def locate_data(given: str) -> str:
    """The absolute path of a data file that has something in it.

    Raises:
        NotHere: it is missing, empty, or no file.
    """
    if "://" in given:
        raise NotHere(f"is {given!r}, but a file source reads this machine's files", "a path, or a source of type hub")
    return _locate_file(given, _DATA)


def locate_feedback(given: str) -> str:
    """The absolute path of an endpoint's folder, or its URI as it is.

    Raises:
        NotHere: it is a path, and there is none.
    """
    return given if "://" in given else str(locate(given, _FOLDER))


def locate_prompts(given: str) -> str:
    """The absolute path of a file of prompts that has something in it.

    Raises:
        NotHere: it is missing, empty, or no file.
    """
    return _locate_file(given, _PROMPTS)


def locate_script(given: str) -> str:
    """The absolute path of a metric's script; the name of a metric, or what is none, as it is.

    Raises:
        NotHere: it is a script's path, and there is none.
    """
    return _locate_file(given, _SCRIPT) if given.endswith(".py") else given


def locate_tasks(given: str) -> str:
    """The absolute path of a folder with lm-eval's tasks.

    Raises:
        NotHere: it is missing, or no folder.
    """
    path = locate(given, _TASKS)
    if not path.is_dir():
        raise NotHere(f"is {given!r}, which is no folder", _TASKS)
    return str(path)


def _locate_file(given: str, allowed: str) -> str:
    path = locate(given, allowed)
    if not path.is_file():
        raise NotHere(f"is {given!r}, which is a folder", allowed)
    if path.stat().st_size == 0:
        raise NotHere(f"is {given!r}, which is empty (0 bytes)", allowed)
    return str(path)


def locate_model(given: str) -> str:
    """The absolute path of a model's folder, or the hub id as it is.

    Raises:
        NotHere: it looks like a path and there is no model, or it is neither a path nor a hub id.
    """
    if "://" in given:
        raise NotHere(f"is {given!r}, but a base model is a hub id or a folder of this machine")
    if not _looks_like_a_path(given):
        if not _HUB_ID.fullmatch(given):
            raise NotHere(f"is {given!r}, which is neither a folder nor a hub id", _MODEL)
        return given
    path = locate(given, _MODEL)
    if not (path / "config.json").is_file():
        raise NotHere(f"is {given!r}, where there is no config.json", _MODEL)
    return str(path)


def _looks_like_a_path(given: str) -> bool:
    """A hub id has at most one slash; ``assets/tiny-base`` has one too, but ``assets`` is a folder here."""
    if given.startswith((".", "/", "~")) or given.count("/") > 1:
        return True
    parent = Path(given).parts[0] if "/" in given else ""
    return any((root / given).exists() or (parent and (root / parent).is_dir()) for root in (Path.cwd(), REPO))
