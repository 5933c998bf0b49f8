"""The card as Markdown, with the front matter that the Hugging Face hub reads.

The front matter's fields: https://huggingface.co/docs/hub/model-cards. Names, questions and licences come from data
and configs, so all of them are text here and never markup.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from tuneline.card.document import ModelCard, SuiteFacts
from tuneline.card.sections import Block, Code, Items, Table, Text, sections
from tuneline.evaluation.report import metric_label

_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")
_LINE_START = re.compile(r"^([#>]|[-+=](?=\s|$|[-+=])|\d+[.)](?=\s|$))")
_ENTITY = re.compile(r"&(?=#?\w+;)")


def to_markdown(card: ModelCard) -> str:
    """Write the card as a README.md."""
    parts = [f"---\n{front_matter(card)}---", f"# {escape(card.name)}"]
    for section in sections(card):
        parts += [f"## {section.title}", *(_block(block) for block in section.blocks)]
    return "\n\n".join(parts) + "\n"


def front_matter(card: ModelCard) -> str:
    """The YAML at the top. A base model that is a folder has no place on the hub, so it is not named."""
    whole = card.adapter.merged_sha256 is not None
    fields: dict[str, Any] = {
        "license": card.license or "unknown",
        "library_name": "transformers" if whole else "peft",
        "pipeline_tag": "text-generation",
        "tags": [*([] if whole else ["lora"]), "text-generation", "tuneline"],
    }
    if card.base.is_hub:
        fields |= {"base_model": card.base.name, "base_model_relation": "finetune" if whole else "adapter"}
    if card.words.language:
        fields["language"] = list(card.words.language)
    datasets = list(dict.fromkeys(source.name for source in card.sources if source.kind == "hub"))
    if datasets:
        fields["datasets"] = datasets
    results = [result for suite in card.suites if (result := _result(suite))]
    if results:
        fields["model-index"] = [{"name": card.name, "results": results}]
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=120)


def _result(suite: SuiteFacts) -> dict[str, Any] | None:
    metrics = [
        {"type": metric, "name": metric_label(metric), "value": round(means["candidate"], 6)}
        for metric, means in suite.scores.items()
        if math.isfinite(means.get("candidate", math.nan))
    ]
    if not metrics:
        return None
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": f"{suite.name} ({suite.items} questions)", "type": suite.kind},
        "metrics": metrics,
    }


def escape(text: str) -> str:
    """A text on one line that Markdown shows as it is, in a paragraph and in a table's cell."""
    line = " ".join(text.split())
    line = _ENTITY.sub("&amp;", line).replace("<", "&lt;")
    line = _MARKUP.sub(lambda found: f"\\{found[0]}", line)
    return _LINE_START.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", line)


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return escape(block.text)
    if isinstance(block, Items):
        return "\n".join(f"- {escape(item)}" for item in block.items)
    if isinstance(block, Table):
        rule = ["---:" if index in block.numbers else "---" for index in range(len(block.header))]
        rows = [[escape(cell) for cell in row] for row in (block.header, *block.rows)]
        return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])
    return _code(block)


def _code(block: Code) -> str:
    longest = max((len(run) for run in re.findall(r"`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{block.language}\n{block.text}\n{fence}"
