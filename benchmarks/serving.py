"""What the gateway costs and what the engine brings, on real vLLM: beside the engine alone, BentoML's proxy, generate.

    python -m benchmarks.serving --json serving.json

One engine process answers everybody: through the gateway (keys and limits on), directly by its socket, and through
BentoML's ``__command__`` proxy (``benchmarks.peers``). All are asked by one light client (``benchmarks.load``), in
rounds that alternate; medians count. Answers have exactly as many tokens as were asked for.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.endpoint import BASE, ENGINE, NAME, BenchEndpoint, bench_endpoint
from benchmarks.load import Client, Load, Target, burst, run
from benchmarks.peers.known_engine import WHERE
from benchmarks.report import print_rows, write_report
from stacks.deployer.process import check_port
from stacks.deployer.start import serving_environment
from tuneline import paths

_PEERS = paths.REPO / "benchmarks" / "peers"
_TOKENS = 64
_QUESTIONS = {1: 6, 8: 64, 32: 128}  # clients: questions in a round, some five seconds of each
_WORDS = "pod node job web db cache api log disk core unit task host port mesh ring file repo tag"
_PREFIX_WORDS = 150  # 395 of the tiny tokenizer's tokens; what follows differs and is 70, of the 512 there are


def _question(tokens: int = _TOKENS, content: str = "list the pods in namespace web") -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"messages": messages, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}


@contextmanager
def known_endpoint(folder: Path, name: str, **extra: Any) -> Iterator[tuple[BenchEndpoint, Target, Path]]:
    """An endpoint, its engine as a target of its own, and the file that says where that is."""
    where = folder / f"{name}.json"
    command = [str(paths.serving_python()), str(_PEERS / "known_engine.py")]
    # without a standby, which would be a second engine to know
    environment = {WHERE: str(where), "TUNELINE_ENGINE_COMMAND": json.dumps(command), "TUNELINE_STANDBY": "off"}
    engine = ENGINE.model_copy(update=extra)
    with bench_endpoint(["1"], engine=engine, environment=environment) as endpoint:
        known = json.loads(where.read_text())
        model = f"lora-{endpoint.adapters['1'].sha256[:24]}"
        yield endpoint, Target("direct", known["key"], model, socket=known["socket"]), where


@contextmanager
def bento_proxy(where: Path, direct: Target) -> Iterator[Target]:
    """BentoML's proxy in front of the engine that ``where`` names."""
    port = 20_000 + secrets.randbelow(10_000)
    check_port("127.0.0.1", port)
    python = paths.serving_python()
    command = [str(python.with_name("bentoml")), "serve", "benchmarks.peers.bento_command:Proxied"]
    environment = serving_environment((), {WHERE: str(where), "BENTOML_DO_NOT_TRACK": "True"})
    environment |= {"BENTOML_HOME": str(where.parent / "bentoml"), "PYTHONPATH": str(paths.REPO)}
    with (where.parent / "bentoml.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--host", "127.0.0.1"],
            cwd=paths.REPO,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        _until_answers(f"http://127.0.0.1:{port}/v1/models", direct.key)
        yield Target("bentoml", direct.key, direct.model, url=f"http://127.0.0.1:{port}")
    finally:
        tree = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(timeout=60)
        for left in psutil.wait_procs(tree, timeout=10)[1]:
            left.kill()


