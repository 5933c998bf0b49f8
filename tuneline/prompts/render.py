"""Conversations to token ids: one function for what is asked and one for what is learnt.

Training, evaluation and the parity check all come through here, so a model never meets a prompt
that differs by a token from those it was trained on. Works with any tokenizer of transformers; it
is handed in, because the gateway uses this package without transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tuneline.errors import UserError
from tuneline.prompts.template import PromptTemplate

_GENERATION_BLOCK = re.compile(r"\{%-?\s*generation\b")


class Turn(Protocol):
    """One message of a conversation. ``weight`` is its share of the loss, if the assistant speaks it."""

    @property
    def role(self) -> str: ...  # noqa: D102 - a protocol's member

    @property
    def content(self) -> str: ...  # noqa: D102

    @property
    def weight(self) -> float: ...  # noqa: D102


class ChatTokenizer(Protocol):
    """What is used of transformers' ``PreTrainedTokenizerBase``."""

    eos_token_id: Any

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any: ...  # noqa: D102

    def get_chat_template(self, chat_template: str | None = None, tools: Any = None) -> str: ...  # noqa: D102

    def decode(self, token_ids: Any, **kwargs: Any) -> Any: ...  # noqa: D102


def render_prompt(
    tokenizer: ChatTokenizer,
    messages: Sequence[Turn],
    template: PromptTemplate,
    *,
    tools: list[dict[str, Any]] | None = None,
) -> list[int]:
    """Render what stands before an answer, up to and with the assistant's header.

    Args:
        tokenizer: the base model's.
        messages: the conversation, ending with the turn to be answered.
        template: what is put around it.
        tools: JSON schemas of callable tools.

    Returns:
        Token ids.

    Raises:
        UserError: there is no chat template, or it refuses the conversation.
    """
    return _prompt_ids(tokenizer, template.apply(_plain(messages)), template, tools)


def render_training(
    tokenizer: ChatTokenizer,
    messages: Sequence[Turn],
    template: PromptTemplate,
    weights: Sequence[float] | None = None,
    *,
    tools: list[dict[str, Any]] | None = None,
) -> tuple[list[int], list[float]]:
    """Render a whole conversation and say which of its tokens are learnt.

    Learnt are the assistant's turns, each with the token that ends it, or the model would never
    stop. Where they are, the template's own ``{% generation %}`` blocks say; a template without
    them is rendered up to every answer and the difference taken. In both cases each prompt must be
    a prefix of the whole conversation, token by token, as it will be asked in evaluation and serving.

    Args:
        tokenizer: the base model's.
        messages: the conversation with its answers. The template's examples are never learnt.
        template: what is put around it.
        weights: the loss weight of each message; their own ``weight`` unless given. Only the assistant's count.
        tools: JSON schemas of callable tools.

    Returns:
        Token ids and, equally long, the loss weight of each of them as a target.

    Raises:
        UserError: there is no chat template, it refuses the conversation, or it renders an answer's
            prompt otherwise once the answer follows.
    """
    if weights is None:
        weights = [message.weight for message in messages]
    turns = template.apply(_plain(messages))
    # The system message and the examples that the template adds are never learnt.
    wanted = [0.0] * (len(turns) - len(messages)) + [float(weight) for weight in weights]
    learnt = [number for number, turn in enumerate(turns) if turn["role"] == "assistant" and wanted[number] > 0]
    ids, generated = _conversation_ids(tokenizer, turns, template, tools)
    end_token = _last_special(tokenizer, ids)
    loss_weights = [0.0] * len(ids)
    for number in learnt:
        prompt = _prompt_ids(tokenizer, turns[:number], template, tools)
        start = _checked_prefix(prompt, ids, number, template)
        if generated is not None:
            start, end = _generated_span(generated, start, number, template)
        elif end_token is not None:
            end = ids.index(end_token, start) + 1
        else:
            so_far, _ = _conversation_ids(tokenizer, turns[: number + 1], template, tools)
            end = len(so_far)
        end = _end_of_turn(tokenizer, ids, start, end, template)
        loss_weights[start:end] = [wanted[number]] * (end - start)
    return ids, loss_weights


