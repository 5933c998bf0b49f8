"""Whether anything a client sends breaks the endpoint: bodies by hypothesis, odd requests, bytes that are hardly HTTP.

    python -m benchmarks.fuzz --requests 10000 --json fuzz.json
    python -m benchmarks.fuzz --requests 1000 --engine vllm --json fuzz-vllm.json

Wrong is: a 500, a 503, no answer to a sound question, an error that is not of OpenAI's shape, and a word of the inside
in any answer: a traceback, a path, the engine's names, its socket or its key. With the stub as engine every 503 is the
gateway's own fault; with vLLM it is a body that the gateway should have refused.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seed_of
from hypothesis.strategies import SearchStrategy

from benchmarks.hostile import SMUGGLED, bodies, mutated, odd_request, oddities, smuggling

Made = TypeVar("Made")

_INSIDE = ("Traceback (most recent", 'File "', "tuneline-base", "engine.sock", "site-packages", "/serving/", "vllm/")
_INSIDE_NAMES = re.compile(r"lora-[0-9a-f]{8}")
# The stub's model says the engine's name, as any model may say anything.
_SAID = re.compile(r'\\"model\\":\\"[^"\\]*\\"')
# The engine's own metrics, for those with the scope, have its names in their labels.
_ENGINE_METRIC = re.compile(r"^vllm:.*$", re.MULTILINE)
_SECONDS = 60.0  # vLLM compiles something for its first answer with log-probabilities
_AT_ONCE = 16
_QUIET_SECONDS = 0.1


@dataclass
class Fuzz:
    """One endpoint under attack, and what was found.

    Attributes:
        inside: words that no answer may have in it besides those that are never right, e.g. the engine's key.
        statuses: of all answers, by kind of attack.
        findings: what is wrong, each with what was sent.
        slowest: seconds of the slowest request, and what was sent.
    """

    url: str
    key: str
    model: str
    inside: tuple[str, ...] = ()
    statuses: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, str]] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    sent: int = 0

    def run(self, requests: int, seed: int) -> None:
        """Send so many requests: half of them bodies, the rest odd requests and raw bytes."""
        self.send_bodies(requests // 2, seed)
        self.send_requests(requests // 5, random.Random(seed))
        asyncio.run(self._send_bytes(requests - requests // 2 - requests // 5, random.Random(seed)))

    def send_bodies(self, number: int, seed: int) -> None:
        """Bodies made by hypothesis, and the same ones for the same seed."""
        with self._client() as client:
            _for_each(bodies(self.model), number, seed, lambda body: self.send_body(client, *body))

    def send_document(self, document: dict[str, Any], number: int, seed: int) -> int:
        """Requests that schemathesis makes of an OpenAPI document, so many for each operation; how many those are."""
        schema = schemathesis.openapi.from_dict(document)
        operations = [found.ok() for found in schema.get_all_operations()]
        with self._client() as client:
            for operation in operations:
                _for_each(operation.as_strategy(), number, seed, lambda case: self._send_case(client, case))
        return len(operations)

    def send_body(self, client: httpx.Client, path: str, body: bytes) -> int:
        """One body; the status it got, 0 for none."""
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.key}"}
        return self._send(client, "body", "POST", path, headers, body)

    def _send_case(self, client: httpx.Client, case: Any) -> int:
        """A request that schemathesis made from a document; the status it got."""
        wanted = case.as_transport_kwargs()
        request = httpx.Request(
            wanted["method"],
            client.base_url.join(case.formatted_path),
            params=case.query,
            content=json.dumps(case.body).encode() if "json" in wanted else b"",
        )
        headers = {name.lower(): value for name, value in dict(wanted["headers"]).items()}
        headers["authorization"] = f"Bearer {self.key}"
        return self._send(client, "document", request.method, str(request.url), headers, request.content)

    def send_requests(self, number: int, seeded: random.Random) -> None:
        """Odd methods, paths and headers, with a key and without."""
        with self._client() as client:
            for _ in range(number):
                method, path, headers = odd_request(seeded)
                if seeded.random() < 0.5:
                    headers["authorization"] = f"Bearer {self.key}"
                sound = json.dumps({"model": self.model, "prompt": "a", "max_tokens": 1}).encode()
                self._send(client, "request", method, path, headers, seeded.choice([b"", b"{}", b"\x00", sound]))

    async def _send_bytes(self, number: int, seeded: random.Random) -> None:
        fixed = [(data, False) for data in oddities()] + [(data, True) for data in smuggling()]
        left = iter([*fixed, *((mutated(seeded), False) for _ in range(number - len(fixed)))][:number])

        async def client() -> None:
            for data, smuggles in left:
                await self._send_one(data, smuggles)

        await asyncio.gather(*(client() for _ in range(_AT_ONCE)))

    async def _send_one(self, data: bytes, smuggles: bool) -> None:
        self.sent += 1
        address = httpx.URL(self.url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            async with asyncio.timeout(_SECONDS):
                writer.write(data)
                await writer.drain()
                got = await _until_quiet(reader)
                if not reader.at_eof():
                    writer.write_eof()  # says that no more of this request will come
                    got += await reader.read(-1)
        except ConnectionError:
            got = b""  # it was refused while it was still being sent
        except TimeoutError:
            self._found("no end", repr(data[:300]), "the connection stayed open")
            return
        finally:
            writer.close()
        answers = list(_answers(got))
        for status, headers, body in answers:
            self._judge("bytes", repr(data[:300]), status, headers, body)
        if smuggles and len(answers) > 1:
            self._found("smuggled", repr(data), f"{len(answers)} answers; the second is for {SMUGGLED!r}")

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=_SECONDS)

    def _send(
        self, client: httpx.Client, kind: str, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> int:
        self.sent += 1
        what = f"{method} {path[:200]} {sorted(set(headers) - {'authorization'})} {body[:2000]!r}"
        request = client.build_request(method, path, content=body)
        request.headers.update({name: value.encode("latin-1", "replace") for name, value in headers.items()})
        began = time.perf_counter()
        try:
            response = client.send(request)
        except httpx.LocalProtocolError:
            return 0  # nothing was sent: httpx itself does not make such a request
        except httpx.TransportError as error:
            self._found("no answer", what, repr(error))
            return 0
        self.slowest = max(self.slowest, (time.perf_counter() - began, what))
        self._judge(kind, what, response.status_code, dict(response.headers), response.content, method == "HEAD")
        return response.status_code

    def _judge(
        self, kind: str, what: str, status: int, headers: dict[str, str], body: bytes, no_body: bool = False
    ) -> None:
        self.statuses[f"{kind} {status}"] += 1
        text = _ENGINE_METRIC.sub("", _SAID.sub("", body.decode(errors="replace")))
        if status >= 500 and '"ready":' not in text:
            self._found(str(status), what, text[:500])
        if status >= 400 and not no_body and not _is_openai_error(headers, text) and '"ready":' not in text:
            self._found("shape", what, f"{status} {text[:500]}")
        said = text + json.dumps(headers)
        if status == 200 and text.startswith("data: ") and '"server_error"' in text:
            self._found("error in a stream", what, text[-500:])
        words = [word for word in (*_INSIDE, *self.inside) if word in said and word not in what]
        words += [name for name in _INSIDE_NAMES.findall(said) if name not in what]
        if words:
            self._found("leak", what, f"{words}: {said[:500]}")

    def _found(self, problem: str, sent: str, got: str) -> None:
        self.findings.append({"problem": problem, "sent": sent, "got": got})


def _for_each(made: SearchStrategy[Made], number: int, seed: int, send: Callable[[Made], int]) -> None:
    """Send so many of what hypothesis makes; nothing is shrunk, since every finding is written down."""

    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seed_of(seed)
    @given(made)
    def run(one: Made) -> None:
        send(one)

    run()


async def _until_quiet(reader: asyncio.StreamReader) -> bytes:
    got = b""
    with contextlib.suppress(TimeoutError):
        while piece := await asyncio.wait_for(reader.read(2**16), _QUIET_SECONDS):
            got += piece
    return got


def _answers(data: bytes) -> Iterator[tuple[int, dict[str, str], bytes]]:
    """The whole answers in what a server sent."""
    while data.startswith(b"HTTP/1.1 "):
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split()[1])
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(rest.partition(b"\r\n")[0] or b"0", 16):
                rest = rest.partition(b"\r\n")[2]
                body, rest = body + rest[:size], rest[size + 2 :]
            rest = rest.partition(b"\r\n\r\n")[2]
        else:
            length = int(headers.get("content-length", 0))
            body, rest = rest[:length], rest[length:]
        data = rest
        yield status, headers, body


def _is_openai_error(headers: dict[str, str], text: str) -> bool:
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return set(error) == {"message", "type", "param", "code"} and headers.get("content-type") == "application/json"


@contextmanager
def _target(engine: str) -> Iterator[Fuzz]:
    if engine == "vllm":
        from benchmarks.endpoint import NAME, bench_endpoint

        with bench_endpoint(["1"]) as real:
            yield Fuzz(real.url, real.key, NAME)
    else:
        from benchmarks.stub import inside, stub_endpoint
        from tests.serving.conftest import key

        with stub_endpoint() as stubbed:
            stubbed.release({"1": "one"}, "1")
            stubbed.start().ready()
            yield Fuzz(stubbed.url, key("all"), "tiny", inside(stubbed))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the findings are written")
    parser.add_argument("--requests", type=int, default=10_000, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other requests (default %(default)s)")
    parser.add_argument("--engine", choices=("stub", "vllm"), default="stub", help="(default %(default)s)")
    options = parser.parse_args()
    from benchmarks.report import write_report

    with _target(options.engine) as fuzz:
        fuzz.run(options.requests, options.seed)
        alive = httpx.get(f"{fuzz.url}/readyz").json()
    problems = Counter(finding["problem"] for finding in fuzz.findings)
    numbers = {
        "engine": options.engine,
        "requests": fuzz.sent,
        "statuses": dict(sorted(fuzz.statuses.items())),
        "problems": dict(problems),
        "slowest": fuzz.slowest,
        "readyz": alive,
        "findings": fuzz.findings,
    }
    write_report(options.json, "fuzz", numbers)
    print(f"{fuzz.sent} requests, problems: {dict(problems) or 'none'}; ready afterwards: {alive['ready']}")


if __name__ == "__main__":
    main()
