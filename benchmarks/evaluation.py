"""How fast an evaluation answers its questions, beside ZenML's gamesense example and beside itself with three models.

    python -m benchmarks.evaluation --json evaluation.json

The tiny base model in bfloat16, two adapters trained for the purpose, the questions of configs/tiny-next.yaml, greedy,
at most 64 tokens. In every round each way answers the same questions; the rounds alternate, medians count.

vLLM is measured with its start, which an evaluation pays for once however many models answer.

gamesense (steps/evaluate_model.py) gives all of its at most 50 questions to one ``generate`` and falls back to one
``generate`` per question, then even without a key-value cache. Both are here, the loop with its cache.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from benchmarks.report import write_report
from tuneline import paths
from tuneline.config import Config, load_config
from tuneline.data.synthetic import generate_records
from tuneline.evaluation.engines.engine import Engine, Request
from tuneline.evaluation.engines.transformers_engine import TransformersEngine, stop_ids
from tuneline.evaluation.engines.vllm_engine import VllmEngine
from tuneline.evaluation.report import Role
from tuneline.evaluation.subjects import AdapterSubject, switched_to, with_adapters
from tuneline.prompts.render import render_prompt
from tuneline.release.document import BaseRef
from tuneline.release.files import ADAPTER_FILES, fingerprint
from tuneline.training.base_model import load_base, load_tokenizer
from tuneline.training.job import TrainingJob
from tuneline.training.train import train

Ids = tuple[int, ...]
_ADAPTERS: dict[Role, str] = {"champion": "tiny.yaml", "candidate": "tiny-next.yaml"}
_GAMESENSE_BATCH = 50
# A base model that was never taught to stop writes three times as much as its adapters, which is not the pass's doing:
# with so many tokens for everybody, near the adapters' mean, the pass alone is compared.
_EQUAL = 24


@dataclass(frozen=True)
class Bench:
    """What is asked, and how.

    Attributes:
        model: the base model with both adapters.
        prompts: token ids of the questions.
        stop: token ids that end an answer.
        limit: longest answer, tokens.
        batch: questions at once for each subject.
    """

    model: PeftModel
    prompts: list[Ids]
    stop: Ids
    limit: int
    batch: int

    def engine(self, *roles: Role, tokens: int | None = None) -> list[Ids]:
        """Ours; the last role's answers. With ``tokens`` all of them have that many."""
        engine = TransformersEngine(
            self.model,
            pad_id=1,
            stop_ids=self.stop if tokens is None else (),
            max_new_tokens=tokens or self.limit,
            batch_size=self.batch,
        )
        return _last(engine, self.prompts, *roles)

    def generate(self, batch: int) -> list[Ids]:
        """The candidate's answers by transformers' ``generate``, so many questions at once, in the order given."""
        answers: list[Ids] = []
        with switched_to(self.model, "candidate"), torch.inference_mode():
            for begin in range(0, len(self.prompts), batch):
                prompts = self.prompts[begin : begin + batch]
                width = max(map(len, prompts))
                ids = torch.tensor([[1] * (width - len(prompt)) + list(prompt) for prompt in prompts])
                mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
                out = self.model.generate(
                    input_ids=ids.to(self.model.device),
                    attention_mask=mask.to(self.model.device),
                    do_sample=False,
                    max_new_tokens=self.limit,
                    eos_token_id=list(self.stop),
                    pad_token_id=1,
                )
                answers += [self._cut(row) for row in out[:, width:].tolist()]
        return answers

    def _cut(self, tokens: list[int]) -> Ids:
        end = next((place for place, token in enumerate(tokens) if token in self.stop), len(tokens) - 1)
        return tuple(tokens[: end + 1])


def trained(folder: Path, steps: int) -> list[AdapterSubject]:
    """Train champion and candidate briefly, so that their answers are as long as real ones."""
    subjects = []
    for role, name in _ADAPTERS.items():
        config = load_config(paths.CONFIGS / name, [f"training.max_steps={steps}"])
        source = config.data.sources[0]
        records = list(generate_records(tuple(source.tools), source.size, seed=source.seed))
        train(TrainingJob(records, config.model, config.training, config.prompt, folder / role))
        sha256 = fingerprint(folder / role, ADAPTER_FILES)
        subjects.append(AdapterSubject(role, folder / role, role, sha256))  # type: ignore[arg-type]
        print(f"{role} trained", flush=True)
    return subjects


