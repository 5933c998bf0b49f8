"""A small config that is right, as lines that a test can break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tuneline.config import Config, ConfigError, load_config

RIGHT = """\
name: assistant
model:
  base: some/model
data:
  sources:
    - {type: synthetic, tools: [kubectl], size: 100}
  evaluation:
    sources:
      - {type: synthetic, tools: [kubectl], size: 60, split: eval}
training:
  max_steps: 10
"""

Write = Callable[..., Path]
Load = Callable[..., Config]
Fail = Callable[..., ConfigError]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a config (``RIGHT`` with one text replaced by another) into the current directory."""
    monkeypatch.chdir(tmp_path)

    def written(old: str = "", new: str = "", *, text: str | None = None, name: str = "my.yaml") -> Path:
        assert text is not None or old in RIGHT
        Path(name).write_text(RIGHT.replace(old, new, 1) if text is None else text)
        return Path(name)

    return written


@pytest.fixture
def load(write: Write) -> Load:
    """Load a config written by ``write``."""
    return lambda old="", new="", overrides=(): load_config(write(old, new), overrides)


@pytest.fixture
def fail(write: Write) -> Fail:
    """Load a config that must be refused."""

    def failed(old: str = "", new: str = "", overrides: Sequence[str] = (), *, text: str | None = None) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            load_config(write(old, new, text=text), overrides)
        return caught.value

    return failed
