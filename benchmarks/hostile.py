"""What an endpoint may be sent that it was not made for: JSON bodies by hypothesis, and bytes that are hardly HTTP."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Body = tuple[str, bytes]  # path, body

_NUMBERS = [0, -1, 1, 2, 0.5, -0.5, 1e-9, 1e308, -1e308, 2**31, 2**63, -(2**63) - 1, 2**64, 10**30, float("nan")]
_NUMBERS += [float("inf"), float("-inf"), True, "1", None]
_TEXTS = ["", " ", "\x00", "hi", "é" * 50, "\ud800", "\u202eabc", "<|im_start|>system", "{{ 7*7 }}", "../../etc/passwd"]
_TEXTS += ["%s%n", "a" * 5_000, "🙂", "\r\nx: y", "https://127.0.0.1:9/x.png"]
_SCHEMAS: list[Any] = [
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
    {"type": "string", "pattern": "(a+)+$"},
    {"type": "string", "pattern": "(?=x)["},
    {"$ref": "#/definitions/none"},
    {"$ref": "#"},
    {"type": "nothing"},
    {"enum": []},
    {"type": "integer", "minimum": 5, "maximum": 1},
    {"type": "array", "minItems": 10**9},
    {},
    True,
    [],
    "x",
]

_hostile = st.recursive(
    st.sampled_from([*_NUMBERS, *_TEXTS]) | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_number = st.sampled_from(_NUMBERS) | st.floats() | st.integers()
_text = st.sampled_from(_TEXTS) | st.text(max_size=30)
_schema = st.sampled_from(_SCHEMAS)
_part = st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "input_audio", "file"]), "text": _text})
_call = st.fixed_dictionaries(
    {
        "id": _text,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": _text, "arguments": st.sampled_from(["{}", "{", "[]", "null", 5])}),
    }
)
_message = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", ""])},
    optional={
        "content": _text | st.lists(_part, max_size=2) | st.none(),
        "name": _text,
        "tool_calls": st.lists(_call | _hostile, max_size=2),
        "tool_call_id": _text,
    },
)
_tool = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["function", "code"]),
        "function": st.fixed_dictionaries({"name": _text, "parameters": _schema}),
    }
)
_stop = _text | st.lists(_text, max_size=17)
_ids = st.lists(st.sampled_from([0, 1, 5, -1, 639, 640, 10**6, 2**31, 2**63, 2**64]), max_size=4)
_limits = {"max_tokens": st.sampled_from([1, 1, 2, 3, 8, 511, 512, 513, 10**9, 0, -1, None, 2**63])}

_COMMON: dict[str, SearchStrategy[Any]] = {
    **_limits,
    "stream": st.booleans() | st.sampled_from([None, "yes", 1]),
    "stream_options": st.sampled_from([None, {}, {"include_usage": True}, {"include_usage": None}, {"x": True}]),
    "min_tokens": st.sampled_from([0, 1, 4, 10**9, -1]),
    "temperature": _number,
    "top_p": _number,
    "top_k": _number,
    "min_p": _number,
    "n": st.sampled_from([1, 2, 16, 17, 0, None]),
    "seed": _number,
    "stop": _stop,
    "stop_token_ids": _ids,
    "ignore_eos": st.booleans() | st.none(),
    "presence_penalty": _number,
    "frequency_penalty": _number,
    "repetition_penalty": _number,
    "logit_bias": st.dictionaries(st.sampled_from(["0", "5", "-1", "639", "640", "99999999999", "x", ""]), _number),
    "response_format": st.sampled_from(
        [None, {}, {"type": "text"}, {"type": "json_object"}, {"type": "json_schema"}, {"type": "structural_tag"}]
    )
    | st.builds(lambda schema: {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}, _schema),
    "skip_special_tokens": st.booleans(),
    "return_tokens_as_token_ids": st.booleans(),
    "prompt_logprobs": st.sampled_from([None, 0, 1, 20, 21, -1]),
    "user": _text,
}
_CHAT = _COMMON | {
    "max_completion_tokens": _limits["max_tokens"],
    "logprobs": st.booleans() | st.none(),
    "top_logprobs": st.sampled_from([None, 0, 1, 20, 21, -1]),
    "tools": st.lists(_tool | _hostile, max_size=2),
    "tool_choice": st.sampled_from(
        ["auto", "none", "required", "x", "", None, {}, {"type": "function", "function": {"name": "x"}}]
    ),
    "parallel_tool_calls": st.booleans() | st.none(),
}
_COMPLETION = _COMMON | {
    "logprobs": st.sampled_from([None, 0, 1, 20, 21]),
    "echo": st.booleans() | st.none(),
    "suffix": _text | st.none(),
    "add_special_tokens": st.booleans(),
}
_FEEDBACK: dict[str, SearchStrategy[Any]] = {
    "request_id": _text,
    "rating": _number | st.sampled_from(["up", "down", ""]),
    "comment": _text,
    "correction": _text,
    "version": _text,
}
_SOUND = [{"role": "user", "content": "hi"}]
_MESSAGES = st.one_of(st.just(_SOUND), st.just(_SOUND), st.lists(_message, min_size=1, max_size=3), _hostile)
_PROMPT = st.just("hi") | _text | st.lists(_text, max_size=3) | _ids | st.lists(_ids, max_size=2) | _hostile


def bodies(model: str) -> SearchStrategy[Body]:
    """Requests that are nearly right: mostly one to four odd fields, sometimes none that is as it should be."""
    chat = st.fixed_dictionaries({"model": st.just(model), "messages": _MESSAGES, "max_tokens": st.just(2)})
    completion = st.fixed_dictionaries({"model": st.just(model), "prompt": _PROMPT, "max_tokens": st.just(2)})
    return st.one_of(
        st.tuples(st.just("/v1/chat/completions"), _with_fields(chat, _CHAT)),
        st.tuples(st.just("/v1/completions"), _with_fields(completion, _COMPLETION)),
        st.tuples(st.just("/v1/feedback"), _with_fields(st.just({}), _FEEDBACK)),
        st.tuples(st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/feedback"]), _anything()),
    )


def _with_fields(base: SearchStrategy[dict[str, Any]], fields: dict[str, SearchStrategy[Any]]) -> SearchStrategy[bytes]:
    def value(name: str) -> SearchStrategy[Any]:
        return st.one_of(fields[name], fields[name], fields[name], _hostile)

    field = st.sampled_from(sorted(fields)).flatmap(lambda name: st.tuples(st.just(name), value(name)))
    odd = st.lists(field, max_size=4).map(dict)
    return st.builds(lambda right, wrong: _encoded(right | wrong), base, odd)


def _anything() -> SearchStrategy[bytes]:
    return st.one_of(
        st.binary(max_size=200),
        _hostile.map(_encoded),
        st.sampled_from(["seed", "top_k", "max_tokens", "temperature"]).map(_endless_number),
        st.integers(1, 100_000).map(lambda depth: b'{"messages":' + b"[" * depth),
        st.integers(1, 5_000).map(lambda depth: b'{"tools":' + b"[" * depth + b"]" * depth + b"}"),
        st.text(max_size=100).map(lambda text: text.encode("utf-16", "surrogatepass")),
    )


def _endless_number(name: str) -> bytes:
    """Python makes no text of an integer of more than 4,300 digits, and raises."""
    return b'{"model": "tiny", "prompt": "a", "%s": %s}' % (name.encode(), b"9" * 5_000)


def _encoded(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8, but an escape
        return json.dumps(value).encode()


# ---- bytes ----------------------------------------------------------------------------------------------------------

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
_TAIL = b"host: x\r\n"


def smuggling() -> list[bytes]:
    """Requests that one server reads as one and another as two. Whoever answers two has read ``SMUGGLED``."""
    ambiguous = [
        b"content-length: 4\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        b"content-length: 0\r\ncontent-length: %d\r\n" % len(SMUGGLED),
        b"content-length: 0, %d\r\n" % len(SMUGGLED),
        b"content-length: +0\r\n",
        b"content-length: 0x0\r\n",
        b"content-length: -1\r\n",
        b"content-length : 0\r\n",
        b"content-length: 0 0\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding: identity\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding:\x0bchunked\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: x\r\n",
        b"x: y\rcontent-length: 0\r\n",
        b"x: y\x00\r\ncontent-length: 0\r\n",
    ]
    return [b"POST /v1/completions HTTP/1.1\r\n" + _TAIL + head + b"\r\n0\r\n\r\n" + SMUGGLED for head in ambiguous]


def oddities() -> list[bytes]:
    """One of each kind of bytes that are not a request, or one nobody sends by accident."""
    post = b"POST /v1/completions HTTP/1.1\r\n" + _TAIL
    get = b"GET /livez HTTP/1.1\r\n" + _TAIL
    upgrade = b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n"
    return [
        b"",
        b"\r\n" * 50,
        b"\x00" * 300,
        b"GET\r\n\r\n",
        b"GET / \r\n\r\n",
        b"GET  /livez  HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/0.9\r\n\r\n",
        b"GET /livez HTTP/1.0\r\n\r\n",
        b"get /livez HTTP/1.1\r\nhost: x\r\n\r\n",
        b"FOO /livez HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /li\x00vez HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /%00%ff%0d%0aset-cookie:x HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET //livez/../metrics HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://elsewhere/livez HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        get + b"\r\n",
        get + b": no name\r\n\r\n",
        get + b"no colon\r\n\r\n",
        get + b"x: \x00\r\n\r\n",
        get + b"x: a\r\n folded\r\n\r\n",
        get + b"x: \xff\xfe\r\n\r\n",
        get + b"x: " + b"y" * 400_000,
        get + b"".join(b"x%d: y\r\n" % number for number in range(20_000)) + b"\r\n",
        get + b"authorization: Bearer " + b"\xc3\x28" * 20 + b"\r\n\r\n",
        get + b"authorization: Bearer \x80\r\n\r\n",
        get + upgrade + b"\r\n",
        get.replace(b"/livez", b"/v1/realtime") + upgrade + b"\r\n\x81\x05hello",
        get + b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
        get + b"expect: 100-continue\r\n\r\n",
        post + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n",
        post + b"expect: 200-ok\r\ncontent-length: 2\r\n\r\n{}",
        post + b"content-length: 99999999999999999999\r\n\r\n",
        post + b"content-length: 10\r\n\r\n{}",
        post + b"content-length: 2\r\n\r\n{}garbage after",
        post + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        post + b"transfer-encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n",
        post + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
        post + b"transfer-encoding: chunked\r\n\r\n2;" + b"x" * 100_000 + b"\r\n{}\r\n0\r\n\r\n",
        post + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: y\r\n\r\n",
        post + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        post + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b",
        (get + b"\r\n") * 20,
        (get + b"\r\n") * 300,
        post + b"content-length: 2\r\n\r\n{}" + get + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get + b"\r\n",
        b"*1\r\n$4\r\nPING\r\n",
    ]


def mutated(seed: random.Random) -> bytes:
    """A sound request with a few bytes changed, gone, or more."""
    data = bytearray(seed.choice(oddities() + smuggling())[:4_000] or b"GET / HTTP/1.1\r\n\r\n")
    for _ in range(seed.randint(1, 6)):
        at = seed.randrange(len(data))
        match seed.randrange(4):
            case 0:
                data[at] = seed.randrange(256)
            case 1:
                data[at:at] = seed.choice([b"\r\n", b"\x00", b" ", b":", b"\n", b"\xff", b"0"])
            case 2:
                del data[at : at + seed.randint(1, 8)]
            case _:
                data[at:at] = data[at : at + seed.randint(1, 40)]
        data = data or bytearray(b"\x00")
    return bytes(data)


def odd_request(seed: random.Random) -> tuple[str, str, dict[str, str]]:
    """Method, path and headers for an ordinary HTTP client to send; the headers have no key in them."""
    known = ["/livez", "/readyz", "/metrics", "/release", "/v1/models", "/v1/chat/completions", "/v1/completions"]
    known += ["/v1/feedback", "/api/openapi.json", "/api", "/", "/v1", "/docs", "/tokenize", "/v1/load_lora_adapter"]
    path = seed.choice(known) + seed.choice(
        ["", "", "/", "?a=b", "?" + "a" * 2000, "%2e%2e/", "/..%2f", ";x", "%00", "#"]
    )
    method = seed.choice(
        ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "M-X"]
    )
    names = ["accept", "content-type", "x-request-id", "x-tuneline-version", "host", "origin", "range", "cookie", "te"]
    names += ["x-forwarded-for", "traceparent", "if-none-match", "accept-encoding", "content-language", "forwarded"]
    values = ["", "*/*", "a" * 3000, "1", "-1", "../x", "\x7f", "null", "bytes=0-", "{{7*7}}", "text/html", "\t"]
    return method, path, {seed.choice(names): seed.choice(values) for _ in range(seed.randint(0, 4))}
