"""When there is nothing to train: all that a judged version depends on is as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from controlplane.lineage import training_key
from tuneline.config import Config, load_config

FILES = {
    "prompts.jsonl": '{"prompt": "a", "contains": "b"}\n',
    "mine.py": "import evaluate\n",
    "rows.json": "[]",
    "tasks/one.yaml": "task: one\n",
}


def _config(folder: Path) -> Config:
    (folder / "my.yaml").write_text(f"""\
name: assistant
model: {{base: some/model}}
data:
  sources: [{{type: synthetic, tools: [git], size: 100}}]
  evaluation: {{holdout: 60}}
training: {{max_steps: 10}}
evaluation:
  metrics: [exact_match, {folder}/mine.py]
  suites:
    - {{type: prompts, name: smoke, path: {folder}/prompts.jsonl, role: target}}
    - {{type: questions, name: general, sources: [{{type: file, path: {folder}/rows.json}}]}}
    - {{type: lm_eval, name: tasks, tasks: [one], include_path: {folder}/tasks}}
""")
    return load_config(folder / "my.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / name).write_text(text)
    return tmp_path / "a"


@pytest.mark.parametrize("name", FILES)
def test_a_suites_file_counts_by_content(folder: Path, name: str) -> None:
    before = training_key(_config(folder))
    assert training_key(_config(folder)) == before
    with (folder / name).open("a") as file:
        file.write(" ")
    assert training_key(_config(folder)) != before


def test_a_moved_checkout_has_the_same_key(folder: Path) -> None:
    before = training_key(_config(folder))
    shutil.copytree(folder, folder.parent / "b")
    assert training_key(_config(folder.parent / "b")) == before
