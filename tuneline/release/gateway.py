"""What a gateway admits, keeps and records. Changing any of it needs no new engine: the next release applies it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class GatewayArguments(BaseModel):
    """The gateway's limits. They hold for every key; a key's own limits per minute go first.

    Attributes:
        max_body_bytes: larger bodies are refused (413).
        max_prompt_chars: characters of all messages, or of all prompts, together; the engine counts tokens itself.
        max_tokens: the longest answer a client may ask for, and what it gets that names none; None leaves both to the
            engine, which ends at its context length.
        max_n: answers to one question.
        max_stop: stop texts in one request.
        max_logprobs: alternatives per token.
        max_running: questions the engine has at once; None is a quarter more than ``engine.max_num_seqs``, so that its
            batch is always full.
        max_waiting: questions that wait for a place; one more is refused at once (503).
        wait_seconds: how long one may wait (503).
        requests_per_minute: of a key that has no limit of its own; None is no limit.
        tokens_per_minute: prompt and answer, likewise.
        hang_seconds: an engine that was asked and has sent nothing for this long is ended and started again.
        drain_seconds: what answers under way get when their engine is replaced.
        cache_mib: memory for answers to deterministic questions (temperature 0) that were asked before; 0 keeps none.
        prompt_log_share: share of conversations that are written to ``prompts.jsonl``, redacted; 0 writes none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(default=4 * 2**20, ge=1024)
    max_prompt_chars: int = Field(default=500_000, gt=0)
    max_tokens: int | None = Field(default=None, gt=0)
    max_n: int = Field(default=4, gt=0)
    max_stop: int = Field(default=8, gt=0)
    max_logprobs: int = Field(default=20, ge=0)
    max_running: int | None = Field(default=None, gt=0)
    max_waiting: int = Field(default=256, ge=0)
    wait_seconds: float = Field(default=30.0, gt=0)
    requests_per_minute: int | None = Field(default=None, gt=0)
    tokens_per_minute: int | None = Field(default=None, gt=0)
    hang_seconds: float = Field(default=60.0, gt=0)
    drain_seconds: float = Field(default=30.0, ge=0)
    cache_mib: int = Field(default=0, ge=0)
    prompt_log_share: float = Field(default=0.0, ge=0, le=1)
