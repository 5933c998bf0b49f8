"""The data set itself: kept whole, told apart, split without leaks, audited."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneline.data.audit import audit
from tuneline.data.audit_html import audit_html
from tuneline.data.dataset import ChatDataset, Quarantined, combine
from tuneline.data.records import ChatRecord, Message
from tuneline.data.split import check_leaks, remove_duplicates, split_holdout
from tuneline.errors import UserError


def _record(number: int, question: str, answer: str, source: str = "s") -> ChatRecord:
    turns = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return ChatRecord(id=f"r{number}", source=source, messages=turns)


def _numbered(count: int) -> ChatDataset:
    return ChatDataset(records=[_record(n, f"Question {n}?", f"Answer {n}.") for n in range(count)])


_BAD = Quarantined(file="a.json", line=3, reason="the answer is empty", excerpt='{"x": "<b>"}')


def test_a_saved_data_set_comes_back_equal(tmp_path: Path) -> None:
    odd = _record(1, "line\u2028separator and 한국어", "tab\t\x85\nnew line")
    weighted = ChatRecord(
        id="w",
        source="s",
        messages=[Message(role="user", content="a"), Message(role="assistant", content="b", weight=0.25)],
        tools=[{"name": "now"}],
    )
    dataset = ChatDataset(records=[odd, weighted], quarantined=[_BAD])
    dataset.save(tmp_path / "set")
    assert ChatDataset.load(tmp_path / "set") == dataset


def test_an_empty_data_set_can_be_kept_too(tmp_path: Path) -> None:
    ChatDataset(records=[]).save(tmp_path)
    assert len(ChatDataset.load(tmp_path)) == 0


def test_the_fingerprint_changes_with_any_record_and_not_with_the_quarantine() -> None:
    first, second = _numbered(3), ChatDataset(records=_numbered(3).records, quarantined=[_BAD])
    assert first.fingerprint() == second.fingerprint()
    changed = ChatDataset(records=[*first.records[:2], _record(2, "Question 2?", "Answer 2!")])
    assert changed.fingerprint() != first.fingerprint()


def test_combining_makes_ids_unique_and_keeps_the_quarantine() -> None:
    both = combine([_numbered(2), ChatDataset(records=_numbered(2).records, quarantined=[_BAD]), _numbered(1)])
    assert [record.id for record in both.records] == ["r0", "r1", "r0~2", "r1~2", "r0~3"]
    assert both.quarantined == [_BAD]


def test_the_summary_counts_sources_most_frequent_first() -> None:
    records = [_record(n, f"q{n}", "a", source="rare" if n == 0 else "common") for n in range(4)]
    assert list(ChatDataset(records=records).summary().sources.items()) == [("common", 3), ("rare", 1)]


def test_exact_copies_are_removed_and_counted_and_the_first_stays() -> None:
    records = [_record(0, "q", "a"), _record(1, "q", "a", source="other"), _record(2, "q", "b")]
    kept, removed = remove_duplicates(ChatDataset(records=records, quarantined=[_BAD]))
    assert [record.id for record in kept.records] == ["r0", "r2"]
    assert removed == 1
    assert kept.quarantined == [_BAD]


def test_a_split_has_the_size_asked_for_and_loses_nothing() -> None:
    dataset = _numbered(100)
    holdout = split_holdout(dataset, seed=1, size=20)
    assert (len(holdout.training), len(holdout.evaluation), holdout.duplicates) == (80, 20, 0)
    ids = {record.id for part in (holdout.training, holdout.evaluation) for record in part.records}
    assert ids == {record.id for record in dataset.records}
    assert len(split_holdout(dataset, seed=1, share=0.1).evaluation) == 10


def test_a_split_depends_on_the_seed_alone() -> None:
    def held_out(seed: int) -> set[str]:
        return {record.id for record in split_holdout(_numbered(100), seed=seed, size=20).evaluation.records}

    assert held_out(1) == held_out(1)
    assert held_out(1) != held_out(2)


def test_more_rows_move_few_of_the_others_to_the_other_side() -> None:
    before = {record.id for record in split_holdout(_numbered(100), seed=1, share=0.2).evaluation.records}
    after = {record.id for record in split_holdout(_numbered(110), seed=1, share=0.2).evaluation.records}
    assert len(before - after) <= 4


def test_equal_prompts_stay_together_whatever_their_case_and_spaces() -> None:
    records = [_record(n, ["Same  question?", "same question?", "SAME QUESTION? "][n % 3], f"a{n}") for n in range(30)]
    records += [_record(100 + n, f"Question {n}?", "a") for n in range(30)]
    for seed in range(20):
        holdout = split_holdout(ChatDataset(records=records), seed=seed, size=10)
        check_leaks(holdout.training, holdout.evaluation)


@pytest.mark.parametrize(("size", "share"), [(0, None), (10, None), (None, 0.01), (3, 0.5), (None, None)])
def test_a_split_that_leaves_a_side_empty_is_refused(size: int | None, share: float | None) -> None:
    with pytest.raises(UserError):
        split_holdout(_numbered(10), seed=0, size=size, share=share)


def test_a_split_of_one_repeated_prompt_is_refused() -> None:
    same = ChatDataset(records=[_record(n, "q", f"answer {n}") for n in range(5)])
    with pytest.raises(UserError, match="share 1 prompt"):
        split_holdout(same, seed=0, size=1)


def test_an_evaluation_prompt_that_was_trained_on_is_refused_and_named() -> None:
    evaluation = ChatDataset(records=[_record(77, "question  3?", "another answer"), _record(78, "New?", "a")])
    with pytest.raises(UserError, match=r"1 of 2 evaluation prompts .* r77 = r3"):
        check_leaks(_numbered(5), evaluation)


def test_the_audit_counts_what_a_trainer_must_know() -> None:
    records = [
        _record(0, "What is it?", "An answer"),
        _record(1, "What is it?", "An answer"),
        _record(2, "what is it?", "Another answer"),
        _record(3, "I am {{ name }}", "Hello {{name}}", source="identity"),
        _record(4, "Silence?", " "),
    ]
    found = audit(ChatDataset(records=records, quarantined=[_BAD]), count_tokens=lambda text: len(text.split()))
    assert (found.records, found.turns, found.quarantined) == (5, 10, 1)
    assert (found.duplicates, found.repeated_prompts, found.empty_answers, found.placeholders) == (1, 1, 1, 1)
    assert found.reasons == {"the answer is empty": 1}
    assert found.sources == {"s": 4, "identity": 1}
    assert (found.answer_characters.minimum, found.answer_characters.maximum) == (1, 14)
    assert found.prompt_tokens is not None
    assert found.prompt_tokens.median == 3


def test_the_audit_of_nothing_is_all_zeros() -> None:
    assert audit(ChatDataset(records=[])).answer_characters.maximum == 0


def test_the_audit_page_shows_data_as_text_and_stands_alone() -> None:
    records = [_record(n, f"<script>alert({n})</script>", "& more") for n in range(30)]
    dataset = ChatDataset(records=records, quarantined=[_BAD])
    html = audit_html(audit(dataset), dataset)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "the answer is empty" in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html
    assert audit_html(audit(ChatDataset(records=[])), ChatDataset(records=[]))
