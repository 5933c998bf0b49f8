"""vLLM's OpenAI server, with one permission asked for before anything runs.

The kernel lets a process use AMX tile registers only after it asked (``arch_prctl(ARCH_REQ_XCOMP_PERM)``). vLLM 0.32
picks its AMX attention kernel from the CPU's flags alone and leaves the asking to oneDNN or the compiler, which an
eager engine with a small model never reaches: the first request then ends the engine with an illegal instruction.
Permission does not survive exec, so every process has to ask. vLLM spawns its processes, and a spawned Python process
imports its parent's main module first: this one. That is why the call stands at module level.
https://docs.kernel.org/arch/x86/xstate.html
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import runpy
import sys
import threading

from serving.engine import zygote

_SYS_ARCH_PRCTL = 158
_ARCH_REQ_XCOMP_PERM = 0x1023
_XFEATURE_XTILEDATA = 18


def allow_amx_tiles() -> bool:
    """Ask the kernel for the AMX tile registers; False where there are none."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA) == 0)


allow_amx_tiles()


def main() -> None:
    """Be vLLM's server.

    With ``--wait NICE`` import first, with that claim to a core, and take the arguments as a line of JSON from standard
    input. A thread has a claim of its own; without privileges none can be raised again, so the server must not keep it.
    """
    forks = zygote.fits()
    if sys.argv[1:2] == ["--wait"]:
        importing = threading.Thread(target=_import, args=(int(sys.argv[2]),))
        importing.start()
        line = sys.stdin.readline()
        if not line:
            return
        with contextlib.suppress(OSError):  # it is needed now; not everybody may say so
            os.setpriority(os.PRIO_PROCESS, importing.native_id or 0, 0)
        importing.join()
        sys.argv[1:] = json.loads(line)
    elif forks:
        zygote.import_modules()
    if forks:
        zygote.serve_forks()
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")


def _import(nice: int) -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
    zygote.import_modules()


if __name__ == "__main__":
    main()
