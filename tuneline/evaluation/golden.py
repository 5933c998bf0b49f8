"""Golden log-probabilities: what the evaluated model gives to the tokens of an answer, token by token.

The served adapter has to give the same before it gets traffic (``tuneline.release.parity``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from tuneline.errors import TunelineError
from tuneline.evaluation.engines.engine import Answer, Engine, Request
from tuneline.evaluation.sample import evenly
from tuneline.evaluation.subjects import switched_to
from tuneline.release.parity import GoldenPrompt


@torch.inference_mode()
def token_logprobs(
    model: PreTrainedModel | PeftModel, prompt_ids: Sequence[int], completion_ids: Sequence[int]
) -> list[float]:
    """Log-probability of each completion token, given all tokens before it (teacher forcing).

    One sequence at a time and without padding, so that nothing but the model decides the numbers.
    Logits are turned into probabilities in float32, as the engine does.

    Args:
        model: with the adapter that is asked switched on.
        prompt_ids: at least one token.
        completion_ids: at least one token.

    Returns:
        Natural logarithms, one per completion token.

    Raises:
        TunelineError: the model gave a number that is none.
    """
    if not prompt_ids or not completion_ids:
        raise ValueError(
            f"{len(prompt_ids)} prompt and {len(completion_ids)} completion tokens: both need at least one"
        )
    ids = torch.tensor([[*prompt_ids, *completion_ids]], device=model.device)
    # The last token predicts nothing, hence one more logit than completion tokens and the last one dropped.
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=len(completion_ids) + 1).logits[0, :-1].float()
    targets = ids[0, len(prompt_ids) :]
    values: list[float] = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0].tolist()
    if not all(math.isfinite(value) for value in values):
        raise TunelineError(
            "The model gave log-probabilities that are no numbers: its weights or the adapter are broken."
        )
    return values


@dataclass(frozen=True)
class OwnAnswer:
    """What a golden prompt will hold of the candidate.

    Attributes:
        id: the evaluation item.
        prompt_ids: token ids of the rendered prompt.
        completion_ids: token ids of its own greedy answer.
        logprobs: its log-probability of each of them, nats.
    """

    id: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


def own_answers(
    model: PreTrainedModel | PeftModel,
    reference: Engine | None,
    ids: Sequence[str],
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Answer],
    wanted: int,
) -> tuple[OwnAnswer, ...]:
    """Log-probabilities of the candidate's own greedy answers, of items spread evenly over a suite.

    Args:
        model: with the candidate's adapter loaded.
        reference: transformers, if another engine gave the answers: then the golden answers are its own.
        ids: of the items.
        prompts: token ids of the candidate's prompts, per item.
        answers: the candidate's, per item.
        wanted: how many to record, at most all.

    Raises:
        TunelineError: none could be recorded, or the model gave a number that is none.
    """
    places = evenly(len(ids), wanted)
    own = [answers[place] for place in places]
    if reference is not None:
        own = reference.answer([Request("candidate", tuple(prompts[place])) for place in places])
    if not own:
        raise TunelineError("No golden prompt could be recorded, so the served model could not be checked.")
    with switched_to(model, "candidate"):
        return tuple(
            OwnAnswer(
                id=ids[place],
                prompt_ids=tuple(prompts[place]),
                completion_ids=answer.ids,
                logprobs=tuple(token_logprobs(model, prompts[place], answer.ids)),
            )
            for place, answer in zip(places, own, strict=True)
        )


def golden_prompts(model: PreTrainedModel | PeftModel, own: Sequence[OwnAnswer]) -> tuple[GoldenPrompt, ...]:
    """The candidate's answers with what the base model makes of them: a served version that gives the base model's
    numbers is not the one that was evaluated.

    Args:
        model: the base model; of a whole model, the one that it was trained from.
        own: the candidate's answers.

    Raises:
        TunelineError: the model gave a number that is none.
    """
    with switched_to(model, "base"):
        return tuple(
            GoldenPrompt(
                id=answer.id,
                prompt_ids=answer.prompt_ids,
                completion_ids=answer.completion_ids,
                logprobs=answer.logprobs,
                base_logprobs=tuple(token_logprobs(model, answer.prompt_ids, answer.completion_ids)),
            )
            for answer in own
        )
