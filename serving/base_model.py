"""Where the base model of a release is, and the end of copies that no release needs any more."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from tuneline.errors import UserError
from tuneline.release import BaseRef
from tuneline.release.files import FingerprintMismatch, fetch, fingerprint

logger = logging.getLogger(__name__)

_COPY = re.compile(r"^[0-9a-f]{64}$")
_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")


def resolve_base(base: BaseRef, cache: Path) -> tuple[str, bool]:
    """Where the engine finds the base model: a local folder and True, or a hub id and False.

    Raises:
        UserError: there is no such model.
        FingerprintMismatch: the folder is not the one the release names.
    """
    path = Path(base.model.removeprefix("file://"))
    if path.is_dir():
        if base.sha256 is not None and (found := fingerprint(path)) != base.sha256:
            raise FingerprintMismatch(
                f"the base model {path} has fingerprint {found}, but the release names {base.sha256}"
            )
        return str(path.absolute()), True
    if "://" in base.model and not base.model.startswith("file://"):
        if base.sha256 is None:
            raise UserError(
                f"the release names the base model {base.model} without its sha256",
                hint="Write the release again with it.",
            )
        return str(fetch(base.model, base.sha256, cache)), True
    if _HUB_ID.match(base.model):
        return base.model, False
    raise UserError(f"the base model {base.model!r} is no folder on this machine, no URI and no hub id")


def forget_bases(cache: Path, needed: Iterable[BaseRef]) -> None:
    """Remove fetched models but those that are needed: each has gigabytes, and every whole model is another one.

    Args:
        cache: where ``resolve_base`` puts them.
        needed: those of the live release, and of the one before it, which may be gone back to.
    """
    kept = {base.sha256 for base in needed}
    for copy in cache.iterdir() if cache.is_dir() else ():
        if _COPY.match(copy.name) and copy.name not in kept:
            shutil.rmtree(copy, ignore_errors=True)
            logger.info("the base model %s… is not needed any more and was removed", copy.name[:12])
