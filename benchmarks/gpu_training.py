"""How fast LoRA and QLoRA train a real architecture on one GPU, and how much of the GPU that uses.

    python -m benchmarks.gpu_training --model-shape mistral-7b --json gpu_training.json

The architecture with random weights and random conversations of a quarter to all of ``--sequence`` tokens, half of them
supervised. Beside ours stand (a) and (b) of ``benchmarks.training``, with as many tokens in a pass. Model FLOPs
utilisation counts what the mathematics needs, not what is computed twice:

    FLOPs per token = 4 N + 6 L d w

``N`` are the parameters of the linear layers and the head; forward 2 N, backward 2 N, because frozen weights have no
gradient (full fine-tuning would be 6 N). ``L`` layers of attention width ``d`` see half of a mean conversation of ``w``
tokens: 2 products forward and 4 backward, of 2 d FLOPs for each of the w / 2 tokens seen. The adapter's own are
left out (below 1 %). The peak is the maker's for dense bfloat16.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig

from benchmarks.report import write_report
from benchmarks.training import Numbers, once
from tuneline import paths
from tuneline.training.plan.published import PUBLISHED

SHAPES: dict[str, dict[str, Any]] = {
    "mistral-7b": PUBLISHED["mistralai/Mistral-7B-Instruct-v0.3"],
    "llama-3-8b": PUBLISHED["meta-llama/Llama-3.1-8B-Instruct"],
    "qwen3-8b": PUBLISHED["Qwen/Qwen3-8B"],
    "tiny": {
        "model_type": "llama",
        "vocab_size": 1024,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 4096,
    },
}
# Dense bfloat16, from the makers' data sheets, FLOP/s.
_PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "4090": 165e12}
_CONTENDERS = ("ours", "trainer", "trl")


def flops_per_token(config: PreTrainedConfig, mean_length: float) -> float:
    """The formula of this file's docstring."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    return 4.0 * linear + 6.0 * config.num_hidden_layers * width * mean_length


def job(base: str, config: PreTrainedConfig, sequence: int, pass_tokens: int, steps: int) -> dict[str, Any]:
    """Random conversations, enough for all steps of four passes each."""
    rng = random.Random(0)
    batch_tokens = 4 * pass_tokens
    rows, tokens = [], 0
    while tokens < batch_tokens * steps:
        length = rng.randint(sequence // 4, sequence)
        ids = [rng.randrange(10, config.vocab_size) for _ in range(length)]
        rows.append({"ids": ids, "weights": [float(place >= length // 2) for place in range(length)]})
        tokens += length
    mean = tokens / len(rows)
    return {
        "base": base,
        "training": rows,
        "held_out": [],
        "steps": steps,
        "batch_tokens": batch_tokens,
        "rows": max(1, round(pass_tokens / mean)),
        "accumulation": 4,
        "learning_rate": 1e-4,
        "seed": 0,
    }


def measure(shape: str, sequences: list[int], pass_tokens: int, steps: int, only: list[str]) -> dict[str, Any]:
    """All contenders with LoRA and QLoRA at each sequence length."""
    config = AutoConfig.for_model(**SHAPES[shape])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    peak = next((v for name, v in _PEAKS.items() if device == "cuda" and name in torch.cuda.get_device_name()), None)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        with torch.device(device):
            AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(base)
        if device == "cuda":
            torch.cuda.empty_cache()
        AutoTokenizer.from_pretrained(paths.ASSETS / "tiny-base").save_pretrained(base)
        for sequence in sequences:
            work = job(str(base), config, sequence, max(pass_tokens, sequence), steps)
            lengths = [len(row["ids"]) for row in work["training"]]
            # A token's share of attention grows with its own conversation's length.
            seen = sum(length**2 for length in lengths) / sum(lengths)
            for quantization in ("none", "nf4"):
                file = Path(folder) / "job.json"
                file.write_text(json.dumps(work | {"quantization": quantization}))
                for contender in only:
                    row = {"sequence": sequence, "quantization": quantization, "contender": contender}
                    rows.append(row | _numbers(contender, file, flops_per_token(config, seen), peak))
                    print(rows[-1], flush=True)
    return {"model_shape": shape, "peak_flops": peak, "formula": "4 N + 6 L d w FLOPs per token", "rows": rows}


def _numbers(contender: str, file: Path, flops: float, peak: float | None) -> dict[str, Any]:
    try:
        numbers: Numbers = once(contender, file)
    except SystemExit as failure:  # out of memory, as a rule: a result too
        return {"failed": str(failure).strip().splitlines()[-1]}
    used = flops * numbers["tokens_per_second"]
    return numbers | {"flops_per_second": used, "utilisation": None if peak is None else used / peak}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--model-shape", choices=SHAPES, required=True)
    parser.add_argument("--sequences", type=int, nargs="+", default=[2048, 4096])
    parser.add_argument("--pass-tokens", type=int, default=4096, help="tokens of a forward and backward pass")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", nargs="+", choices=_CONTENDERS, default=list(_CONTENDERS))
    arguments = parser.parse_args()
    numbers = measure(
        arguments.model_shape, arguments.sequences, arguments.pass_tokens, arguments.steps, arguments.only
    )
    write_report(arguments.json, "gpu_training", numbers)


if __name__ == "__main__":
    main()
