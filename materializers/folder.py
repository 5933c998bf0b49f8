"""Artifacts that are folders: plain files in the artifact store, local or not, readable without ZenML."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from zenml.enums import VisualizationType
from zenml.io import fileio
from zenml.materializers.base_materializer import BaseMaterializer


def upload(folder: Path, uri: str) -> None:
    """Copy a folder's files below a URI of the artifact store. The folder stays as it is."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            target = f"{uri}/{path.relative_to(folder).as_posix()}"
            fileio.makedirs(os.path.dirname(target))
            fileio.copy(str(path), target, overwrite=True)


def download(uri: str, folder: Path, leave_out: str | None = None) -> None:
    """Copy all files below a URI of the artifact store into a folder, but those of the subfolder ``leave_out``."""
    for directory, _, names in fileio.walk(uri):
        where = str(directory)
        inside = os.path.relpath(where, uri)
        if leave_out is not None and Path(inside).parts[:1] == (leave_out,):
            continue
        (folder / inside).mkdir(parents=True, exist_ok=True)
        for name in names:
            name = name if isinstance(name, str) else name.decode()
            fileio.copy(f"{where}/{name}", str(folder / inside / name), overwrite=True)


def bring(uri: str, folder: Path, names: Collection[str] = ()) -> Path:
    """Where a folder of the artifact store can be read as files: itself if it lies on this machine, else a copy.

    A whole model has gigabytes, which nobody copies from one place of a disk to another only to read them.

    Args:
        uri: the folder in the store.
        folder: where a copy would go.
        names: files of it that are wanted; all without any.
    """
    here = Path(uri.removeprefix("file://"))
    if here.is_dir():
        return here
    if not names:
        download(uri, folder)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        fileio.copy(f"{uri}/{name}", str(folder / name), overwrite=True)
    return folder


class PageMaterializer(BaseMaterializer):
    """A materializer whose artifact shows itself as one HTML page."""

    SKIP_REGISTRATION = True

    def write_page(self, html: str) -> dict[str, VisualizationType]:
        """Write the artifact's page and name it for the dashboard."""
        path = f"{self.uri}/page.html"
        with self.artifact_store.open(path, "w") as file:
            file.write(html)
        return {path: VisualizationType.HTML}
