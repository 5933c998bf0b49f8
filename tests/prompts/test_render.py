"""What is learnt is the answer with the token that ends it, behind exactly the prompt that will be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tuneline.data.records import Message
from tuneline.errors import UserError
from tuneline.pretraining.tokenizer import train_tokenizer
from tuneline.prompts.render import render_prompt, render_training
from tuneline.prompts.template import PromptTemplate

PLAIN = PromptTemplate()
SPECIAL = ["<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]

# The essential shapes of templates that models ship with.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}"
    "{% else %}{% set rest = messages %}{% set system = false %}{% endif %}"
    "{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system %}"
    "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# Reasoning of earlier answers is left out, the last answer always has its (empty) block of it.
QWEN_3 = (
    "{% for message in messages %}{% if message['role'] == 'assistant' and loop.last %}"
    "{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + message['content'] + '<|im_end|>\n' }}{% else %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Mistral puts the system message into the last question, wherever that is.
MISTRAL_V3 = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}"
    "{% else %}{% set rest = messages %}{% endif %}"
    "{% set last = rest | map(attribute='role') | list %}{{ bos_token }}"
    "{% for message in rest %}{% if message['role'] == 'user' %}"
    "{% if system is defined and 'user' not in last[loop.index:] %}"
    "{{ '[INST] ' + system + '\n\n' + message['content'] }}"
    "{% else %}{{ '[INST] ' + message['content'] }}{% endif %}{{ '[/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)


def _tokenizer(chat_template: str | None, *, eos: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["list the pods of a namespace", "kubectl get pods", "user assistant system"] * 9, trainer
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token=eos,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=chat_template,
    )


def _turns(*contents: str, weights: dict[int, float] | None = None) -> list[Message]:
    roles = ("user", "assistant")
    return [
        Message(role=roles[n % 2], content=content, weight=(weights or {}).get(n, 1.0))  # type: ignore[arg-type]
        for n, content in enumerate(contents)
    ]


def _learnt(tokenizer: Any, ids: list[int], weights: list[float]) -> list[str]:
    """The texts of the runs of tokens that have a weight."""
    runs: list[list[int]] = [[]]
    for token, weight in zip(ids, weights, strict=True):
        if weight:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


def _system(text: str) -> Message:
    return Message(role="system", content=text)


LONG = _turns("list the pods", "kubectl get pods", "and all", "kubectl get pods -A")


@pytest.fixture(scope="module")
def tiny() -> Any:
    return train_tokenizer(600, documents=200, seed=1)


def test_the_tiny_models_template_learns_answers_and_their_end(tiny: Any) -> None:
    ids, weights = render_training(tiny, LONG, PLAIN)
    assert tiny.decode(ids) == (
        "<|user|>list the pods<|end|><|assistant|>kubectl get pods<|end|>"
        "<|user|>and all<|end|><|assistant|>kubectl get pods -A<|end|>"
    )
    assert _learnt(tiny, ids, weights) == ["kubectl get pods<|end|>", "kubectl get pods -A<|end|>"]


@pytest.mark.parametrize(
    ("template", "eos", "learnt"),
    [
        (CHATML, "<|im_end|>", ["kubectl get pods<|im_end|>", "kubectl get pods -A<|im_end|>"]),
        # A base model's tokenizer, whose end-of-sequence token is not the template's end of a turn.
        (CHATML, "<|endoftext|>", ["kubectl get pods<|im_end|>", "kubectl get pods -A<|im_end|>"]),
        (LLAMA_2, "</s>", [" kubectl get pods </s>", " kubectl get pods -A </s>"]),
        (
            QWEN_3,
            "<|im_end|>",
            ["kubectl get pods<|im_end|>", "<think>\n\n</think>\n\nkubectl get pods -A<|im_end|>"],
        ),
        (MISTRAL_V3, "</s>", [" kubectl get pods</s>", " kubectl get pods -A</s>"]),
    ],
    ids=["chatml", "chatml-base", "llama-2", "qwen-3", "mistral-v3"],
)
def test_templates_without_generation_blocks_learn_answers_and_their_end(
    template: str, eos: str, learnt: list[str]
) -> None:
    tokenizer = _tokenizer(template, eos=eos)
    ids, weights = render_training(tokenizer, LONG, PLAIN)
    assert _learnt(tokenizer, ids, weights) == learnt


@pytest.mark.parametrize("template", [CHATML, LLAMA_2, QWEN_3, MISTRAL_V3])
def test_what_is_learnt_begins_with_what_will_be_asked(template: str) -> None:
    tokenizer = _tokenizer(template, eos="</s>")
    messages = [_system("be brief"), *LONG[:2]]
    ids, weights = render_training(tokenizer, messages, PLAIN)
    prompt = render_prompt(tokenizer, messages[:-1], PLAIN)
    assert ids[: len(prompt)] == prompt
    assert weights.index(1.0) == len(prompt)


def test_mistrals_own_tokenizer_learns_answers_and_their_end() -> None:
    mistral_common = pytest.importorskip("mistral_common", reason="a development requirement")
    from transformers.tokenization_mistral_common import MistralCommonBackend

    (path,) = Path(mistral_common.__file__).parent.glob("data/tekken_240911.json")
    tokenizer = MistralCommonBackend(tokenizer_path=str(path))
    ids, weights = render_training(tokenizer, LONG, PLAIN)
    assert _learnt(tokenizer, ids, weights) == ["kubectl get pods</s>", "kubectl get pods -A</s>"]
    prompt = render_prompt(tokenizer, LONG[:3], PLAIN)
    assert ids[: len(prompt)] == prompt


def test_a_turns_weight_becomes_the_weight_of_its_tokens_and_0_leaves_it_out(tiny: Any) -> None:
    messages = _turns("a", "one", "b", "two", "c", "three", weights={1: 0.0, 3: 0.5})
    ids, weights = render_training(tiny, messages, PLAIN)
    assert _learnt(tiny, ids, weights) == ["two<|end|>", "three<|end|>"]
    assert sorted(set(weights)) == [0.0, 0.5, 1.0]
    _, given = render_training(tiny, messages, PLAIN, [0, 2, 0, 0, 0, 0])
    assert set(given) == {0.0, 2.0}


def test_the_templates_system_message_and_examples_surround_but_are_not_learnt(tiny: Any) -> None:
    template = PromptTemplate(
        system="be brief", few_shot=({"role": "user", "content": "x"}, {"role": "assistant", "content": "y"})
    )
    ids, weights = render_training(tiny, LONG[:2], template)
    assert tiny.decode(ids).startswith("<|system|>be brief<|end|><|user|>x<|end|><|assistant|>y<|end|><|user|>list")
    assert _learnt(tiny, ids, weights) == ["kubectl get pods<|end|>"]
    assert ids[: weights.index(1.0)] == render_prompt(tiny, LONG[:1], template)


def test_the_prompts_own_chat_template_replaces_the_tokenizers(tiny: Any) -> None:
    template = PromptTemplate(chat_template="{% for m in messages %}[{{ m['content'] }}]<|end|>{% endfor %}")
    assert tiny.decode(render_prompt(tiny, LONG[:1], template)) == "[list the pods]<|end|>"


def test_a_generation_block_that_closes_too_early_is_extended_to_the_end_token(tiny: Any) -> None:
    template = PromptTemplate(
        chat_template="{% for m in messages %}{% if m['role'] == 'assistant' %}<|assistant|>"
        "{% generation %}{{ m['content'] }}{% endgeneration %}<|end|>"
        "{% else %}<|user|>{{ m['content'] }}<|end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    ids, weights = render_training(tiny, LONG, template)
    assert _learnt(tiny, ids, weights) == ["kubectl get pods<|end|>", "kubectl get pods -A<|end|>"]


def test_a_generation_block_around_something_else_is_refused(tiny: Any) -> None:
    template = PromptTemplate(
        chat_template="{% for m in messages %}{% if m['role'] == 'user' %}{% generation %}{{ m['content'] }}"
        "{% endgeneration %}<|assistant|>{% else %}{{ m['content'] }}<|end|>{% endif %}{% endfor %}"
    )
    with pytest.raises(UserError, match="no generation block around turn 2"):
        render_training(tiny, LONG[:2], template)


def test_a_header_that_melts_into_the_answer_is_refused() -> None:
    # "Answer: " + "kubectl" is tokenised as "Answer:" + " kubectl".
    tokenizer = _tokenizer(
        "{% for m in messages %}{{ m['content'] if m['role'] == 'user' else 'list: ' + m['content'] + eos_token }}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'list: ' }}{% endif %}",
        eos="</s>",
    )
    with pytest.raises(UserError, match="asked what it never saw") as caught:
        render_training(tokenizer, _turns("Q\n", "pods of a namespace"), PLAIN)
    assert "prompt.chat_template" in caught.value.hint


def test_an_earlier_answer_whose_prompt_changes_later_is_refused_unless_it_is_not_learnt() -> None:
    tokenizer = _tokenizer(MISTRAL_V3, eos="</s>")
    with pytest.raises(UserError, match="before turn 3 otherwise"):
        render_training(tokenizer, [_system("be brief"), *LONG], PLAIN)
    ids, weights = render_training(tokenizer, [_system("be brief"), *LONG], PLAIN, [0, 0, 0, 0, 1])
    assert _learnt(tokenizer, ids, weights) == [" kubectl get pods -A</s>"]


def test_an_answer_without_an_end_is_refused_unless_the_prompt_names_stop_strings() -> None:
    chat_template = (
        "{% for m in messages %}{{ m['role'] + '\n' + m['content'] + '\n\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant\n' }}{% endif %}"
    )
    tokenizer = _tokenizer(chat_template, eos="</s>")
    with pytest.raises(UserError, match="never learn to stop"):
        render_training(tokenizer, LONG[:2], PLAIN)
    ids, weights = render_training(tokenizer, LONG[:2], PromptTemplate(stop=("\n\n",)))
    assert _learnt(tokenizer, ids, weights) == ["kubectl get pods\n\n"]


def test_a_conversation_that_the_template_refuses_says_so() -> None:
    tokenizer = _tokenizer(LLAMA_2, eos="</s>")
    twice = [Message(role="user", content="a"), Message(role="user", content="b")]
    with pytest.raises(UserError, match=r"turns \(user, user\): .*must alternate"):
        render_prompt(tokenizer, twice, PLAIN)


def test_a_tokenizer_without_a_chat_template_says_so() -> None:
    tokenizer = _tokenizer(None, eos="</s>")
    for render in (render_prompt, render_training):
        with pytest.raises(UserError, match="chat template") as caught:
            render(tokenizer, LONG, PLAIN)
        assert "prompt.chat_template" in caught.value.hint
