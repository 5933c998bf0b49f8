"""``run.py ask``: one question, the way any user of the endpoint would ask it."""

from __future__ import annotations

import time
from pathlib import Path

from rich.markup import escape

from cli.screen import console, say
from cli.workplace import checked_config, use_stack
from tuneline.errors import TunelineError, UserError
from tuneline.release.client import VERSION_HEADER, EndpointClient


def run_ask(
    question: str | None,
    version: str | None,
    path: Path | None,
    stack: str | None,
    overrides: list[str],
    *,
    key_only: bool,
) -> None:
    """Ask and print the answer, or print the key."""
    config = checked_config(path, overrides)
    if not key_only and not (question and question.strip()):
        raise UserError(
            "there is no question", hint='Ask like this: python run.py ask "list the pods in namespace web"'
        )
    use_stack(stack)
    from controlplane.endpoint import connect
    from controlplane.keys import read_key

    if key_only:
        print(read_key(config.name))
        return
    assert question is not None
    answer_streamed(connect(config.name), question, version)


def answer_streamed(endpoint: EndpointClient, question: str, version: str | None = None) -> None:
    """Ask through the official OpenAI client and print the answer as it comes."""
    import openai

    client = openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.key, max_retries=0)
    headers = {VERSION_HEADER: version} if version else {}
    started = time.perf_counter()
    say(f"[dim]Q[/dim] {escape(question)}")
    try:
        reply = client.chat.completions.with_streaming_response.create(
            model=endpoint.endpoint,
            messages=[{"role": "user", "content": question}],
            stream=True,
            temperature=0,
            extra_headers=headers,
        )
        with reply as response:
            who = response.headers.get(VERSION_HEADER, "?")
            console.print("[dim]A[/dim] ", end="")
            for chunk in response.parse():
                console.print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="", markup=False)
    except openai.APIStatusError as error:
        body = error.body if isinstance(error.body, dict) else {}
        message = body.get("message", error.message)
        if error.status_code == 401:
            raise UserError(
                f"the endpoint at {endpoint.url} refused the API key: {message}",
                hint="It does not know this ZenML's key: `python run.py deploy` hands it over, or says whose it is.",
            ) from error
        kind = UserError if error.status_code in (400, 404, 422) else TunelineError
        raise kind(f"the endpoint at {endpoint.url} answered {error.status_code}: {message}") from error
    except openai.APIConnectionError as error:
        raise TunelineError(
            f"no answer from {endpoint.url}", hint="`python run.py deploy` starts the endpoint again."
        ) from error
    seconds = time.perf_counter() - started
    say(f"\n[dim]version {who}, {seconds:.2f} s, through the OpenAI client at {endpoint.url}/v1[/dim]")
