"""GPUs by name: what memory a process gets of them, and their peak in matrix products. And what this machine has."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch

from tuneline.errors import UserError

GIB = 2**30


@dataclass(frozen=True)
class Device:
    """What a run is planned for.

    Attributes:
        name: as shown.
        kind: ``cuda`` or ``cpu``.
        gib: memory that a process can have, GiB; on a CPU the machine's.
        flops: peak of dense 16-bit matrix products, per second; None if nobody knows.
        measured: ``flops`` was measured here and is no peak of a data sheet.
    """

    name: str
    kind: str
    gib: float
    flops: float | None
    measured: bool = False


# Memory as CUDA reports it (ECC and firmware keep a part of what the name says), and the data sheets' dense bfloat16
# products with float32 sums, TFLOP/s; T4 and V100 have float16 alone.
_CARDS: dict[str, tuple[float, float]] = {
    "T4": (14.6, 65),
    "V100 16GB": (15.8, 125),
    "V100 32GB": (31.7, 125),
    "RTX 3070": (7.7, 40.6),
    "RTX 4080": (15.6, 97.5),
    "RTX 3090": (23.6, 71),
    "RTX 4090": (23.6, 165),
    "RTX 5090": (31.4, 209),
    "RTX A6000": (47.5, 155),
    "L4": (22.0, 121),
    "A10G": (22.1, 70),
    "L40S": (44.5, 362),
    "A100 40GB": (39.4, 312),
    "A100 80GB": (79.2, 312),
    "H100": (79.1, 989),
    "H200": (139.8, 989),
    "B200": (178.0, 2250),
}


def card(name: str) -> Device:
    """A GPU by its name, in any case and with or without its memory where there is one size.

    Raises:
        UserError: it is not known.
    """
    wanted = _plain(name)
    for known, (gib, tflops) in _CARDS.items():
        if wanted == _plain(known):
            return Device(known, "cuda", gib, tflops * 1e12)
    raise UserError(
        f"no GPU {name!r} is known to the planner",
        hint=f"One of {', '.join(_CARDS)}, or --gpu-gib with its memory in GiB.",
    )


def card_of_size(gib: float) -> Device:
    """Some GPU with so much memory; its speed is not known."""
    return Device(f"a GPU with {gib:g} GiB", "cuda", gib, None)


def this_machine() -> Device:
    """The first GPU, or else the CPU."""
    if not torch.cuda.is_available():
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
        return Device(f"CPU, {torch.get_num_threads()} threads", "cpu", memory, _measured_flops("cpu"), measured=True)
    properties = torch.cuda.get_device_properties(0)
    return Device(properties.name, "cuda", properties.total_memory / GIB, _measured_flops("cuda"), measured=True)


def _measured_flops(device: str) -> float:
    """Products of bfloat16 matrices per second, the best of three; a fifth of a second on two cores."""
    size = 1024 if device == "cpu" else 8192
    matrix = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    best = float("inf")
    for _ in range(4):  # the first warms up
        began = time.perf_counter()
        product = matrix @ matrix
        float(product[0, 0])  # waits for a GPU
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum()).removeprefix("nvidia")
