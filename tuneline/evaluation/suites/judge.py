"""A language model as the judge: it sees two answers to one question and says which is better.

Lianmin Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", NeurIPS 2023, arXiv:2306.05685:
judges prefer the answer that stands first, so every pair is shown in both orders and an answer wins only if
it wins in both (section 3.4). How often both orders agree says how much the judge is worth, and is reported.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneline.config.evaluation import EvaluationConfig
from tuneline.config.suites import JudgeSuite
from tuneline.errors import TunelineError, UserError
from tuneline.evaluation.report import EvaluationItem, Preferences, Role
from tuneline.evaluation.suites.judge_prompt import Winner, judge_messages, read_winner

if TYPE_CHECKING:
    import openai

# Of a request: 429, 5xx and connections are tried again after 0.5 s, 1 s, 2 s … up to 8 s, or as the server says.
_RETRIES = 6
_TIMEOUT = 120.0
# So many requests are made one by one; if none of them succeeds, the others would not either.
_PROBES = 3


def check_keys(evaluation: EvaluationConfig) -> None:
    """See that the keys of all judges, and of the evaluation's own server, are in the environment.

    Raises:
        UserError: one is not.
    """
    wanted = {f"the judge {s.name!r}": s.api_key_env for s in evaluation.suites if isinstance(s, JudgeSuite)}
    if evaluation.endpoint is not None:
        wanted["evaluation.endpoint"] = evaluation.endpoint.api_key_env
    for who, variable in wanted.items():
        if variable is not None and not os.environ.get(variable):
            raise UserError(
                f"The key of {who} is missing: the environment variable {variable} (api_key_env) is not set or empty.",
                hint=f"Set it where the run happens: export {variable}=…",
            )


def judge(
    items: Sequence[EvaluationItem],
    candidate_answers: Sequence[str],
    opponent_answers: Sequence[str],
    suite: JudgeSuite,
    opponent: Role,
    on_progress: Callable[[int], None] | None = None,
) -> Preferences:
    """Compare the candidate's answers with an opponent's, item by item, in both orders.

    Equal answers are a tie without a request. ``suite.limit`` is the caller's: every item given is judged.

    Args:
        items: the questions.
        candidate_answers: the candidate's, in the order of the items.
        opponent_answers: the opponent's.
        suite: the judge's address and what it is asked.
        opponent: whose answers they are.
        on_progress: told how many items are done.

    Returns:
        Per item 1 (the candidate won in both orders), -1 (the opponent did), 0 (ties, and orders that contradict each
        other), NaN where the judge failed or said nothing usable. The agreement is the share of the items it was
        asked about on which both orders gave the same usable result; 1 if it was asked about none.

    Raises:
        UserError: the judge cannot be reached, refuses the key, or does not know the model.
        TunelineError: it answers none of the first requests.
    """
    if not len(items) == len(candidate_answers) == len(opponent_answers):
        raise ValueError(f"{len(candidate_answers)} and {len(opponent_answers)} answers for {len(items)} items")
    asked = [
        place for place in range(len(items)) if candidate_answers[place].strip() != opponent_answers[place].strip()
    ]
    tell = on_progress or (lambda _: None)
    values = [0.0] * len(items)
    if not asked:
        tell(len(items))
        return Preferences(opponent=opponent, values=tuple(values), agreement=1.0)
    # Two questions per item, the candidate's answer first and second.
    questions = [
        judge_messages(items[place], suite.criteria, *answers)
        for place in asked
        for answers in (
            (candidate_answers[place], opponent_answers[place]),
            (opponent_answers[place], candidate_answers[place]),
        )
    ]
    winners = _ask_all(_Judge.connect(suite), questions, suite.concurrency, lambda done: tell(done // 2))
    agreed = 0
    for place, first, second in zip(asked, winners[::2], winners[1::2], strict=True):
        if first is None or second is None:
            values[place] = math.nan
        elif _FIRST[first] == -_FIRST[second]:
            agreed += 1
            values[place] = _FIRST[first]
    tell(len(items))
    return Preferences(opponent=opponent, values=tuple(values), agreement=agreed / len(asked))


# What a winner is worth to the answer that was shown first.
_FIRST: dict[Winner, float] = {"A": 1.0, "TIE": 0.0, "B": -1.0}


@dataclass
class _Judge:
    """The client with what it must send; ``settings`` lose what the endpoint does not take."""

    client: openai.OpenAI
    suite: JudgeSuite
    key: str
    settings: dict[str, Any]

    @classmethod
    def connect(cls, suite: JudgeSuite) -> _Judge:
        import openai  # a second to import

        key = os.environ.get(suite.api_key_env, "") if suite.api_key_env else ""
        # Without a key it would send OPENAI_API_KEY to whatever address the config names.
        client = openai.OpenAI(base_url=suite.url, api_key=key or "none", max_retries=_RETRIES, timeout=_TIMEOUT)
        return cls(client, suite, key, {"temperature": 0})

    def ask(self, messages: list[Any]) -> Winner | None:
        """One answer of the judge.

        Raises:
            openai.OpenAIError: there is none.
        """
        import openai

        sent = self.settings
        try:
            reply = self.client.chat.completions.create(model=self.suite.model, messages=messages, **sent)
        except openai.BadRequestError as error:
            if not sent or "temperature" not in str(error):
                raise
            # OpenAI's reasoning models take no temperature but their own.
            self.settings = {}
            reply = self.client.chat.completions.create(model=self.suite.model, messages=messages)
        try:
            return read_winner(reply.choices[0].message.content or "")
        except (AttributeError, IndexError, TypeError):  # a page of HTML, or JSON of another shape
            return None

    def error(self, error: Exception) -> TunelineError:
        """What went wrong, for people, without the key."""
        import openai

        status = f"HTTP {error.status_code}" if isinstance(error, openai.APIStatusError) else "no connection"
        said = " ".join(str(error).split())[:300]
        said = said.replace(self.key, "***") if self.key else said
        where = f"api_key_env ({self.suite.api_key_env or 'not set'})"
        hint = f"Check the suite's url, model and {where}, and that the judge runs."
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            hint = f"Check the key: {where} names the variable that holds it."
        elif isinstance(error, openai.NotFoundError):
            hint = "Check that the url ends in /v1 and that the judge serves the model of this name."
        elif isinstance(error, openai.APIConnectionError):
            hint = "Check the url, and that the judge runs and can be reached from here."
        kind = UserError if isinstance(error, _wrong_config()) else TunelineError
        what = (
            f"The judge {self.suite.name!r} ({self.suite.model} at {self.suite.url}) gave no answer: {status}: {said}"
        )
        return kind(what, hint=hint)


def _wrong_config() -> tuple[type[Exception], ...]:
    """Errors that every further request would meet too."""
    import openai

    return (
        openai.AuthenticationError,
        openai.PermissionDeniedError,
        openai.NotFoundError,
        openai.APIConnectionError,
    )


def _ask_all(
    judge: _Judge, questions: Sequence[list[Any]], concurrency: int, tell: Callable[[int], None]
) -> list[Winner | None]:
    """Ask all questions; the first ones alone, because they show whether there is a judge at all."""
    import openai

    winners: list[Winner | None] = []
    answered = False
    first = questions[:_PROBES]
    for number, question in enumerate(first, 1):
        try:
            winners.append(judge.ask(question))
            answered = True
        except openai.OpenAIError as error:
            winners.append(None)
            if not answered and (isinstance(error, _wrong_config()) or number == len(first)):
                raise judge.error(error) from None  # its cause would show the request with its headers

    def ask(question: list[Any]) -> Winner | None:
        try:
            return judge.ask(question)
        except openai.OpenAIError:
            return None  # becomes NaN, which the gate refuses

    with ThreadPoolExecutor(concurrency) as pool:
        for winner in pool.map(ask, questions[len(winners) :]):
            winners.append(winner)
            tell(len(winners))
    return winners
