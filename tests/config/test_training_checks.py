"""What cannot be trained or served so is refused when the config is read, and says what can."""

from __future__ import annotations

import pytest

from tests.config.conftest import Fail, Load

Path = tuple[str | int, ...]


@pytest.mark.parametrize(
    ("overrides", "path", "said", "way_out"),
    [
        (["use_dora=true"], ("use_dora",), "cannot serve DoRA", "export: merged"),
        (["modules_to_save=[lm_head]"], ("modules_to_save",), "trained in full", "export: merged"),
        (["target_modules=[q_proj, lm_head]"], ("target_modules", 1), "inside the blocks", "export: merged"),
        (["target_modules=[q_norm]"], ("target_modules", 0), "no linear layer", "modules_to_save: [q_norm]"),
        (["target_modules=[]"], ("target_modules",), "empty list", "all-linear"),
        (["r=9", "init_lora_weights=pissa"], ("r",), "PiSSA makes 18", "serving.max_lora_rank: 18"),
        (["r=300", "init_lora_weights=pissa"], ("r",), "up to 16", "at most 256, or export: merged"),
        (["init_lora_weights=loftq"], ("init_lora_weights",), "4-bit", "model.quantization: nf4"),
        (["method=full", "export=adapter"], ("export",), "the whole model", "merged"),
        (["method=full", "use_dora=true"], ("use_dora",), "no adapter", "method: lora"),
        (["method=full", "r=8"], ("r",), "is 8", "method: lora"),
        (["method=full", "loraplus_lr_ratio=16"], ("loraplus_lr_ratio",), "no adapter", "method: lora"),
        (
            ["export=merged", "distributed={processes: 2, strategy: fsdp}"],
            ("distributed", "strategy"),
            "no process with the whole model",
            "export --merged",
        ),
        (
            ["export=merged", "target_modules=[lm_head]", "init_lora_weights=pissa"],
            ("target_modules", 0),
            "no start",
            "all-linear",
        ),
    ],
)
def test_what_the_engine_would_refuse_is_refused_with_the_way_out(
    fail: Fail, overrides: list[str], path: Path, said: str, way_out: str
) -> None:
    told = {problem.path: problem for problem in fail(overrides=[f"training.{text}" for text in overrides]).problems}
    assert ("training", *path) in told
    problem = told["training", *path]
    assert said in problem.what
    assert way_out in problem.allowed


@pytest.mark.parametrize(
    ("overrides", "path", "way_out"),
    [
        (["training.method=full", "model.quantization=nf4"], ("model", "quantization"), "method: lora"),
        (
            ["training.init_lora_weights=pissa", "model.quantization=nf4"],
            ("training", "init_lora_weights"),
            "loftq with nf4",
        ),
        (
            ["training.init_lora_weights=loftq", "model.quantization=nf4"],
            ("training", "init_lora_weights"),
            "serving.quantization: bitsandbytes",
        ),
        (
            ["training.init_lora_weights=loftq", "model.quantization=nf4", "training.use_dora=true"],
            ("training", "init_lora_weights"),
            "one of the two",
        ),
    ],
)
def test_what_rounded_weights_cannot_do_is_refused(fail: Fail, overrides: list[str], path: Path, way_out: str) -> None:
    problems = fail(overrides=overrides).problems
    assert any(problem.path == path and way_out in problem.allowed for problem in problems)


@pytest.mark.parametrize(
    "overrides",
    [
        ["use_dora=true", "export=merged"],
        ["modules_to_save=[embed_tokens, norm]", "export=merged"],
        ["target_modules=[q_proj, lm_head]", "export=merged"],
        ["r=64", "export=merged"],
        ["r=8", "init_lora_weights=pissa"],
        ["use_rslora=true", "loraplus_lr_ratio=16", "init_lora_weights=gaussian"],
    ],
)
def test_what_can_be_served_is_taken(load: Load, overrides: list[str]) -> None:
    assert load(overrides=[f"training.{text}" for text in overrides])


def test_loftq_is_taken_where_the_engine_rounds_as_training_did(load: Load) -> None:
    loftq = ["training.init_lora_weights=loftq", "model.quantization=nf4"]
    assert load(overrides=[*loftq, "serving.quantization=bitsandbytes"])
    assert load(overrides=[*loftq, "training.export=merged"])


def test_all_weights_trained_are_exported_as_a_whole_model_without_saying_so(load: Load) -> None:
    assert load(overrides=["training.method=full"]).training.export == "merged"
    assert load().training.export == "adapter"
