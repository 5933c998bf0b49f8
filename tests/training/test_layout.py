"""A step's conversations are laid out once each, within memory, with next to no padding."""

from __future__ import annotations

import random

import pytest

from tuneline.training.layout import Block, deal, lay_out

LENGTHS = [random.Random(1).randint(5, 300) for _ in range(200)]


def _tokens(micro_batch: tuple[Block, ...]) -> int:
    return sum(block.tokens for block in micro_batch)


@pytest.mark.parametrize("ragged", [True, False])
@pytest.mark.parametrize("limit", [300, 1000, 4096])
def test_every_conversation_is_laid_out_once_within_the_limit(ragged: bool, limit: int) -> None:
    cut = lay_out(range(200), LENGTHS, limit, ragged=ragged)
    assert sorted(i for batch in cut for block in batch for i in block.samples) == list(range(200))
    assert max(map(_tokens, cut)) <= limit
    assert all(LENGTHS[i] <= block.width for batch in cut for block in batch for i in block.samples)


def test_a_row_of_blocks_has_less_than_three_percent_padding() -> None:
    cut = lay_out(range(200), LENGTHS, 4096, ragged=True)
    assert sum(LENGTHS) / sum(map(_tokens, cut)) > 0.97


def test_grouped_by_length_wastes_less_than_a_tenth_and_makes_no_pass_for_a_single_short_one() -> None:
    cut = lay_out(range(200), LENGTHS, 4096, ragged=False)
    assert all(len(batch) == 1 for batch in cut)
    assert sum(LENGTHS) / sum(map(_tokens, cut)) > 0.9
    assert len(cut) < 20


def test_a_conversation_longer_than_a_micro_batch_stands_alone() -> None:
    cut = lay_out(range(3), [50, 4, 3], 10, ragged=True)
    assert cut[0] == (Block((0,), 50),)


def test_processes_get_as_many_passes_as_each_other_and_about_as_many_tokens() -> None:
    hands = deal(lay_out(range(200), LENGTHS, 4096, ragged=True, processes=3), 3)
    assert len({len(hand) for hand in hands}) == 1
    tokens = [sum(map(_tokens, hand)) for hand in hands]
    assert max(tokens) < 1.1 * min(tokens)


def test_a_process_without_work_gets_an_empty_micro_batch() -> None:
    assert deal([(Block((0,), 5),)], 2) == [[(Block((0,), 5),)], [()]]
