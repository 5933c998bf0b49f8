"""Profiles of the engine: a kind of machine in one word."""

from __future__ import annotations

from tuneline.config.serving import PROFILES, ServingConfig


def test_a_profile_sets_what_no_key_says_and_a_release_holds_concrete_values() -> None:
    engine = ServingConfig(profile="gpu-24gb", max_num_seqs=7).engine()
    assert (engine.max_num_seqs, engine.max_num_batched_tokens, engine.gpu_memory_utilization) == (7, 4096, 0.9)
    assert "profile" not in engine.model_dump()


def test_every_profile_is_a_config_that_holds() -> None:
    for name, numbers in PROFILES.items():
        assert ServingConfig(profile=name).model_dump().items() >= numbers.items()


def test_without_a_profile_nothing_changes() -> None:
    assert ServingConfig().engine() == ServingConfig(profile=None).engine()
    assert ServingConfig().engine().max_num_seqs == 64
