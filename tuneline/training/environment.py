"""Where a training ran: software, hardware and commit. No name of a machine, a user or a folder is among it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch

from tuneline import paths
from tuneline.version import tuneline_version

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "tokenizers", "safetensors")


def environment() -> dict[str, str]:
    """Describe this process's software and hardware, each in a word or two."""
    found = {"tuneline": tuneline_version(), "git_commit": git_commit(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found |= {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_cores": str(cores),
        "torch_threads": str(torch.get_num_threads()),
        "memory": f"{memory:.0f} GiB",
        "device": "CPU",
    }
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        count = torch.cuda.device_count()
        found["device"] = f"{count} x {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB each"
        found["cuda"] = str(torch.version.cuda)
    return found


def git_commit() -> str:
    """The checkout's commit; ``+ changes`` behind it if files differ from it, ``unknown`` outside of a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit} + changes" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(paths.REPO), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
