"""A vLLM server of the user's: adapters are loaded into it under names of this run, asked, and unloaded again.

The server runs with ``--enable-lora`` and ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=True``. The requests are those of vLLM
0.32's protocol (vllm/entrypoints/openai/completion/protocol.py, vllm/entrypoints/serve/lora/protocol.py).
"""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tuneline.errors import TunelineError, UserError
from tuneline.evaluation.engines.engine import Answer, Request
from tuneline.evaluation.report import Role
from tuneline.release.files import ADAPTER_FILES

_WAITS_SECONDS = (0.5, 2.0, 5.0)  # before each further try
_TIMEOUT_SECONDS = 600.0  # one answer, its wait in the server's queue included


class EndpointEngine:
    """Answers come from a server that others may use, too."""

    def __init__(
        self,
        url: str,
        key: str | None,
        base: str,
        adapters: Mapping[Role, Path],
        *,
        max_new_tokens: int,
        stop_ids: Sequence[int],
        batch_size: int,
        shared_folder: Path | None = None,
    ) -> None:
        """Get ready; nothing is sent.

        Args:
            url: the server's address, with ``/v1``.
            key: its API key; never shown.
            base: the base model's name there.
            adapters: by role, the folder with PEFT's two files.
            max_new_tokens: longest answer, tokens.
            stop_ids: token ids that end an answer.
            batch_size: requests at once.
            shared_folder: where the server finds the adapters if it does not see this machine's files; they are copied
                there and removed again.
        """
        self._url = url.rstrip("/")
        self._key = key
        self._base = base
        self._adapters = adapters
        self._max_new_tokens = max_new_tokens
        self._stop_ids = list(stop_ids)
        self._batch_size = batch_size
        self._shared_folder = shared_folder

    def answer(self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None) -> list[Answer]:
        """Answer all requests (see ``Engine``). A prompt that the server refuses has an answer with an error.

        Raises:
            UserError: the server refuses the key, the base model's name or an adapter.
            TunelineError: the server cannot be reached, also after some waiting, or broke.
        """
        if not requests:
            return []
        asked = {request.subject for request in requests} - {"base"}
        if missing := asked - set(self._adapters):
            raise TunelineError(f"There is no adapter for the {missing.pop()}, so nobody can answer for it.")
        headers = {} if self._key is None else {"authorization": f"Bearer {self._key}"}
        limits = httpx.Limits(max_connections=self._batch_size)
        answers: dict[int, Answer] = {}

        def tell(place: int, answer: Answer) -> None:
            answers[place] = answer
            if on_progress is not None:
                on_progress(len(answers))

        with httpx.Client(headers=headers, timeout=_TIMEOUT_SECONDS, limits=limits) as client:
            # The base model first, with none of our adapters loaded: on a CPU, vLLM 0.32 may add an adapter to the base
            # model's rows of a mixed batch. https://github.com/vllm-project/vllm/pull/48421
            places = [place for place, request in enumerate(requests) if request.subject == "base"]
            self._ask_all(client, {place: (self._base, requests[place].prompt_ids) for place in places}, tell)
            if asked:
                with self._loaded(client, sorted(asked)) as names:
                    places = [place for place, request in enumerate(requests) if request.subject != "base"]
                    self._ask_all(
                        client,
                        {place: (names[requests[place].subject], requests[place].prompt_ids) for place in places},
                        tell,
                    )
        return [answers[place] for place in range(len(requests))]

    def _ask_all(
        self,
        client: httpx.Client,
        questions: Mapping[int, tuple[str, Sequence[int]]],
        tell: Callable[[int, Answer], None],
    ) -> None:
        """Ask many at once; the first error ends it."""
        with ThreadPoolExecutor(self._batch_size) as pool:
            places = {pool.submit(self._ask, client, *question): place for place, question in questions.items()}
            try:
                for future in as_completed(places):
                    tell(places[future], future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    @contextmanager
    def _loaded(self, client: httpx.Client, roles: Sequence[Role]) -> Iterator[dict[Role, str]]:
        """Load the adapters; yields each role's name on the server. Unloads them, whatever happens."""
        run = uuid.uuid4().hex[:12]
        names: dict[Role, str] = {}
        copies: list[Path] = []
        try:
            for role in roles:
                name = f"tuneline-{role}-{run}"
                folder = self._adapters[role].absolute()
                if self._shared_folder is not None:
                    copies.append(self._shared_folder / name)
                    folder = _copied(folder, copies[-1])
                names[role] = name
                self._load(client, role, name, folder)
            yield names
        finally:
            for name in names.values():
                # A server that is gone has forgotten them; what broke before is the error to be told.
                with contextlib.suppress(httpx.HTTPError):
                    client.post(f"{self._url}/unload_lora_adapter", json={"lora_name": name}, timeout=10)
            for copy in copies:
                shutil.rmtree(copy, ignore_errors=True)

    def _load(self, client: httpx.Client, role: Role, name: str, folder: Path) -> None:
        # To an adapter that does not fit vLLM answers 500: asking again would not make it fit.
        body = {"lora_name": name, "lora_path": str(folder)}
        response = self._post(client, "/load_lora_adapter", body, again=False)
        if response.is_success:
            return
        if response.status_code in (404, 405):
            hint = "Start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and let it see the folder "
            hint += f"{folder}, or name one that both see in evaluation.endpoint.adapters."
        else:
            hint = "Its --max-lora-rank must be the adapter's rank at least, and its base model the experiment's."
        raise UserError(
            f"The server at {self._url} did not load the {role}'s adapter: {response.status_code} {_message(response)}",
            hint=hint,
        )

    def _ask(self, client: httpx.Client, model: str, prompt_ids: Sequence[int]) -> Answer:
        body = {
            "model": model,
            "prompt": list(prompt_ids),
            "max_tokens": self._max_new_tokens,
            "temperature": 0,
            # Otherwise the server takes it from the model's own generation config.
            "repetition_penalty": 1.0,
            "stop_token_ids": self._stop_ids,
            "return_token_ids": True,
            "add_special_tokens": False,
        }
        response = self._post(client, "/completions", body)
        if response.status_code in (401, 403):
            raise UserError(
                f"The server at {self._url} refused the key: {response.status_code} {_message(response)}",
                hint="evaluation.endpoint.api_key_env names the environment variable that holds it.",
            )
        if response.status_code == 404:
            raise UserError(
                f"The server at {self._url} knows no model {model!r}: {_message(response)}",
                hint="evaluation.endpoint.base is the base model's name there; GET /v1/models lists them.",
            )
        if not response.is_success:
            return Answer((), finished=False, error=f"refused ({response.status_code}): {_message(response)}")
        try:
            choice = response.json()["choices"][0]
            reason, ids = choice["finish_reason"], choice.get("token_ids")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise TunelineError(f"The server at {self._url} gave an answer that is no completion: {error!r}") from error
        if reason == "content_filter":
            return Answer((), finished=False, error="refused: content_filter")
        if ids is None:
            raise TunelineError(
                f"The server at {self._url} gave no token ids with its answer.",
                hint="It must be a vLLM server, and a proxy before it must pass `return_token_ids` on.",
            )
        return Answer(tuple(ids), finished=reason == "stop")

    def _post(self, client: httpx.Client, path: str, body: dict[str, Any], *, again: bool = True) -> httpx.Response:
        """Send; with ``again`` repeatedly while the server is busy (429) or unwell (5xx). What it answers in the end.

        Raises:
            TunelineError: no answer, or one of a broken server.
        """
        for wait in (*_WAITS_SECONDS, None):
            try:
                response = client.post(self._url + path, json=body)
                problem = f"{response.status_code} {_message(response)}"
                if not again or (response.status_code < 500 and response.status_code != 429):
                    return response
            except httpx.TransportError as error:
                problem = str(error) or type(error).__name__
            if wait is not None:
                time.sleep(wait)
        raise TunelineError(
            f"The server at {self._url} broke off or cannot be reached: {problem}",
            hint="Half an evaluation is no score, so nothing is reported. Start it again, then run again.",
        )


def _copied(folder: Path, target: Path) -> Path:
    target.mkdir(parents=True)
    for name in ADAPTER_FILES:
        shutil.copyfile(folder / name, target / name)
    return target


def _message(response: httpx.Response) -> str:
    """The server's own words, at most 300 characters."""
    try:
        return str(response.json()["error"]["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return response.text[:300]