def measure(rounds: int, items: int, steps: int) -> dict[str, Any]:
    """Answer ``items`` questions in each way, ``rounds`` times."""
    config = load_config(paths.CONFIGS / _ADAPTERS["candidate"])
    source = config.data.evaluation.sources[0]
    records = list(generate_records(tuple(source.tools), source.size, seed=source.seed, split="eval"))
    tokenizer, base = load_tokenizer(config.model), load_base(config.model, dtype=config.serving.dtype)
    chosen = [records[place * len(records) // items] for place in range(items)]
    prompts = [tuple(render_prompt(tokenizer, record.prompt, config.prompt)) for record in chosen]
    with tempfile.TemporaryDirectory() as folder:
        adapters = trained(Path(folder), steps)
        return _measured(adapters, base, tokenizer, prompts, config, rounds)


def _measured(
    adapters: list[AdapterSubject], base: Any, tokenizer: Any, prompts: list[Ids], config: Config, rounds: int
) -> dict[str, Any]:
    evaluation = config.evaluation
    vllm = VllmEngine(
        BaseRef(model=config.model.base),
        config.serving.engine(),
        {adapter.role: adapter.folder for adapter in adapters},
        max_new_tokens=evaluation.max_new_tokens,
        stop_ids=stop_ids(base.generation_config, tokenizer),
    )
    with with_adapters(base, adapters) as model:
        bench = Bench(
            model,
            prompts,
            stop_ids(base.generation_config, tokenizer),
            evaluation.max_new_tokens,
            evaluation.batch_size,
        )
        ways: dict[str, Callable[[], list[Ids]]] = {
            "generate_one_by_one": lambda: bench.generate(1),
            "generate_in_batches": lambda: bench.generate(_GAMESENSE_BATCH),
            "ours_candidate": lambda: bench.engine("candidate"),
            "ours_champion": lambda: bench.engine("champion"),
            "ours_base": lambda: bench.engine("base"),
            "ours_all_three": lambda: bench.engine("base", "champion", "candidate"),
            "vllm_candidate": lambda: _last(vllm, prompts, "candidate"),
            "vllm_all_three": lambda: _last(vllm, prompts, "base", "champion", "candidate"),
            "equal_candidate": lambda: bench.engine("candidate", tokens=_EQUAL),
            "equal_all_three": lambda: bench.engine("base", "champion", "candidate", tokens=_EQUAL),
        }
        for way in list(ways)[1:]:
            ways[way]()  # first calls are slower; vLLM's makes its caches
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        answers: dict[str, list[Ids]] = {}
        for number in range(rounds):
            for way, run in ways.items():
                began = time.perf_counter()
                answers[way] = run()
                seconds[way].append(time.perf_counter() - began)
            print(f"round {number + 1}/{rounds}: " + _sentence({way: s[-1:] for way, s in seconds.items()}), flush=True)
    return numbers(seconds, answers, len(prompts)) | {
        "rounds": rounds,
        "batch_size": evaluation.batch_size,
        "threads": torch.get_num_threads(),
    }


def _last(engine: Engine, prompts: list[Ids], *roles: Role) -> list[Ids]:
    """The last role's answers."""
    answers = engine.answer([Request(role, prompt) for role in roles for prompt in prompts])
    return [answer.ids for answer in answers[-len(prompts) :]]


def numbers(seconds: dict[str, list[float]], answers: dict[str, list[Ids]], items: int) -> dict[str, Any]:
    """Medians, the ratios that are promised, and whether the ways say the same."""
    median = {way: statistics.median(values) for way, values in seconds.items()}
    three = median["ours_all_three"]
    alone = [median[f"ours_{role}"] for role in ("base", "champion", "candidate")]
    return {
        "items": items,
        "seconds": {way: {"median": median[way], "all": values} for way, values in seconds.items()},
        "items_per_second": {way: items / value for way, value in median.items()},
        "times_one_by_one": median["generate_one_by_one"] / median["ours_candidate"],
        "times_in_batches": median["generate_in_batches"] / median["ours_candidate"],
        "three_models": {
            "to_candidate": three / median["ours_candidate"],
            "to_longest": three / max(alone),
            "to_one_after_another": three / sum(alone),
            "to_candidate_with_vllm": median["vllm_all_three"] / median["vllm_candidate"],
            "to_candidate_at_equal_length": median["equal_all_three"] / median["equal_candidate"],
        },
        "tokens_per_answer": {way: statistics.fmean(map(len, said)) for way, said in answers.items()},
        "same_answers": {
            way: _same(answers[way], answers["ours_candidate"])
            for way in ("generate_one_by_one", "generate_in_batches", "ours_all_three", "vllm_all_three")
        },
    }


def _same(one: Sequence[Ids], other: Sequence[Ids]) -> float:
    return statistics.fmean(a == b for a, b in zip(one, other, strict=True))


def _sentence(seconds: dict[str, list[float]]) -> str:
    return ", ".join(f"{way} {values[0]:.2f} s" for way, values in seconds.items())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the numbers are written")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default %(default)s)")
    parser.add_argument("--items", type=int, default=160, help="questions (default %(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="training steps of each adapter (default %(default)s)")
    options = parser.parse_args()
    found = measure(options.rounds, options.items, options.steps)
    write_report(options.json, "evaluation", found)
    three = found["three_models"]
    print(
        f"{found['items_per_second']['ours_candidate']:.1f} items/s: {found['times_one_by_one']:.1f} times one by one, "
        f"{found['times_in_batches']:.1f} times generate in batches; three models take {three['to_candidate']:.2f} "
        f"times the candidate alone ({three['to_candidate_at_equal_length']:.2f} times at equal length, "
        f"{three['to_candidate_with_vllm']:.2f} with vLLM and its start), "
        f"{three['to_longest']:.2f} times the slowest alone"
    )


if __name__ == "__main__":
    main()
