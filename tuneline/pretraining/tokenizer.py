"""The tiny base model's tokenizer: byte-level BPE that spells a name the same way wherever it stands.

Digits are single tokens, and a word never swallows the space before it: copying a name from
``in web-1?`` into ``pods/web-1`` is then the same tokens again, which is what induction heads do.
"""

from __future__ import annotations

from itertools import islice

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tuneline.data.synthetic.families import TOOLS
from tuneline.data.synthetic.generate import generate_records
from tuneline.pretraining.corpus import text_documents

EOS, PAD, USER, ASSISTANT, SYSTEM, END = "<|eos|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"

# `{% generation %}` marks what the loss is taken on; the end-of-turn token lies inside it, or the
# model would never learn to stop.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}"
    "<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(vocab_size: int, *, documents: int, seed: int) -> PreTrainedTokenizerBase:
    """Train the tokenizer on the corpus and on questions' wordings (training names only)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d|[A-Za-z]+|[^A-Za-z\d]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS, PAD, USER, ASSISTANT, SYSTEM, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = list(islice(text_documents(seed), documents))
    texts += [r.messages[0].content for r in generate_records(TOOLS, documents // 4, seed=seed)]
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        bos_token=EOS,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
