"""``run.py bento``: the endpoint as a Bento, from which any OCI builder makes an image."""

from __future__ import annotations

import shutil
from pathlib import Path

from cli.screen import say
from tuneline.errors import UserError


def run_bento(output: Path | None) -> None:
    """Build the Bento and say where its Dockerfile is."""
    if output is not None and output.exists() and any(output.iterdir()):
        raise UserError(f"{output} is not empty", hint="Name a folder that does not exist yet.")
    from stacks.deployer.bento import build

    tag, folder = build()
    say(f"Bento [bold]{tag}[/bold]: {folder}")
    if output is None:
        say(f"Next: [bold]bentoml containerize {tag}[/bold], then `bentoml push {tag}` or `docker push`.")
        return
    shutil.copytree(folder, output, dirs_exist_ok=True)
    say(f"Next: [bold]docker build -f {output}/env/docker/Dockerfile {output}[/bold]")
