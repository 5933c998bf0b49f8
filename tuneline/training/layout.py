"""How the conversations of an optimizer step are laid out for the forward passes: rectangles with next to no padding.

All layers but attention look at one token at a time, so a micro-batch can be a single row of tokens with no padding at
all. Attention needs conversations of one length side by side. A micro-batch is therefore a row of *blocks*, each of
some conversations of nearly the same length padded to the longest of them: attention takes block by block, causal
and without any mask, everything else takes the row. Where a model cannot be told its blocks, a micro-batch is one
block, which is what is known as grouping by length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# What one more block costs, in tokens: a call of the attention kernel in each layer beside what a token takes in it
# (about 0.1 ms and 12 us for the tiny base model on CPU, 50 us and 3 us for 7B on a GPU).
BLOCK_COST = 12
# What one more forward and backward pass costs, in tokens, where a block has to be a micro-batch of its own.
PASS_COST = 200


@dataclass(frozen=True)
class Block:
    """Conversations side by side, each padded at its end.

    Attributes:
        samples: their indices, longest first.
        width: tokens of the longest.
    """

    samples: tuple[int, ...]
    width: int

    @property
    def tokens(self) -> int:
        """Tokens with padding."""
        return len(self.samples) * self.width


MicroBatch = tuple[Block, ...]


def lay_out(
    samples: Sequence[int], lengths: Sequence[int], micro_batch_tokens: int, *, ragged: bool, processes: int = 1
) -> list[MicroBatch]:
    """Cut one optimizer step into micro-batches.

    Args:
        samples: indices of the step's conversations.
        lengths: tokens of every conversation of the set.
        micro_batch_tokens: most tokens of a micro-batch, padding counted; a longer conversation stands alone.
        ragged: whether a micro-batch may have several blocks.
        processes: that share the step; the number of micro-batches is a multiple of it where there are enough
            conversations.

    Returns:
        Micro-batches, those of the longest conversations first.
    """
    order = sorted(samples, key=lambda i: (-lengths[i], i))
    if not ragged:
        return [(block,) for block in _blocks(order, lengths, PASS_COST, micro_batch_tokens)]
    total = sum(lengths[i] for i in order)
    count = processes * math.ceil(total / micro_batch_tokens / processes)
    while True:
        cut = [_blocks(run, lengths, BLOCK_COST, total) for run in _runs(order, lengths, count)]
        if count >= len(order) or all(sum(block.tokens for block in run) <= micro_batch_tokens for run in cut):
            return [tuple(run) for run in cut if run]
        count += processes * max(1, count // (16 * processes))


def deal(micro_batches: Sequence[MicroBatch], processes: int) -> list[list[MicroBatch]]:
    """Share a step among processes so that each has as many passes as the others, and about as many tokens.

    Returns:
        For each process its micro-batches; an empty one fills up where there are too few.
    """
    size = math.ceil(len(micro_batches) / processes)
    hands: list[list[MicroBatch]] = [[] for _ in range(processes)]
    loads = [0] * processes
    for micro_batch in sorted(micro_batches, key=lambda each: -sum(block.tokens for block in each)):
        hand = min((i for i in range(processes) if len(hands[i]) < size), key=lambda i: (loads[i], i))
        hands[hand].append(micro_batch)
        loads[hand] += sum(block.tokens for block in micro_batch)
    return [hand + [()] * (size - len(hand)) for hand in hands]


def _runs(order: Sequence[int], lengths: Sequence[int], count: int) -> list[list[int]]:
    """Cut a list into neighbouring runs of about the same number of tokens."""
    total = sum(lengths[i] for i in order)
    runs: list[list[int]] = [[] for _ in range(count)]
    before = 0
    for index in order:
        middle = before + lengths[index] / 2
        runs[min(count - 1, int(count * middle / total))].append(index)
        before += lengths[index]
    return runs


def _blocks(order: Sequence[int], lengths: Sequence[int], cost: int, most: int) -> list[Block]:
    """The cheapest blocks of neighbours: padding and ``cost`` for each block, by dynamic programming.

    Args:
        order: indices, longest first.
        lengths: tokens of every conversation of the set.
        cost: of a block, in tokens.
        most: tokens that a block of more than one conversation may have.
    """
    best, begins = [0.0], [0]
    for end in range(1, len(order) + 1):
        cheapest, at, useful = math.inf, end - 1, 0
        for begin in range(end - 1, -1, -1):
            rows, width = end - begin, lengths[order[begin]]
            useful += width
            padding = rows * width - useful
            # Blocks of one conversation have no padding: from here on they would be the better choice.
            if rows > 1 and (padding > cost * rows or rows * width > most):
                break
            if best[begin] + padding + cost < cheapest:
                cheapest, at = best[begin] + padding + cost, begin
        best.append(cheapest)
        begins.append(at)
    blocks, end = [], len(order)
    while end > 0:
        chosen = order[begins[end] : end]
        blocks.append(Block(tuple(chosen), lengths[chosen[0]]))
        end = begins[end]
    return blocks[::-1]
