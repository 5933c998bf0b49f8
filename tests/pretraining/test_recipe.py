"""The recipe of the tiny base model, run for a few steps."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tuneline import paths
from tuneline.config import load_pretraining_config
from tuneline.data.synthetic import generate_records
from tuneline.errors import TunelineError
from tuneline.pretraining.corpus import text_documents, token_rows
from tuneline.pretraining.recipe import install, make_model, make_tokenizer


def test_the_loss_falls_within_a_few_steps_and_the_folder_loads(tmp_path: Path) -> None:
    config = load_pretraining_config(
        paths.CONFIGS / "pretrain-tiny.yaml",
        ["training.steps=40", "training.warmup_steps=5", "training.rows=8", "training.repeat_share=0"],
    )
    make_tokenizer(config, tmp_path / "tokenizer")
    result = make_model(config, tmp_path / "tokenizer", tmp_path / "model", lambda step: None)
    assert np.mean(result.losses[:3]) > 6
    assert np.mean(result.losses[-3:]) < np.mean(result.losses[:3]) - 1.0
    install(tmp_path / "model", tmp_path / "installed")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "installed").num_parameters() == result.parameters
    assert f"{result.copied:.0%} of 100" in (tmp_path / "installed" / "README.md").read_text()


def test_a_folder_that_does_not_load_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "model").write_text("kept")
    with pytest.raises(TunelineError, match=r"broken does not load as a model"):
        install(tmp_path / "broken", tmp_path / "good")
    assert (tmp_path / "good" / "model").read_text() == "kept"


def test_rows_repeat_a_stretch_as_often_as_asked() -> None:
    tokenizer = AutoTokenizer.from_pretrained(paths.ASSETS / "tiny-base")
    batch = next(token_rows(tokenizer, row_tokens=64, rows=8, repeat_share=1.0, seed=1))
    assert batch.shape == (8, 64)
    for row in batch:
        assert any((row[period:] == row[:-period]).all() for period in range(4, 32))


def test_the_corpus_holds_no_question_and_no_chat_token() -> None:
    corpus = "".join(islice(text_documents(1), 5000))
    assert "<|user|>" not in corpus and "<|assistant|>" not in corpus
    for record in generate_records(("kubectl", "git"), 200, seed=1):
        assert record.messages[0].content not in corpus


def test_the_shipped_base_model_is_small_and_complete() -> None:
    folder = paths.ASSETS / "tiny-base"
    files = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"} <= files
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= 10 * 2**20


def test_the_shipped_tokenizer_spells_a_name_the_same_wherever_it_stands() -> None:
    tokenizer = AutoTokenizer.from_pretrained(paths.ASSETS / "tiny-base")
    alone = tokenizer("zorvek-17", add_special_tokens=False)["input_ids"]
    for around in ("in zorvek-17?", "pods/zorvek-17 now", "{zorvek-17}"):
        ids = tokenizer(around, add_special_tokens=False)["input_ids"]
        assert any(ids[i : i + len(alone)] == alone for i in range(len(ids))), around
