"""Every config in docs/methods.md is taken as it stands there."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.config.conftest import RIGHT, Write
from tuneline import paths
from tuneline.config import load_config

BLOCKS = re.findall(r"```yaml\n(.*?)```", (paths.REPO / "docs" / "methods.md").read_text(), re.DOTALL)


def test_the_page_has_its_blocks() -> None:
    assert len(BLOCKS) >= 6


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_the_page_loads(write: Write, block: str) -> None:
    config = load_config(write(text=yaml.safe_dump({**yaml.safe_load(RIGHT), **yaml.safe_load(block)})), ())
    for section, keys in yaml.safe_load(block).items():
        for key, value in keys.items():
            taken = getattr(getattr(config, section), key)
            assert taken == (tuple(value) if isinstance(value, list) else type(taken)(value))
