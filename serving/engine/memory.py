"""Whether there is room for a second engine beside the one that runs, and for a standby."""

from __future__ import annotations

import subprocess
from pathlib import Path

from serving.engine.command import Device, EngineSpec
from serving.engine.tree import children

_GIB = 2**30
_WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")
_LEAST_OVERHEAD = 1.0 * _GIB  # what vLLM's two processes hold besides weights and cache, with the tiny model: 0.9 GiB
_MARGIN = 1.15
_STANDBY = 2.0 * _GIB  # it holds about 0.7 GiB; the rest is for whoever needs memory next


def available(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """Memory that a new process may take, bytes: what the machine has left, or this container if that is less."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    free = float(fields["MemAvailable"].split()[0]) * 1024
    limit, used = cgroup / "memory.max", cgroup / "memory.current"
    if limit.is_file() and (text := limit.read_text().strip()) != "max":
        statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        cache = float(statistics.get("inactive_file", 0))  # the kernel gives it back
        free = min(free, float(text) - float(used.read_text()) + cache)
    return free


def room_for_standby() -> bool:
    """Whether a process that has imported vLLM and waits takes nothing from anybody."""
    return available() >= _STANDBY


def room_beside(new: EngineSpec, old: EngineSpec, pid: int | None, device: Device) -> str | None:
    """None when ``new`` can be started beside ``old``, which runs as ``pid``; otherwise why it cannot."""
    if device == "cuda":
        return _no_room_on_gpu(new.arguments.gpu_memory_utilization)
    weights = _weights(new)
    if weights is None:
        return f"the size of {new.model} is not known before it is there"
    cache = new.arguments.kv_cache_gib * _GIB
    # the old one's pages of the cache that were never used are not resident, so this may be too little, never too much
    beyond = _resident(pid) - (_weights(old) or 0.0) - old.arguments.kv_cache_gib * _GIB if pid is not None else 0.0
    needed = (weights + cache + max(beyond, _LEAST_OVERHEAD)) * _MARGIN
    free = available()
    if needed <= free:
        return None
    return f"it needs about {needed / _GIB:.1f} GiB beside the one that runs, and {free / _GIB:.1f} GiB are available"


def _weights(spec: EngineSpec) -> float | None:
    """Bytes of the base model's weights; None for a hub id."""
    if not spec.local:
        return None
    return float(sum(file.stat().st_size for file in Path(spec.model).iterdir() if file.suffix in _WEIGHTS))


def _resident(pid: int) -> float:
    """Resident memory of a process and its descendants, bytes."""
    pages = 0.0
    try:
        pages = float(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0.0  # it has just ended
    return pages + sum(_resident(child) for child in children(pid))


def _no_room_on_gpu(share: float) -> str | None:
    query = ["nvidia-smi", "--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"the GPU's free memory is not known: {error}"
    free, total = (float(number) for number in said.splitlines()[0].split(","))
    if share * total <= free:
        return None
    return f"it takes {share:.0%} of {total / 1024:.0f} GiB, and {free / 1024:.1f} GiB are free on the GPU"
