"""A benchmark's numbers as JSON, with the machine and the versions they belong to."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("torch", "transformers", "peft", "bentoml", "zenml")


def write_report(file: Path, benchmark: str, numbers: dict[str, Any]) -> None:
    """Write the numbers of one run."""
    document = {"benchmark": benchmark, "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    file.write_text(json.dumps(document | numbers, indent=2) + "\n")
    print(f"written to {file}")


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """What was measured (``what``, ``found``) beside its ``goal`` and whether that was ``reached``."""
    for row in rows:
        goal = "" if row["goal"] is None else f"goal {row['goal']:g}, {'reached' if row['reached'] else 'MISSED'}"
        print(f"{row['what']:<62} {row['found']:8.3f}  {goal}")


def machine() -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
