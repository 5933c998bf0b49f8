"""Replaces what must not lie about in a file: addresses, numbers and keys that people write into prompts.

Patterns find what has a form. They do not find names, postal addresses, dates of birth, passwords in plain words, what
is spelled out or broken up over lines, or a number of eight digits that nobody calls a phone number; and they replace
harmless texts of the same form too. So a redacted file still has to be kept as personal data is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

# What ends a number or key: neither may be a part of a longer word.
_NO_WORD_BEFORE = r"(?<![\w])"
_NO_WORD_AFTER = r"(?![\w])"

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<kind>[A-Z ]*PRIVATE KEY(?: BLOCK)?)-----.*?(?:-----END (?P=kind)-----|\Z)", re.DOTALL
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*")
# The prefixes with which providers mark their keys: AWS, GitHub, GitLab, Slack, Google, Hugging Face, OpenAI and
# Anthropic, Stripe, npm, PyPI, and our own.
_KEY = re.compile(
    _NO_WORD_BEFORE + r"(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}"
    r"|xox[abeprs]-[\w-]{10,}|AIza[\w-]{35}|hf_[A-Za-z0-9]{20,}|sk-[\w-]{16,}|[rs]k_(?:live|test)_\w{16,}"
    r"|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{16,}|tl-[\w-]{12,})"
)
# A word that says that what follows is secret. The word stays, so that the sentence can still be read.
_NAMED_SECRET = re.compile(
    r"(?i)((?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)[\w-]{0,20}"
    r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?)([^\s\"',;\[\]{}]{6,})"
)
# It begins where a word does: tried from every letter, a long word would be read as often as it has letters.
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]+@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_CARD = re.compile(_NO_WORD_BEFORE + r"[0-9](?:[ -]?[0-9]){12,18}" + _NO_WORD_AFTER)
_IP4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.]*\w)")
_IP6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
# Either with a country's code, or in groups: what has neither is as likely an order number or a process id.
_PHONE = re.compile(
    r"(?<![\w.+])(?:(?:\+|00)[0-9](?:[ ./()-]{0,2}[0-9]){6,14}"
    r"|\(?0[0-9]{1,4}\)?[ /-][0-9](?:[ /-]?[0-9]){4,9}|\(?[2-9][0-9]{2}\)?[ .-][0-9]{3}[ .-][0-9]{4})(?![\w.]*\w)"
)


def redact(text: str) -> str:
    """The text with each find replaced by its kind in brackets: ``[EMAIL]``, ``[PHONE]``, ``[CARD]``, ``[IP]``,
    ``[KEY]``, ``[TOKEN]``, ``[SECRET]``, ``[PRIVATE_KEY]``. Doing it again changes nothing.
    """
    text = _PRIVATE_KEY.sub("[PRIVATE_KEY]", text)
    text = _BEARER.sub(r"\1 [TOKEN]", text)
    text = _JWT.sub("[TOKEN]", text)
    text = _KEY.sub("[KEY]", text)
    text = _NAMED_SECRET.sub(r"\1[SECRET]", text)
    text = _EMAIL.sub("[EMAIL]", text)
    text = _CARD.sub(_unless(_is_card, "[CARD]"), text)
    text = _IP4.sub(_unless(_is_address, "[IP]"), text)
    text = _IP6.sub(_unless(_is_address, "[IP]"), text)
    return _PHONE.sub("[PHONE]", text)


def redact_values(value: Any) -> Any:
    """A JSON value with every text in it redacted; keys stay, for they are the schema's."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [redact_values(item) for item in value]
    if isinstance(value, dict):
        return {name: redact_values(item) for name, item in value.items()}
    return value


def _unless(is_one: Callable[[str], bool], kind: str) -> Callable[[re.Match[str]], str]:
    return lambda match: kind if is_one(match[0]) else match[0]


def _is_card(text: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1), which one number in ten passes by chance."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_address(text: str) -> bool:
    """Whether it is an IP address that leads to somebody: those of this machine and of no machine stay."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
