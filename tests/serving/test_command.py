"""How the engine is started, without starting it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from serving.engine.command import (
    EngineSpec,
    engine_arguments,
    engine_environment,
    engine_rank,
    engine_threads,
    extra_flags,
)
from serving.engine.vllm_server import allow_amx_tiles
from tuneline import paths
from tuneline.errors import UserError
from tuneline.release import BaseRef, EngineArguments


def spec(local: bool = True, **arguments: object) -> EngineSpec:
    base = BaseRef(model="m", revision="main")
    return EngineSpec(model="/m" if local else "org/m", local=local, base=base, arguments=EngineArguments(**arguments))


def environment(made: EngineSpec, inherited: dict[str, str], device: str = "cpu") -> dict[str, str]:
    return engine_environment(
        made.local,
        "cpu" if device == "cpu" else "cuda",
        folder=Path("/f"),
        cache=Path("/c"),
        api_key="k",
        inherited=inherited,
    )


def test_a_rank_without_a_kernel_is_served_by_the_next_one() -> None:
    assert [engine_rank(rank) for rank in (1, 4, 16, 48, 512)] == [1, 8, 16, 64, 512]
    with pytest.raises(UserError, match="at most 512"):
        engine_rank(513)


def test_extra_arguments_become_flags() -> None:
    extra = {
        "enable_log_requests": False,
        "async_scheduling": True,
        "seed": 3,
        "skip": None,
        "a_list": [1, 2],
        "c": {"x": 1},
    }
    assert extra_flags(extra) == [
        *("--no-enable-log-requests", "--async-scheduling", "--seed", "3"),
        *("--a-list", "1", "2", "--c", '{"x": 1}'),
    ]


@pytest.mark.parametrize("name", ["host", "port", "uds", "api_key", "api-key", "model", "allowed_local_media_path"])
def test_extra_arguments_cannot_open_the_engine_to_others(name: str) -> None:
    with pytest.raises(UserError, match="may not set"):
        extra_flags({name: "x"})


def test_the_cpu_engine_has_a_cache_in_bytes_and_the_gpu_engine_a_share_of_memory() -> None:
    cpu = engine_arguments(spec(kv_cache_gib=0.5), "cpu")
    assert cpu[cpu.index("--kv-cache-memory-bytes") + 1] == str(2**29)
    assert "--gpu-memory-utilization" not in cpu
    gpu = engine_arguments(spec(gpu_memory_utilization=0.8), "cuda")
    assert gpu[gpu.index("--gpu-memory-utilization") + 1] == "0.8"
    assert not {"--enforce-eager", "--kv-cache-memory-bytes"} & set(gpu)


def test_what_a_release_says_of_the_engine_reaches_vllms_own_parser() -> None:
    made = spec(
        prefix_caching=False,
        chunked_prefill=True,
        max_num_batched_tokens=1024,
        kv_cache_dtype="fp8",
        speculative={"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4},
        tool_call_parser="hermes",
    )
    program = (
        "import json, sys\n"
        "from vllm.entrypoints.launchers.cli_args import make_arg_parser\n"
        "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
        "parsed = vars(make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[1:]))\n"
        "names = ['enable_prefix_caching', 'enable_chunked_prefill', 'max_num_batched_tokens', 'kv_cache_dtype',"
        " 'speculative_config', 'enable_auto_tool_choice', 'tool_call_parser', 'max_num_seqs']\n"
        "print(json.dumps({name: parsed[name] for name in names}))\n"
    )
    command = [str(paths.serving_python()), "-c", program, *engine_arguments(made, "cpu")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert json.loads(said.splitlines()[-1]) == {
        "enable_prefix_caching": False,
        "enable_chunked_prefill": True,
        "max_num_batched_tokens": 1024,
        "kv_cache_dtype": "fp8",
        "speculative_config": {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4},
        "enable_auto_tool_choice": True,
        "tool_call_parser": "hermes",
        "max_num_seqs": 64,
    }


def test_a_revision_is_for_hub_models_only() -> None:
    assert "--revision" not in engine_arguments(spec(), "cpu")
    assert "--revision" in engine_arguments(spec(local=False), "cpu")


def test_the_engine_inherits_no_credentials_of_stores_and_asks_no_hub_for_a_folder() -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": "s", "FSSPEC_S3_KEY": "s", "ZENML_STORE_API_KEY": "s", "HF_TOKEN": "t"}
    local = environment(spec(), secrets)
    assert not [name for name in local if name.startswith(("AWS_", "FSSPEC_", "ZENML_"))]
    assert local["HF_HUB_OFFLINE"] == "1"
    hub = environment(spec(local=False), secrets)
    assert "HF_HUB_OFFLINE" not in hub
    assert hub["HF_TOKEN"] == "t"


def test_bytecode_is_written_and_caches_are_not_in_anyones_home() -> None:
    env = environment(spec(), {"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/home/somebody"})
    assert "PYTHONDONTWRITEBYTECODE" not in env
    assert {env[name].startswith("/c/") for name in ("VLLM_CACHE_ROOT", "HF_HOME", "TORCHINDUCTOR_CACHE_DIR")} == {True}


def test_the_engine_takes_a_thread_per_core_less_one_and_keeps_a_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for cpu in range(8):  # four cores with two threads each
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}\n")
    quota = tmp_path / "cpu.max"
    assert engine_threads(tmp_path, quota) == 3
    for text, threads in (("max 100000", 3), ("250000 100000", 1), ("50000 100000", 1)):
        quota.write_text(text)
        assert engine_threads(tmp_path, quota) == threads


def test_asking_for_amx_tiles_harms_no_machine() -> None:
    assert allow_amx_tiles() in (True, False)


def test_function_calls_are_parsed_by_the_parser_that_the_release_names() -> None:
    flags = engine_arguments(spec(tool_call_parser="hermes"), "cpu")
    assert flags[flags.index("--tool-call-parser") + 1] == "hermes"
    assert "--enable-auto-tool-choice" in flags
    assert "--tool-call-parser" not in engine_arguments(spec(), "cpu")