def _plain(messages: Sequence[Turn]) -> list[dict[str, Any]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _prompt_ids(
    tokenizer: ChatTokenizer, turns: list[dict[str, Any]], template: PromptTemplate, tools: list[dict[str, Any]] | None
) -> list[int]:
    return list(_render(tokenizer, turns, template, tools, add_generation_prompt=True)["input_ids"])


def _conversation_ids(
    tokenizer: ChatTokenizer, turns: list[dict[str, Any]], template: PromptTemplate, tools: list[dict[str, Any]] | None
) -> tuple[list[int], list[int] | None]:
    """A conversation with its answers: ids, and 1 for each that lies in a generation block if the template has any."""
    try:
        jinja = tokenizer.get_chat_template(template.chat_template, tools)
    except NotImplementedError:
        # mistral-common renders in code. For asking (the mode that can render prompts) it refuses a
        # conversation that ends with an answer, unless the answer is left open for us to close.
        open_ended = _render(tokenizer, turns, template, tools, continue_final_message=True)["input_ids"]
        return [*open_ended, tokenizer.eos_token_id], None
    except ValueError as error:
        raise _refused(turns, error) from error
    if not _GENERATION_BLOCK.search(jinja):
        return list(_render(tokenizer, turns, template, tools)["input_ids"]), None
    rendered = _render(tokenizer, turns, template, tools, return_assistant_tokens_mask=True)
    return list(rendered["input_ids"]), list(rendered["assistant_masks"])


def _render(
    tokenizer: ChatTokenizer,
    turns: list[dict[str, Any]],
    template: PromptTemplate,
    tools: list[dict[str, Any]] | None,
    **how: bool,
) -> Any:
    # Tokenizers of mistral-common know no Jinja templates and refuse the argument.
    own = {} if template.chat_template is None else {"chat_template": template.chat_template}
    try:
        # return_dict is the default in transformers 5 and was not in 4: say it.
        return tokenizer.apply_chat_template(turns, tools=tools, return_dict=True, **own, **how)
    except Exception as error:  # templates raise jinja2's errors, mistral-common its own, tokenizers ValueError
        raise _refused(turns, error) from error


def _refused(turns: Sequence[Mapping[str, Any]], error: Exception) -> UserError:
    roles = ", ".join(str(turn["role"]) for turn in turns)
    return UserError(
        f"The chat template refuses a conversation of the turns ({roles}): "
        f"{str(error).strip() or type(error).__name__}",
        hint="Change the data, or give a chat template of your own in prompt.chat_template.",
    )


def _checked_prefix(prompt: list[int], ids: list[int], number: int, template: PromptTemplate) -> int:
    """The prompt's length, once it is sure that the whole conversation begins with it."""
    if ids[: len(prompt)] == prompt and len(prompt) < len(ids):
        return len(prompt)
    pairs = enumerate(zip(prompt, ids, strict=False))
    same = next((index for index, (asked, learnt) in pairs if asked != learnt), min(len(prompt), len(ids)))
    raise UserError(
        f"The chat template of prompt {template.name!r} renders what stands before turn {number + 1} otherwise once "
        f"the answer follows: from token {same + 1} of {len(prompt)} on. The model would be asked what it never saw.",
        hint="Give a chat template (prompt.chat_template) whose header before an answer is the same with and without "
        "the answer and ends in a special token or a line break; or, if this is an earlier answer of a longer "
        "conversation, give it loss weight 0.",
    )


def _generated_span(generated: list[int], start: int, number: int, template: PromptTemplate) -> tuple[int, int]:
    """First and past-the-end token of the generation block at or after ``start``."""
    try:
        first = generated.index(1, start)
    except ValueError:
        raise UserError(
            f"The chat template of prompt {template.name!r} has no generation block around turn {number + 1}, "
            "so nothing of it would be learnt.",
            hint="Put {% generation %} … {% endgeneration %} around every answer and the token that ends it.",
        ) from None
    end = first
    while end < len(generated) and generated[end]:
        end += 1
    return first, end


def _end_of_turn(tokenizer: ChatTokenizer, ids: list[int], start: int, end: int, template: PromptTemplate) -> int:
    """Move the end of an answer to just behind the token that ends it.

    White space that a template puts behind that token is never generated, so it is not learnt. A
    generation block that closes too early is extended to the end-of-sequence token behind it.
    """
    last = end - 1
    while last > start and _is_blank(tokenizer, ids[last]):
        last -= 1
    if _is_special(tokenizer, ids[last]):
        return last + 1
    behind = end
    while behind < len(ids) and _is_blank(tokenizer, ids[behind]):
        behind += 1
    if behind < len(ids) and ids[behind] == tokenizer.eos_token_id:
        return behind + 1
    if template.stop:
        return end
    raise UserError(
        f"The chat template of prompt {template.name!r} ends an answer without a special token, "
        "so the model would never learn to stop.",
        hint="Let the template put the tokenizer's end token behind every answer (inside the generation block, if it "
        "has one), or name the strings that end an answer in prompt.stop.",
    )


def _last_special(tokenizer: ChatTokenizer, ids: list[int]) -> int | None:
    """The special token that a rendered conversation ends with, white space aside."""
    last = next((token for token in reversed(ids) if not _is_blank(tokenizer, token)), None)
    return last if last is not None and _is_special(tokenizer, last) else None


def _is_special(tokenizer: ChatTokenizer, token: int) -> bool:
    # all_special_ids lists the named ones only; decoding knows every one.
    return bool(tokenizer.decode([token])) and not tokenizer.decode([token], skip_special_tokens=True)


def _is_blank(tokenizer: ChatTokenizer, token: int) -> bool:
    return not str(tokenizer.decode([token])).strip()
