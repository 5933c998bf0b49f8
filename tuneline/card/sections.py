"""What a card says, in order, as paragraphs, lists, tables and code: written once, rendered twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tuneline.card.document import ModelCard, SuiteFacts
from tuneline.card.numbers import UNKNOWN, difference, score
from tuneline.config.metrics import metric_spec
from tuneline.evaluation.report import Role, metric_label
from tuneline.prompts.template import PromptTemplate
from tuneline.training.adapter import MERGED

_MOST_SOURCES = 12


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table; the columns in ``numbers`` are set flush right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Code:
    """Text that is shown as it is."""

    text: str
    language: str = ""


Block = Text | Items | Table | Code


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


def lead(card: ModelCard) -> str:
    """The first sentence: what this is."""
    run = card.adapter.run
    what = f"A LoRA adapter of rank {card.adapter.rank} for {card.base.name}"
    if card.adapter.merged_sha256 is not None:
        what = f"A whole model made from {card.base.name}"
    return (
        f"{what}, trained on {card.training_data.records:,} "
        f"conversations in {run.get('steps', 0):,} steps. The gate's verdict is {card.verdict.outcome}."
    )


def sections(card: ModelCard) -> tuple[Section, ...]:
    """All of the card."""
    words = card.words
    described = (Text(words.description),) if words.description else ()
    contact = (Text(f"Contact: {words.contact}"),) if words.contact else ()
    return (
        Section("What it is", (*described, Text(lead(card)), _facts(card), *contact)),
        Section("Intended use", (Text(words.intended_use or _NO_INTENDED_USE),)),
        Section("Out of scope", (Text(words.out_of_scope or _NO_SCOPE),)),
        Section("Training data", tuple(_data(card))),
        Section("Training", (_training(card),)),
        Section("Evaluation", tuple(_evaluation(card))),
        Section("Limits", (Items(card.limits),)),
        Section("How to use it", tuple(_use(card))),
        Section("Provenance", (_provenance(card),)),
    )


_NO_INTENDED_USE = "Nobody has stated it. What was measured are questions like those of its training data."
_NO_SCOPE = (
    "Nobody has stated it. Whatever the suites below do not ask is unknown, and nothing that it says is checked."
)


def _facts(card: ModelCard) -> Table:
    base = f"{card.base.name} at {card.base.revision}" if card.base.revision else card.base.name
    return Table(
        ("", ""),
        (
            ("base model", base),
            ("base model's licence", card.base.license or UNKNOWN),
            ("model's licence" if card.adapter.merged_sha256 else "adapter's licence", card.license or UNKNOWN),
            ("languages", ", ".join(card.words.language) or UNKNOWN),
            ("prompt template", card.prompt.name),
        ),
    )


def _data(card: ModelCard) -> Iterator[Block]:
    yield Table(
        ("source", "kind", "licence", "records"),
        tuple(
            (
                source.name,
                source.kind,
                source.license or ("made by tuneline" if source.kind == "synthetic" else UNKNOWN),
                UNKNOWN if source.records is None else f"{source.records:,}",
            )
            for source in card.sources
        ),
        frozenset({3}),
    )
    data = card.training_data
    shown = list(data.sources.items())[:_MOST_SOURCES]
    rest = sum(data.sources.values()) - sum(count for _, count in shown)
    others = (f"{rest:,} others",) if rest else ()
    listed = ", ".join([*(f"{source} ({count:,})" for source, count in shown), *others])
    yield Text(f"{data.records:,} records, {data.quarantined:,} more in quarantine. By category: {listed}.")
    yield Text(
        f"Held out for the evaluation: {card.evaluation_data.records:,} records, whose questions are not among them."
    )


def _training(card: ModelCard) -> Table:
    run, training = card.adapter.run, card.training
    method = "LoRA" if card.base.quantization == "none" else f"QLoRA ({card.base.quantization})"
    planned = f"epochs: {training.epochs:g}" if training.epochs is not None else f"{training.max_steps:,} steps"
    rows = [
        ("method", f"{method} on {', '.join(card.adapter.target_modules)}"),
        ("rank, alpha, dropout", f"{training.r}, {training.lora_alpha}, {training.lora_dropout:g}"),
        ("learning rate", f"{training.learning_rate:g}, {training.scheduler}, warm-up {training.warmup_ratio:.0%}"),
        ("planned", f"{planned}, {training.batch_tokens:,} tokens a step"),
        ("longest conversation", f"{training.max_length:,} tokens"),
        ("precision of the base model", card.base.dtype),
        ("seed", f"{training.seed}"),
    ]
    measured = {
        "steps": ("steps done", "{:,}"),
        "samples": ("conversations", "{:,}"),
        "tokens": ("tokens in the training set", "{:,}"),
        "supervised_tokens": ("of them with a loss", "{:,}"),
        "final_loss": ("final loss", "{:.3f} nats per token"),
        "best_validation_loss": ("best loss on records kept back", "{:.3f} nats per token"),
        "best_step": ("at step", "{:,}"),
        "stopped": ("ended early", "{}"),
        "trainable_parameters": ("trained parameters", "{:,}"),
        "seconds": ("time", "{:,.0f} s"),
        "device": ("device", "{}"),
        "peak_memory_gib": ("peak memory", "{:.1f} GiB"),
    }
    rows += [(label, form.format(run[key])) for key, (label, form) in measured.items() if run.get(key) is not None]
    return Table(("", ""), tuple(rows))


def _evaluation(card: ModelCard) -> Iterator[Block]:
    yield Text(f"The gate says {card.verdict.outcome}. {card.verdict.sentence}")
    roles: list[Role] = [role for role in ("base", "champion", "candidate") if role in card.subjects]
    yield Table(
        ("suite", "role", "questions", "metric", *(card.subjects[role] for role in roles)),
        tuple(
            (
                suite.name,
                suite.role,
                f"{suite.items:,}",
                metric_label(metric) + _unit(metric),
                *(score(metric, means.get(role)) for role in roles),
            )
            for suite in card.suites
            for metric, means in suite.scores.items()
        ),
        frozenset({2, *range(4, 4 + len(roles))}),
    )
    if any("preference" in suite.scores for suite in card.suites):
        yield Text("Under an opponent, a judge's preference is how far the candidate was preferred to it: -100 to 100.")
    differences = tuple(_differences(card))
    if differences:
        header = ("suite", "against", "metric", "difference", "interval", "better / worse / same", "outcome")
        yield Table(header, differences, frozenset({3, 4, 5}))
        yield Text("Differences are turned so that more is better; answers are compared question by question.")
    notes = tuple(_note(suite) for suite in card.suites if suite.note)
    if notes:
        yield Items(notes)
    yield Text(f"Answers are greedy, made by {card.answered_by}, at most {card.max_new_tokens:,} tokens long.")


def _unit(metric: str) -> str:
    return "" if metric_spec(metric).higher_is_better else " (less is better)"


def _note(suite: SuiteFacts) -> str:
    return f"{suite.name}: {suite.note}"


def _differences(card: ModelCard) -> Iterator[tuple[str, ...]]:
    for rule in card.verdict.rules:
        for against in rule.comparisons:
            yield (
                rule.suite,
                against.label,
                metric_label(rule.metric),
                difference(rule.metric, against.difference),
                f"{difference(rule.metric, against.low)} to {difference(rule.metric, against.high)} "
                f"({100 * rule.confidence:g}%)",
                f"{against.wins:,} / {against.losses:,} / {against.ties:,}",
                against.outcome,
            )


def _use(card: ModelCard) -> Iterator[Block]:
    yield Text(
        f"The endpoint serves it under the model name {card.name}, with the prompt template put around questions."
    )
    yield Code(
        "from openai import OpenAI\n\n"
        "client = OpenAI()  # reads OPENAI_BASE_URL and OPENAI_API_KEY\n"
        "answer = client.chat.completions.create(\n"
        f'    model={card.name!r}, messages=[{{"role": "user", "content": "…"}}]\n'
        ")",
        "python",
    )
    yield Text("Without it, from this folder:")
    yield _loading(card)
    prompt = _prompt(card.prompt)
    if prompt:
        yield Text(f"Around every question stands the prompt template {card.prompt.name}:")
        yield Code(prompt)
    else:
        yield Text(f"The prompt template {card.prompt.name} adds nothing to a question but the chat format.")


def _loading(card: ModelCard) -> Code:
    if card.adapter.merged_sha256 is not None:
        return Code(
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f"model = AutoModelForCausalLM.from_pretrained({MERGED!r})\n"
            f"tokenizer = AutoTokenizer.from_pretrained({MERGED!r})",
            "python",
        )
    base = card.base.name if card.base.is_hub else f"path/to/{card.base.name}"
    revision = f", revision={card.base.revision!r}" if card.base.revision else ""
    return Code(
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"base = AutoModelForCausalLM.from_pretrained({base!r}{revision})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({base!r}{revision})\n"
        'model = PeftModel.from_pretrained(base, ".")',
        "python",
    )


def _prompt(prompt: PromptTemplate) -> str:
    turns = [f"system: {prompt.system}"] if prompt.system else []
    turns += [f"{turn.get('role', '')}: {turn.get('content', '')}" for turn in prompt.few_shot]
    turns += [f"chat template: {prompt.chat_template}"] if prompt.chat_template else []
    turns += [f"stop: {text!r}" for text in prompt.stop]
    return "\n".join(turns)


def _provenance(card: ModelCard) -> Table:
    software = card.adapter.run.get("software", {})
    return Table(
        ("", ""),
        (
            ("training key", card.training_key),
            ("adapter (sha256)", card.adapter.sha256),
            *((("whole model (sha256)", card.adapter.merged_sha256),) if card.adapter.merged_sha256 else ()),
            ("base model", card.base.sha256),
            ("training data (sha256)", card.training_data.fingerprint),
            ("held-out data (sha256)", card.evaluation_data.fingerprint),
            ("trained with", ", ".join(f"{name} {version}" for name, version in software.items()) or UNKNOWN),
        ),
    )