def _until_answers(url: str, key: str, patience: float = 120.0) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(url, headers={"authorization": f"Bearer {key}"}, timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer within {patience:.0f} s")


def _burst(target: Target, questions: Sequence[dict[str, Any]], clients: int) -> Load:
    load: Load = run(lambda: burst(target, questions, clients))
    if load.problems:
        raise RuntimeError(f"{target.name} gave {len(load.problems)} broken answers, the first: {load.problems[0]}")
    return load


def throughput(targets: Sequence[Target], rounds: int) -> dict[str, Any]:
    """Tokens and requests per second of each target, by number of clients."""
    rows: dict[str, Any] = {}
    for clients, number in _QUESTIONS.items():
        loads: dict[str, list[Load]] = {target.name: [] for target in targets}
        for turn in range(rounds + 1):
            for target in targets if turn % 2 else reversed(targets):
                load = _burst(target, [_question()] * number, clients)
                if turn:  # the first one opens connections and fills caches
                    loads[target.name].append(load)
        rows[str(clients)] = row = {
            name: {
                "tokens_per_second": statistics.median(number * _TOKENS / load.seconds for load in found),
                "requests_per_second": statistics.median(number / load.seconds for load in found),
                "first_token_ms": statistics.median(a.first for load in found for a in load.answers) * 1000,
                "client_cpu_share": statistics.median(load.cpu_seconds / load.seconds for load in found),
                "all_seconds": [load.seconds for load in found],
            }
            for name, found in loads.items()
        }
        for name in row:
            # within a round both had the same machine: the median of the rounds' ratios, not the ratio of medians
            pairs = zip(loads["direct"], loads[name], strict=True)
            row[name]["of_direct"] = statistics.median(direct.seconds / other.seconds for direct, other in pairs)
        print(f"{clients} clients: " + ", ".join(_rate(name, numbers) for name, numbers in row.items()), flush=True)
    return rows


def _rate(name: str, numbers: dict[str, Any]) -> str:
    return f"{name} {numbers['tokens_per_second']:.0f} tokens/s ({numbers['of_direct']:.3f})"


def first_token(targets: Sequence[Target], rounds: int) -> dict[str, Any]:
    """Milliseconds to the first token of one client that asks each target in turn."""

    async def measured() -> dict[str, list[float]]:
        clients = {target.name: Client(target) for target in targets}
        found: dict[str, list[float]] = {name: [] for name in clients}
        for turn in range(rounds * 20 + 3):
            for name, client in clients.items():
                answer = await client.ask(_question(2))
                if answer.problem:
                    raise RuntimeError(f"{name}: {answer.problem}")
                if turn >= 3:
                    found[name].append(answer.first * 1000)
        for client in clients.values():
            client.close()
        return found

    found = run(measured)
    direct = found["direct"]
    return {
        name: {
            "median_ms": statistics.median(values),
            "added_ms": statistics.median(mine - theirs for mine, theirs in zip(values, direct, strict=True)),
        }
        for name, values in found.items()
    }


def prefix(on: Target, off: Target, rounds: int) -> dict[str, Any]:
    """Short answers to long prompts that begin alike, with prefix caching and without: requests/s, first token."""
    words = _WORDS.split()
    shared = " ".join(words[place % len(words)] for place in range(_PREFIX_WORDS))
    loads: dict[str, list[Load]] = {"on": [], "off": []}
    for turn in range(rounds + 1):
        for name, target in (("on", on), ("off", off)) if turn % 2 else (("off", off), ("on", on)):
            questions = [_question(4, f"{shared} {_different()}") for _ in range(64)]
            load = _burst(target, questions, 8)
            if turn:
                loads[name].append(load)
    rates = {
        name: {
            "requests_per_second": statistics.median(64 / load.seconds for load in found),
            "first_token_ms": statistics.median(a.first for load in found for a in load.answers) * 1000,
        }
        for name, found in loads.items()
    }
    return rates | {
        "shared_tokens": _prompt_tokens(on, shared),
        "times_requests": rates["on"]["requests_per_second"] / rates["off"]["requests_per_second"],
        "times_first_token": rates["off"]["first_token_ms"] / rates["on"]["first_token_ms"],
    }


def _different() -> str:
    return " ".join(secrets.token_hex(8) for _ in range(4))


def _prompt_tokens(target: Target, content: str) -> int:
    answer = httpx.post(
        f"{target.url}/v1/chat/completions",
        json=_question(1, content) | {"model": target.model},
        headers={"authorization": f"Bearer {target.key}"},
        timeout=60,
    )
    return int(answer.json()["usage"]["prompt_tokens"])


def generate(adapter: str, rounds: int) -> float:
    """Tokens per second of transformers' ``generate``, one question after the other; the adapter merged, bfloat16."""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16)
    model = PeftModel.from_pretrained(base, adapter).merge_and_unload().eval()
    prompt = tokenizer.apply_chat_template(
        _question()["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    rates = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        for _ in range(4):
            with torch.inference_mode():
                model.generate(
                    **prompt, do_sample=False, min_new_tokens=_TOKENS, max_new_tokens=_TOKENS, pad_token_id=1
                )
        rates.append(4 * _TOKENS / (time.perf_counter() - began))
    return statistics.median(rates[1:])


def vllm_bench(endpoint: BenchEndpoint) -> dict[str, Any]:
    """The load tool of vLLM itself against the gateway; what it prints, and the same as numbers."""
    command = [
        *(str(paths.serving_python()), "-c", _VLLM_BENCH, "--backend", "openai-chat", "--base-url", endpoint.url),
        *("--endpoint", "/v1/chat/completions", "--model", NAME, "--tokenizer", str(BASE)),
        *("--dataset-name", "random", "--random-input-len", "64", "--random-output-len", str(_TOKENS)),
        *("--num-prompts", "96", "--max-concurrency", "32", "--ignore-eos", "--disable-tqdm"),
    ]
    environment = serving_environment((), {"OPENAI_API_KEY": endpoint.key, "VLLM_NO_USAGE_STATS": "1"})
    environment |= {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"vllm.benchmarks.serve ended with {done.returncode}:\n{done.stderr[-2000:]}")
    table = done.stdout[done.stdout.find("============ Serving") :].strip()
    print(table, flush=True)
    rows = re.findall(r"^(.+?):\s+([0-9.]+)\s*$", table, re.MULTILINE)
    return {"table": table.splitlines(), "rows": {name: float(value) for name, value in rows}}


# The `vllm` command looks for a distribution called "vllm", which the CPU build is not.
_VLLM_BENCH = """
import argparse
from vllm.benchmarks import serve
parser = argparse.ArgumentParser()
serve.add_cli_args(parser)
serve.main(parser.parse_args())
"""


def measure(rounds: int) -> dict[str, Any]:
    """Everything, in one run."""
    with tempfile.TemporaryDirectory(prefix="tlb-") as folder, ExitStack() as stack:
        endpoint, direct, where = stack.enter_context(known_endpoint(Path(folder), "on"))
        gateway = Target("gateway", endpoint.key, NAME, url=endpoint.url)
        with bento_proxy(where, direct) as bentoml:
            targets = (direct, gateway, bentoml)
            numbers: dict[str, Any] = {
                "rounds": rounds,
                "throughput": throughput(targets, rounds),
                "first_token": first_token(targets, rounds),
            }
        numbers["vllm_bench"] = vllm_bench(endpoint)
        numbers["generate_tokens_per_second"] = generate(endpoint.adapters["1"].uri, rounds)
        other, _, _ = stack.enter_context(known_endpoint(Path(folder), "off", prefix_caching=False))
        numbers["prefix"] = prefix(gateway, Target("off", other.key, NAME, url=other.url), rounds)
    return numbers | {"rows": rows(numbers)}


def rows(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """What is promised, beside what was measured."""
    at = numbers["throughput"]
    least = min(at[clients]["gateway"]["of_direct"] for clients in at)
    beside = min(at[clients]["gateway"]["of_direct"] / at[clients]["bentoml"]["of_direct"] for clients in at)
    first = numbers["first_token"]
    most: Callable[[float, float], bool] = lambda found, goal: found <= goal  # noqa: E731
    least_of: Callable[[float, float], bool] = lambda found, goal: found >= goal  # noqa: E731
    generated = numbers["generate_tokens_per_second"]
    promised = (
        ("throughput, least share of the engine alone", least, 0.95, least_of),
        ("throughput, least share of BentoML's proxy", beside, 1.0, least_of),
        ("added to the first token, ms", first["gateway"]["added_ms"], 3.0, most),
        ("the same by BentoML's proxy, ms", first["bentoml"]["added_ms"], None, most),
        ("tokens/s, times generate", at["32"]["gateway"]["tokens_per_second"] / generated, 8.0, least_of),
        ("requests/s with a shared prefix, times no cache", numbers["prefix"]["times_requests"], 2.0, least_of),
        ("first token with a shared prefix, times no cache", numbers["prefix"]["times_first_token"], 2.0, least_of),
    )
    return [
        {"what": what, "found": found, "goal": goal, "reached": None if goal is None else reached(found, goal)}
        for what, found, goal, reached in promised
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the numbers are written")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default %(default)s)")
    options = parser.parse_args()
    numbers = measure(options.rounds)
    write_report(options.json, "serving", numbers)
    print_rows(numbers["rows"])


if __name__ == "__main__":
    main()
