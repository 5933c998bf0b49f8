"""The card as it is read: front matter, sections, and texts that stay texts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.card.cards import card, config, report, suite, verdict, whole_model_in
from tuneline.card import ModelCard, to_markdown
from tuneline.card.markdown import escape
from tuneline.card.page import card_page

AWKWARD = "a | b\n# c <script>alert(1)</script> *d* [e](f) `g` \\ | --- |"
HEADINGS = [
    "What it is",
    "Intended use",
    "Out of scope",
    "Training data",
    "Training",
    "Evaluation",
    "Limits",
    "How to use it",
    "Provenance",
]


def front_matter(made: ModelCard) -> dict[str, Any]:
    _, above, _ = to_markdown(made).split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(above)
    return found


def part(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def columns(row: str) -> int:
    return len(re.findall(r"(?<!\\)\|", row)) - 1


def test_the_front_matter_is_what_the_hub_reads(tmp_path: Path) -> None:
    given = config("llama-2-7b-lora-24gb.yaml", "card.language=[en, de]", "card.license=cc-by-nc-4.0")
    found = front_matter(card(tmp_path, given, sources={"tatsu-lab/alpaca": 20000}))
    assert (found["base_model"], found["library_name"]) == ("meta-llama/Llama-2-7b-chat-hf", "peft")
    assert (found["license"], found["datasets"]) == ("cc-by-nc-4.0", ["tatsu-lab/alpaca"])
    assert found["language"] == ["en", "de"]
    assert "lora" in found["tags"]
    (index,) = found["model-index"]
    assert [result["dataset"]["name"] for result in index["results"]] == [
        "heldout (320 questions)",
        "general (320 questions)",
    ]
    assert index["results"][0]["metrics"][0] == {"type": "exact_match", "name": "exact match", "value": 0.95}


def test_a_base_model_that_is_a_folder_is_no_page_of_the_hub(tmp_path: Path) -> None:
    found = front_matter(card(tmp_path))
    assert "base_model" not in found
    assert "datasets" not in found
    assert "from_pretrained('path/to/tiny-base')" in to_markdown(card(tmp_path))
    assert found["license"] == "apache-2.0"


def test_a_whole_model_is_called_one_and_loaded_from_its_own_folder(tmp_path: Path) -> None:
    adapter = whole_model_in(tmp_path / "adapter")
    made = card(tmp_path, config("qwen3-0.6b-lora-8gb.yaml"))
    assert made.adapter.merged_sha256 == adapter.merged_sha256
    found, text = front_matter(made), to_markdown(made)
    assert (found["library_name"], found["base_model_relation"]) == ("transformers", "finetune")
    assert "lora" not in found["tags"]
    assert "A whole model made from Qwen/Qwen3-0.6B" in part(text, "What it is")
    assert "from_pretrained('merged')" in part(text, "How to use it")
    assert "PeftModel" not in text
    assert str(adapter.merged_sha256) in part(text, "Provenance")


def test_an_unknown_licence_is_said_to_be_unknown(tmp_path: Path) -> None:
    assert front_matter(card(tmp_path, config("tiny.yaml", "model.license=null")))["license"] == "unknown"


def test_every_section_is_there_in_order_and_says_its_numbers(tmp_path: Path) -> None:
    made = card(tmp_path)
    text = to_markdown(made)
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == HEADINGS
    assert "without a GPU" in part(text, "Intended use")
    assert "| kubectl, helm, docker, git | synthetic | made by tuneline | 4,000 |" in part(text, "Training data")
    assert "4,000 records, 7 more in quarantine" in part(text, "Training data")
    for said in ("LoRA on q_proj, v_proj", "16, 32, 0", "0.002, cosine", "NVIDIA L4", "42 s", "54,321", "1.2 GiB"):
        assert said in part(text, "Training")
    evaluation = part(text, "Evaluation")
    assert "The gate says PASS. The candidate is proven better." in evaluation
    assert "| heldout | target | 320 | exact match | 10.0 | 80.0 | 95.0 |" in evaluation
    assert "| answer length (less is better) | 12 tokens | 12 tokens | 12 tokens |" in evaluation
    assert (
        "| heldout | the champion (version 3) | exact match | +15.0 | +12.0 to +17.0 (97.5%) | 60 / 12 / 248 | PASS |"
        in evaluation
    )
    assert "| judged | report | 320 | preference of the judge | – | 50.0 | – |" in evaluation  # noqa: RUF001
    assert "- judged: the judge was asked in both orders" in evaluation
    assert "model='devops-assistant'" in part(text, "How to use it")
    assert "PeftModel.from_pretrained" in part(text, "How to use it")
    for limit in made.limits:
        assert f"- {escape(limit)}" in part(text, "Limits")


def test_the_prompt_template_is_shown_whole_whatever_is_in_it(tmp_path: Path) -> None:
    made = card(tmp_path, config("tiny.yaml", "prompt.system='Use ``` for | code'", "prompt.stop=[END]"))
    assert "````\nsystem: Use ``` for | code\nstop: 'END'\n````" in to_markdown(made)


def test_without_a_champion_or_words_of_ones_own_nothing_is_made_up(tmp_path: Path) -> None:
    alone = suite(subjects=tuple(s for s in suite().subjects if s.role != "champion"))
    text = to_markdown(card(tmp_path, config("alpaca-file.yaml"), report=report(alone)))
    assert "| suite | role | questions | metric | base | candidate |" in text
    assert part(text, "Intended use").strip().startswith("Nobody has stated it.")
    assert part(text, "Out of scope").strip().startswith("Nobody has stated it.")


def hostile(folder: Path) -> ModelCard:
    """A card in which everything that people and data say is awkward."""
    given = config()
    words = given.card.model_copy(update={"intended_use": AWKWARD, "limits": (AWKWARD,), "contact": AWKWARD})
    source = given.data.sources[0].model_copy(update={"license": AWKWARD})
    given = given.model_copy(
        update={"card": words, "data": given.data.model_copy(update={"sources": (source, source)})}
    )
    named = suite(note=AWKWARD)
    return card(
        folder,
        given,
        sources={AWKWARD: 3},
        report=report(named.model_copy(update={"name": AWKWARD})),
        verdict=verdict(sentence=AWKWARD, warnings=(AWKWARD,)),
    )


def test_what_comes_from_data_makes_no_heading_no_markup_and_no_column(tmp_path: Path) -> None:
    text = to_markdown(hostile(tmp_path))
    body = re.sub(r"^```.*?^```$", "", text.split("---\n", 2)[2], flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^## (.*)$", body, flags=re.MULTILINE) == HEADINGS
    assert len(re.findall(r"^#", body, flags=re.MULTILINE)) == len(HEADINGS) + 1
    assert "<" not in body
    assert not re.search(r"(?<!\\)[*`\[]", body)
    for table in re.findall(r"(?:^\|.*\n)+", body, flags=re.MULTILINE):
        assert len({columns(row) for row in table.splitlines()}) == 1
    assert yaml.safe_load(text.split("---\n", 2)[1])["model-index"]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("# no heading", r"\# no heading"),
        ("- no list", r"\- no list"),
        ("1. no list", r"1\. no list"),
        ("> no quotation", r"\> no quotation"),
        ("=====", r"\====="),
        ("-5 degrees, exact_match, a-b.", "-5 degrees, exact_match, a-b."),
        ("_slanted_", r"\_slanted\_"),
        ("&lt; & <b>", "&amp;lt; & &lt;b>"),
        ("two\n\nlines", "two lines"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_the_page_has_the_same_sections_and_no_markup_of_others(tmp_path: Path) -> None:
    tags: list[str] = []
    heard: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            tags.append(tag)

        def handle_data(self, data: str) -> None:
            heard.append(data)

    Reader().feed(card_page(hostile(tmp_path)))
    assert [text for text in heard if text in HEADINGS] == HEADINGS
    assert "script" not in tags
    assert any("<script>" in text for text in heard)
