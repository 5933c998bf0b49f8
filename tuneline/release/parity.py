"""Parity: is the adapter in the engine the one that was evaluated?

Golden prompts with their per-token log-probabilities are recorded when a version is evaluated. The
served adapter must give the same numbers, to within the rounding of two implementations in bf16,
before it gets traffic. That catches a wrong file, a wrong base model, a wrong dtype and an adapter
that the engine silently ignores, all with one comparison. For a whole model, whose adapter does nothing
by design, the base model's numbers are those of the one it was trained from: what is caught is an engine
that has that one's weights.

What is compared is the mean over a prompt's tokens. Measured on the tiny base model with an adapter
of 60 steps: two exact kernels in bf16 differ by up to 0.92 nats on a single improbable token (in
float32 by 8e-7), but by no more than 0.05 per token in any prompt; LoRA weights that are 5 % off
give 0.2, another version of the same assistant 2.5, the base model 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict

# Nats per token. A version that, evaluated, moved no golden prompt by more than this might as well not be there.
SILENT = 1e-3


class GoldenPrompt(BaseModel):
    """What evaluation recorded for one prompt.

    Attributes:
        id: the evaluation item.
        prompt_ids: token ids of the rendered prompt.
        completion_ids: token ids of the version's own greedy answer.
        logprobs: log-probability of each completion token under the version, nats.
        base_logprobs: the same under the base model alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    base_logprobs: tuple[float, ...]


class PromptParity(BaseModel):
    """One golden prompt, evaluated and served.

    Attributes:
        difference: between evaluated and served, mean over the completion's tokens, nats.
        largest: the same of the one token that differs most.
        from_base: between served and the base model, mean over the tokens, nats.
        moved: between evaluated and the base model, mean over the tokens, nats.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    tokens: int
    difference: float
    largest: float
    from_base: float
    moved: float


class ParityReport(BaseModel):
    """The comparison of all golden prompts.

    Attributes:
        model_version: the version that was checked.
        tolerance: largest difference of a prompt that is allowed, nats per token.
        prompts: one entry per golden prompt.
        whole_model: the version is a whole model and no adapter over the base model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_version: str
    tolerance: float
    prompts: tuple[PromptParity, ...]
    whole_model: bool = False

    @property
    def largest_difference(self) -> float:
        """Between evaluated and served, of the prompt that differs most, nats per token."""
        return max(prompt.difference for prompt in self.prompts)

    @property
    def largest_token_difference(self) -> float:
        """Between evaluated and served, of the one token that differs most, nats."""
        return max(prompt.largest for prompt in self.prompts)

    @property
    def does_nothing(self) -> bool:
        """Whether the version, as it was evaluated, is the base model."""
        return max(prompt.moved for prompt in self.prompts) <= SILENT

    @property
    def is_ignored(self) -> bool:
        """Whether what is served is nearer to the base model than to what was evaluated.

        The tolerance alone would not see it of an adapter that moves less than that.
        """
        return sum(prompt.from_base for prompt in self.prompts) <= sum(prompt.difference for prompt in self.prompts)

    @property
    def passed(self) -> bool:
        """Whether what is served is what was evaluated."""
        return self.largest_difference <= self.tolerance and not self.does_nothing and not self.is_ignored

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.does_nothing:
            what = "its weights are the base model's" if self.whole_model else "its adapter does nothing"
            return f"version {self.model_version} answers exactly like the base model: {what}"
        numbers = (
            f"log-probabilities of {len(self.prompts)} golden prompts differ by at most {self.largest_difference:.4f} "
            f"nats per token, {self.tolerance} allowed (largest of a single token: {self.largest_token_difference:.3f})"
        )
        if self.is_ignored:
            what = "the engine has other weights" if self.whole_model else "the engine ignores the adapter"
            return f"version {self.model_version} as served answers like the base model: {what}; {numbers}"
        verb = "reproduces" if self.passed else "does not reproduce"
        return f"version {self.model_version} as served {verb} its evaluation: {numbers}"


def check_parity(
    golden: Sequence[GoldenPrompt],
    served_logprobs: Callable[[Sequence[int], Sequence[int]], Sequence[float]],
    *,
    model_version: str,
    tolerance: float,
    whole_model: bool = False,
) -> ParityReport:
    """Compare golden log-probabilities with those of the served adapter.

    Args:
        golden: at least one prompt.
        served_logprobs: given prompt and completion token ids, asks the endpoint for the
            log-probability of each completion token.

        model_version: the version.
        tolerance: largest difference of a prompt that is allowed, nats per token.
        whole_model: it is a whole model.

    Raises:
        ValueError: there are no golden prompts, or the endpoint returned another number of tokens.
    """
    if not golden:
        raise ValueError("no golden prompts were recorded when this version was evaluated")
    results = []
    for prompt in golden:
        served = served_logprobs(prompt.prompt_ids, prompt.completion_ids)
        differences = [abs(a - b) for a, b in zip(served, prompt.logprobs, strict=True)]
        results.append(
            PromptParity(
                id=prompt.id,
                tokens=len(differences),
                difference=fmean(differences),
                largest=max(differences),
                from_base=fmean(abs(a - b) for a, b in zip(served, prompt.base_logprobs, strict=True)),
                moved=fmean(abs(a - b) for a, b in zip(prompt.logprobs, prompt.base_logprobs, strict=True)),
            )
        )
    return ParityReport(
        model_version=model_version, tolerance=tolerance, prompts=tuple(results), whole_model=whole_model
    )
