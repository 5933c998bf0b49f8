"""A run's optimizer steps are a function of lengths, seed and size, whoever asks for them."""

from __future__ import annotations

import random
from dataclasses import replace

from tuneline.training.batches import Plan, Steps
from tuneline.training.packing import Sample

LENGTHS = tuple(random.Random(2).randint(5, 200) for _ in range(300))
PLAN = Plan(LENGTHS, batch_tokens=2000, micro_batch_tokens=1000, steps=40, seed=0, packed=True)


def test_an_epoch_holds_every_conversation_once() -> None:
    for epoch in (0, 1):
        begin = epoch * PLAN.steps_per_epoch
        seen = [i for step in range(begin, begin + PLAN.steps_per_epoch) for i in PLAN.samples(step)]
        assert sorted(seen) == list(range(300))


def test_epochs_and_seeds_differ_in_their_order() -> None:
    assert PLAN.samples(0) != PLAN.samples(PLAN.steps_per_epoch)
    assert PLAN.samples(0) != replace(PLAN, seed=1).samples(0)


def test_steps_have_about_the_same_number_of_tokens() -> None:
    tokens = [sum(LENGTHS[i] for i in PLAN.samples(step)) for step in range(PLAN.steps_per_epoch)]
    assert max(tokens) - min(tokens) <= 2 * max(LENGTHS)


def test_a_step_mixes_lengths_as_the_data_does() -> None:
    mean = sum(LENGTHS) / len(LENGTHS)
    for step in range(PLAN.steps_per_epoch):
        lengths = [LENGTHS[i] for i in PLAN.samples(step)]
        assert 0.6 * mean < sum(lengths) / len(lengths) < 1.6 * mean


def test_a_smaller_micro_batch_and_more_processes_change_no_step() -> None:
    smaller = replace(PLAN, micro_batch_tokens=250)
    for step in range(5):
        assert smaller.samples(step) == PLAN.samples(step)
        for plan, processes in ((smaller, 1), (PLAN, 3)):
            hands = plan.micro_batches(step, processes)
            dealt = [i for hand in hands for batch in hand for block in batch for i in block.samples]
            assert sorted(dealt) == sorted(PLAN.samples(step))


def test_more_steps_than_conversations_are_not_planned() -> None:
    tiny = Plan((1000, 3, 3), batch_tokens=100, micro_batch_tokens=100, steps=9, seed=0, packed=True)
    assert tiny.steps_per_epoch == 3
    assert all(len(tiny.samples(step)) == 1 for step in range(9))


def test_the_dataset_gives_each_process_its_own_share_of_a_step() -> None:
    samples = [Sample([7] * length, [1.0] * length) for length in LENGTHS]
    shares = [Steps(samples, PLAN, 0, process=i, processes=2)[3] for i in range(2)]
    assert len(shares[0]) == len(shares[1])
    useful = sum(float((batch["loss_weights"] > 0).sum()) for share in shares for batch in share)
    chosen = PLAN.samples(3)
    assert useful == sum(LENGTHS[i] - 1 for i in chosen)  # a conversation's first token is predicted by nothing
