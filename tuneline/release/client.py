"""A caller of the endpoint: what deployment, parity check and ``run.py ask`` need of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from tuneline.errors import TunelineError, UserError

VERSION_HEADER = "x-tuneline-version"
_PATIENCE_SECONDS = 120.0
_STATE_SECONDS = 5.0  # to say what is wrong with it


@dataclass(frozen=True)
class Answer:
    """An answer, the version that gave it, and how long it took in seconds."""

    text: str
    version: str
    seconds: float


@dataclass(frozen=True)
class EndpointClient:
    """Talks to one endpoint with one key.

    Attributes:
        url: the endpoint's address, without ``/v1``.
        key: an API key; never shown.
        endpoint: its name, which is the model's name in requests.
    """

    url: str
    endpoint: str
    key: str = field(repr=False)
    timeout: float = 60.0

    def readiness(self) -> dict[str, Any]:
        """The detail of ``/readyz``, ready or not; ``{"ready": False, ...}`` when nobody answers."""
        try:
            headers = self._headers(None) if self.key else {}  # with a key the engine's error is part of it
            response = httpx.get(f"{self.url}/readyz", headers=headers, timeout=self.timeout)
        except httpx.TransportError as error:
            return {"ready": False, "state": f"no answer from {self.url}: {error}"}
        detail: dict[str, Any] = response.json()
        return detail

    def release(self) -> dict[str, Any]:
        """What is live: the detail of ``/release``."""
        detail: dict[str, Any] = self._get("/release").json()
        return detail

    def metrics(self) -> str:
        """What the gateway counts, in Prometheus' text form."""
        return self._get("/metrics").text

    def await_release(self, sequence: int, timeout: float) -> dict[str, Any]:
        """Wait until a release (or a later one) is live.

        Raises:
            TunelineError: the endpoint refused it, or did not get there in time (seconds).
        """
        deadline = time.monotonic() + timeout
        while True:
            live = self.release()
            if (live["sequence"] or 0) >= sequence:
                return live
            if live["error"] and live["wanted"] == sequence:
                raise TunelineError(
                    f"the endpoint could not apply release {sequence}: {live['error']}",
                    hint=f"It goes on with release {live['sequence']}. Its logs: `python run.py logs`.",
                )
            if time.monotonic() > deadline:
                raise TunelineError(
                    f"the endpoint did not apply release {sequence} within {timeout:.0f} s "
                    f"(it is at {live['sequence']}, and has seen {live['wanted']})"
                )
            time.sleep(0.05)

    def ask(self, messages: Sequence[dict[str, Any]], *, version: str | None = None, max_tokens: int = 128) -> Answer:
        """Ask one question, greedily decoded; ``version`` pins who answers."""
        started = time.perf_counter()
        response = self._post(
            "/v1/chat/completions",
            {"model": self.endpoint, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0},
            version,
        )
        text: str = response.json()["choices"][0]["message"]["content"]
        return Answer(text, response.headers[VERSION_HEADER], time.perf_counter() - started)

    def logprobs(self, prompt_ids: Sequence[int], completion_ids: Sequence[int], *, version: str) -> list[float]:
        """Log-probability of each completion token under the served version, nats."""
        body = {
            "model": self.endpoint,
            "prompt": [*prompt_ids, *completion_ids],
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }
        entries = self._post("/v1/completions", body, version).json()["choices"][0]["prompt_logprobs"]
        return [
            float(entries[len(prompt_ids) + index][str(token)]["logprob"]) for index, token in enumerate(completion_ids)
        ]

    def _headers(self, version: str | None) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} | ({VERSION_HEADER: version} if version else {})

    def _get(self, path: str) -> httpx.Response:
        headers = self._headers(None)
        return self._checked(f"GET {path}", lambda: httpx.get(self.url + path, headers=headers, timeout=self.timeout))

    def _post(self, path: str, body: dict[str, Any], version: str | None) -> httpx.Response:
        headers = self._headers(version)
        what = " with a prompt's log-probabilities" if "prompt_logprobs" in body else ""
        asked = f"POST {path}{what}{f' of version {version}' if version else ''}"
        return self._checked(
            asked, lambda: httpx.post(self.url + path, json=body, headers=headers, timeout=self.timeout)
        )

    def _checked(self, asked: str, send: Callable[[], httpx.Response]) -> httpx.Response:
        began = time.monotonic()
        try:
            response = send()
            until = began + _PATIENCE_SECONDS
            # The key may be at its limit of a minute, which other callers of it share; the gateway says how long.
            while response.status_code == 429 and time.monotonic() < until:
                time.sleep(min(float(response.headers.get("retry-after", "1")), _PATIENCE_SECONDS))
                began = time.monotonic()
                response = send()
        except httpx.TransportError as error:
            seconds = time.monotonic() - began
            raise TunelineError(
                f"no answer from the endpoint at {self.url} to {asked} after {seconds:.1f} s: {error}; {self._state()}",
                hint="`python run.py logs` shows what it did; `python run.py deploy` starts it if it is gone.",
            ) from error
        if response.is_success:
            return response
        try:
            message = response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = response.text[:200]
        if response.status_code == 401:
            raise UserError(
                f"the endpoint at {self.url} refused the API key: {message}",
                hint="It does not know this ZenML's key: `python run.py deploy` hands it over, or says whose it is.",
            )
        raise TunelineError(f"the endpoint at {self.url} answered {response.status_code}: {message}")

    def _state(self) -> str:
        """What the endpoint says of itself once it has left a question unanswered."""
        try:
            detail = replace(self, timeout=_STATE_SECONDS).readiness()
            if "engine" not in detail:  # nobody answered
                return f"nor to GET /readyz: {detail['state']}"
            engine = detail["engine"]
            said = f"it says {detail['state']!r}, release {detail['release']}, "
            said += f"engine {engine['pid']} {engine['state']!r} after {engine['starts']} start(s)"
            return "; ".join([said, *(str(error) for error in (engine["error"], detail["error"]) if error)])
        except (ValueError, KeyError, TypeError):
            return "nor is its answer to GET /readyz that of an endpoint"
