"""A judged candidate, as the steps before the card hand it over: realistic where it is read, small elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tuneline.card import ModelCard, write_card
from tuneline.config import Config, load_config
from tuneline.data.dataset import DatasetSummary
from tuneline.data.records import Message
from tuneline.evaluation.report import (
    Decoding,
    EvaluationItem,
    EvaluationReport,
    ItemResult,
    Preferences,
    Role,
    SubjectResult,
    SuiteReport,
)
from tuneline.gate.verdict import Comparison, Outcome, Rule, Verdict
from tuneline.paths import CONFIGS
from tuneline.training.adapter import LoraAdapter

RUN = {
    "steps": 190,
    "final_loss": 0.0162,
    "samples": 3990,
    "too_long": 10,
    "tokens": 200_000,
    "supervised_tokens": 54_321,
    "packed": True,
    "trainable_parameters": 123_456,
    "seconds": 41.7,
    "tokens_per_second": 4_800.0,
    "peak_memory_gib": 1.25,
    "device": "NVIDIA L4",
    "software": {"tuneline": "0.1.0", "torch": "2.13.0", "transformers": "5.19.0", "peft": "0.21.0"},
}


def adapter_in(folder: Path) -> LoraAdapter:
    """An adapter's files without an adapter in them."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"r": 16, "lora_alpha": 32, "lora_dropout": 0, "use_rslora": False, "target_modules": ["v_proj", "q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)))
    (folder / "training.json").write_text(json.dumps(RUN))
    (folder / "curve.json").write_text(json.dumps([{"step": 1, "loss": 2.0}, {"step": 190, "loss": 0.1}]))
    return LoraAdapter(folder)


def whole_model_in(folder: Path) -> LoraAdapter:
    """A whole model's files without a model in them, and the adapter beside it."""
    adapter_in(folder)
    (folder / "merged").mkdir()
    (folder / "merged" / "config.json").write_text('{"model_type": "llama"}')
    (folder / "merged" / "model.safetensors").write_bytes(bytes(range(256)) * 8)
    return LoraAdapter(folder)


def suite(name: str = "heldout", *, cut_off: int = 0, failed: int = 0, **changed: Any) -> SuiteReport:
    """320 questions; base 10, champion 80 and candidate 95 of 100 points, one metric more in tokens."""
    points: dict[Role, float] = {"base": 0.1, "champion": 0.8, "candidate": 0.95}

    def result(role: Role, n: int) -> ItemResult:
        return ItemResult(
            id=f"i{n}",
            completion="kubectl get pods",
            scores={"exact_match": float(n < round(320 * points[role])), "length": 12.0},
            prompt_tokens=20,
            completion_tokens=12,
            finished=role != "candidate" or n >= cut_off,
            error="refused" if role == "candidate" and n >= 320 - failed else None,
        )

    given: dict[str, Any] = {
        "name": name,
        "primary": "exact_match",
        "metrics": ("length", "exact_match"),
        "items": tuple(
            EvaluationItem(id=f"i{n}", source="git/log", messages=(Message(role="user", content="?"),))
            for n in range(320)
        ),
        "subjects": tuple(
            SubjectResult(
                role=role,
                version={"base": None, "champion": "3", "candidate": "candidate"}[role],
                results=tuple(result(role, n) for n in range(320)),
            )
            for role in points
        ),
    }
    return SuiteReport(**(given | changed))


def report(*suites: SuiteReport, **changed: Any) -> EvaluationReport:
    """A report; without suites that of ``suite()``, a guard and a judge."""
    judged = suite(
        "judged",
        kind="judge",
        role="report",
        primary="preference",
        metrics=("preference",),
        preferences=(Preferences(opponent="champion", values=(1.0, 0.0, math.nan, 0.5), agreement=0.75),),
        note="the judge was asked in both orders",
    )
    return EvaluationReport(
        base_model="tiny",
        decoding=Decoding(max_new_tokens=64, batch_size=8),
        suites=suites or (suite(), suite("general", role="guard", kind="questions"), judged),
        **changed,
    )


def verdict(outcome: Outcome = "PASS", **changed: Any) -> Verdict:
    """A verdict of one target against both opponents."""

    def against(opponent: Role, version: str | None, difference: float) -> Comparison:
        return Comparison(
            opponent=opponent,
            opponent_version=version,
            items=320,
            clusters=16,
            candidate_mean=0.95,
            opponent_mean=0.95 - difference,
            difference=difference,
            low=difference - 0.03,
            high=difference + 0.02,
            percentile_low=difference - 0.02,
            percentile_high=difference + 0.02,
            wins=60,
            losses=12,
            ties=248,
            luck=0.001,
            p_value=0.001,
            detectable=0.0321,
            needed_items=None,
            outcome=outcome,
            sentence="It is better.",
        )

    rule = Rule(
        suite="heldout",
        role="target",
        metric="exact_match",
        threshold=0.0,
        items=320,
        comparisons=(against("base", None, 0.85), against("champion", "3", 0.15)),
        confidence=0.975,
        outcome=outcome,
        sentence="It improves.",
    )
    given: dict[str, Any] = {
        "outcome": outcome,
        "sentence": "The candidate is proven better.",
        "rules": (rule,),
        "confidence": 0.95,
        "resamples": 10_000,
        "seed": 0,
        "min_items": 50,
        "targets": "all",
        "power": 0.8,
    }
    return Verdict(**(given | changed))


def config(name: str = "tiny.yaml", *overrides: str) -> Config:
    """A shipped config."""
    return load_config(CONFIGS / name, overrides)


def card(folder: Path, given: Config | None = None, **changed: Any) -> ModelCard:
    """A whole card; ``sources`` are the training set's counts."""
    sources = changed.pop("sources", {"kubectl/get": 2500, "git/log": 1500})
    return write_card(
        given or config(),
        adapter_in(folder / "adapter"),
        DatasetSummary(records=sum(sources.values()), quarantined=7, sources=sources, fingerprint="d" * 64),
        DatasetSummary(records=320, quarantined=0, sources={"git/log": 320}, fingerprint="e" * 64),
        changed.pop("report", None) or report(),
        changed.pop("verdict", None) or verdict(),
        base_sha256="b" * 64,
        training_key="k" * 64,
    )
