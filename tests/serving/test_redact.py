"""What is replaced in a prompt before it is written down, and what is left as it is."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serving.gateway.redact import redact, redact_values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to jane.doe+ops@mail.example.co.uk.", "write to [EMAIL]."),
        ("call +49 (0)30 901820-11 or 030/9018201 today", "call [PHONE] or [PHONE] today"),
        ("call (415) 555-2671 or 415-555-2671", "call [PHONE] or [PHONE]"),
        ("card 4111 1111 1111 1111, 5500-0000-0000-0004", "card [CARD], [CARD]"),
        ("host 10.1.2.3:8080 and 2001:db8::8a2e:370:7334", "host [IP]:8080 and [IP]"),
        ("Authorization: Bearer abcdef.123456-xyz", "Authorization: Bearer [TOKEN]"),
        ("a eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP b", "a [TOKEN] b"),
        ("AKIAIOSFODNN7EXAMPLE", "[KEY]"),
        ("use ghp_" + "a" * 36 + " or hf_" + "b" * 34, "use [KEY] or [KEY]"),
        ("sk-proj-" + "a1" * 20 + " and tl-" + "c" * 20, "[KEY] and [KEY]"),
        ("export DB_PASSWORD=hunter2hunter2", "export DB_PASSWORD=[SECRET]"),
        ('{"api_key": "0123456789abcdef"}', '{"api_key": "[SECRET]"}'),
        (
            "x -----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- y",
            "x [PRIVATE_KEY] y",
        ),
        ("cut off: -----BEGIN PRIVATE KEY-----\nMIIE", "cut off: [PRIVATE_KEY]"),
    ],
)
def test_what_has_the_form_of_personal_data_or_of_a_key_is_replaced_by_its_kind(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "kubectl get pods -n team-7 --since=10m",
        "the order 4111 1111 1111 1112 is no card",
        "python 3.11.9, vllm 0.32.0, image v1.2.3-rc4",
        "listen on 127.0.0.1 and ::1 or 0.0.0.0",
        "at 12:30:45 on 2026-11-24 the pid was 123456",
        "docker run -p 8080:8080 -e TOKEN image",
        "a@b is no address, and neither is @deco",
        "git show 271adec9f6607f3683bfc",
        "999.1.2.3 is no address",
        "how many tokens does it take?",
        "std::vector::iterator",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert redact(text) == text


WORDS = st.text(string.ascii_lowercase + " \n,.", max_size=40)


@given(
    WORDS, WORDS,
    st.from_regex(r"[a-z]{1,10}\.[a-z]{1,10}@[a-z]{2,10}\.(com|org|io)", fullmatch=True),
)  # fmt: skip
def test_no_email_address_is_left_wherever_it_stands(before: str, after: str, email: str) -> None:
    assert email not in redact(f"{before} {email} {after}")


@given(WORDS, st.lists(st.integers(0, 9), min_size=15, max_size=15), st.sampled_from(["", " ", "-"]))
def test_no_card_number_is_left_however_it_is_grouped(before: str, digits: list[int], mark: str) -> None:
    total = sum(d if i % 2 else d * 2 - 9 * (d > 4) for i, d in enumerate(digits))
    number = "".join(map(str, [*digits, -total % 10]))
    grouped = mark.join(number[i : i + 4] for i in range(0, 16, 4))
    assert grouped not in redact(f"{before} {grouped} ")


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@given(st.text(string.ascii_letters + " ,;?!'\n", max_size=300))
def test_prose_is_never_changed(text: str) -> None:
    assume(not {"bearer", "basic"} & set(text.lower().split()))
    assert redact(text) == text


def test_a_long_hostile_text_takes_no_more_than_its_length_deserves() -> None:
    for piece in ("a@", "1 ", "0.0.0.", ":", "-----BEGIN PRIVATE KEY-----", "token", "eyJ", "a.", "+1("):
        text = piece * (100_000 // len(piece))
        began = time.perf_counter()
        redact(text)
        assert time.perf_counter() - began < 5, piece


def test_every_text_within_a_message_is_redacted_and_its_keys_stay() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "mail a@example.com"}], "n": 3, "x": None}
    assert redact_values([message]) == [
        {"role": "user", "content": [{"type": "text", "text": "mail [EMAIL]"}], "n": 3, "x": None}
    ]
