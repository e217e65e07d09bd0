"""Ask a model behind an OpenAI-compatible endpoint: the `openai` client, many requests in flight, retries by `tenacity`.

Transient failures (time-outs, refused connections, 408, 409, 429, 5xx, an answer that is no JSON) are retried with growing, jittered pauses, or
after the pause that the server asks for. The client's own retries are off, since they would slip past the rate limit. Lasting ones
(a wrong key, model or parameter, no money left) end the run at once. A reply is read to `MAX_BODY` bytes and within `timeout_s`
seconds, so that an endless one ends. The key comes from the environment and appears in no file and no message.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from players.base import Arrived, Options, PlayerError, Reply, Row, Streaming, cut
from players.concurrency import in_flight
from players.limits import Budget, Pace, patient
from players.shots import Question, question_of
from schema import BadRequestError, OpenSOCError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from tenacity import RetryCallState

MAX_BODY = 4 * 2**20  # bytes
LONGEST_PAUSE_S = 60.0
GIVE_UP = 8  # items in a row whose every attempt failed: the endpoint is dead
TOKEN = 2.0  # characters of a prompt that make a token at least: log lines are dense
TRANSIENT = (408, 409, 429)
# What servers say when the model, not the run, cannot take a prompt: the item is answered, with this fault.
_PROMPT_FAULTS = (
    "context_length",
    "context length",
    "maximum context",
    "too long",
    "content_filter",
    "content management",
)
_NO_MONEY = ("insufficient_quota", "billing")


class _TransientError(Exception):
    """A failure that may be over at the next attempt; `pause_s` is the pause that the server asks for."""

    def __init__(self, what: str, pause_s: float = 0.0) -> None:
        super().__init__(what)
        self.pause_s = pause_s


class _RefusedError(Exception):
    """A refusal of this one prompt."""


class Endpoint(Streaming):
    """Ask a chat model by URL.

    Args:
        url: the API's base, such as http://localhost:8000/v1; a URL without a path gets /v1.
        options: how to ask; with no `model` the endpoint must serve exactly one.
        question: the chat that asks about a row; by default for a triage, as the options say.

    Raises:
        BadRequestError: the URL holds credentials, the key's variable is empty, or a cost limit comes without prices.
        PlayerError: the endpoint was asked for its models and did not name exactly one.
        OpenSOCError: `openai` or `tenacity` is not installed.
    """

    kind = "endpoint"

    def __init__(self, url: str, options: Options, question: Question | None = None) -> None:
        _require_libraries()
        self._url = _checked_url(url)
        self._options = options
        self._question = question or question_of(options)
        self._key = _key(options.key_env)
        _check_limits(options)
        self._model = options.model or asyncio.run(self._only_model())
        self._failed_in_a_row = 0
        self._failed = 0
        self._last_failure = ""
        super().__init__(self._model)

    @property
    def settings(self) -> dict[str, Any]:
        """Return model, address and what is sent with each request."""
        body = {key: value for key, value in self._body([]).items() if key not in ("messages", "model")}
        shots = {"shots": self._options.shots} if self._options.shots else {}
        return {**super().settings, "url": self._url, "request": body, **shots}

    def stream(self, rows: Sequence[Row], stop: threading.Event) -> Iterator[Arrived]:
        """Yield replies as they arrive, with `concurrency` requests in flight."""
        self._stop = stop
        self._pace = Pace(self._options.rpm, stop)
        self._budget = Budget(self._options.max_cost, self.spent)
        yield from in_flight(
            len(rows),
            lambda index: self._ask(rows[index]),
            at_once=self._options.concurrency,
            stop=stop,
            opened=self._connected,
        )
        if self._failed and not stop.is_set():
            raise PlayerError(
                f"{self._failed} of {len(rows)} items got no answer after {self._options.attempts} attempts each (last: {self._last_failure}); "
                "the others are stored. Run the same command again to ask for the missing ones."
            )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        async with self._client() as self._open_client:
            yield

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            api_key=self._key or "none", base_url=self._url, timeout=self._options.timeout_s, max_retries=0
        )

    # ------------------------------------------------------------ one item
    async def _ask(self, row: Row) -> Reply | None:
        """Return the reply to one row, or None if every attempt failed in a transient way."""
        prompt = self._question(row)
        most = self._cost(sum(len(message["content"]) for message in prompt) / TOKEN, self._options.max_tokens) or 0.0
        await self._budget.hold(most)
        cost = 0.0
        try:
            reply = await self._attempts(prompt)
            cost = (reply.usage or {}).get("cost") or 0.0
        except _RefusedError as error:
            reply = Reply(None, f"the endpoint refused the prompt: {error}", prompt)
        except _TransientError as error:
            if not self._stop.is_set():
                self._give_up_when_dead(self._hidden(str(error)))
            return None
        finally:
            await self._budget.settle(most, cost)
        self._failed_in_a_row = 0
        return reply

    def _give_up_when_dead(self, what: str) -> None:
        self._failed += 1
        self._failed_in_a_row += 1
        self._last_failure = what
        if self._failed_in_a_row >= GIVE_UP:
            raise PlayerError(
                f"Expected answers from {self._url}, and {self._failed_in_a_row} items in a row got none after {self._options.attempts} attempts "
                f"each (last: {what}); what was answered is stored. Run the same command again once the endpoint is back."
            )

    async def _attempts(self, prompt: list[dict[str, str]]) -> Reply:
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_any

        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_TransientError),
            stop=stop_any(stop_after_attempt(self._options.attempts), lambda state: self._stop.is_set()),
            wait=self._pause,
            sleep=lambda seconds: patient(seconds, self._stop),
            reraise=True,
        )
        return await attempts(self._attempt, prompt)

    def _pause(self, state: RetryCallState) -> float:
        from tenacity import wait_exponential, wait_random

        error = state.outcome.exception() if state.outcome else None
        wanted_s = error.pause_s if isinstance(error, _TransientError) else 0.0
        first = self._options.backoff_s
        growing = wait_exponential(multiplier=first, max=LONGEST_PAUSE_S / 2) + wait_random(0, first)
        return min(max(wanted_s, growing(state)), LONGEST_PAUSE_S)

    async def _attempt(self, prompt: list[dict[str, str]]) -> Reply:
        await self._pace.turn()
        if self._stop.is_set():
            raise _TransientError("stopped before it was sent")
        started = time.perf_counter()
        body = await self._body_of_reply(prompt)
        took = round(time.perf_counter() - started, 4)
        if body is None:
            usage = self._usage({}, prompt, "x" * self._options.max_tokens * 4)
            return Reply(None, f"the reply is longer than {MAX_BODY} bytes", prompt, took, usage)
        text, fault, counted = _read(body)
        return Reply(text, fault, prompt, took, self._usage(counted, prompt, text or ""))

    async def _body_of_reply(self, prompt: list[dict[str, str]]) -> bytes | None:
        """Return the bytes of one reply; None for too many."""
        import openai

        create = self._open_client.chat.completions.with_streaming_response.create
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self._options.timeout_s),
                create(messages=[], model=self._model, extra_body=self._body(prompt)) as response,
            ):
                async for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY:
                        return None
        except openai.APIStatusError as error:
            raise self._classify(error) from error
        except (TimeoutError, openai.APITimeoutError) as error:
            raise _TransientError(f"no whole answer within {self._options.timeout_s:g} s") from error
        except openai.APIConnectionError as error:
            raise _TransientError(f"{error} {error.__cause__ or ''}".strip()) from error
        except openai.OpenAIError as error:
            raise PlayerError(f"The client cannot ask {self._url}: {self._hidden(str(error))}") from error
        except Exception as error:
            if "httpx" not in type(error).__module__:  # a connection that breaks while the answer is read
                raise
            raise _TransientError(f"{type(error).__name__}: {error}") from error
        return bytes(body)

    def _classify(self, error: Any) -> Exception:
        """Return the error that a status means for the item and the run."""
        status, text = error.status_code, self._hidden(f"{error} {error.code or ''}".strip())[:500]
        if status in TRANSIENT or status >= 500:
            if not any(word in text for word in _NO_MONEY):
                return _TransientError(text, _seconds(error.response.headers.get("retry-after")))
        elif status in (400, 413, 422) and any(word in text.lower() for word in _PROMPT_FAULTS):
            return _RefusedError(text)
        return PlayerError(
            f"Expected answers from {self._url}, and it refuses with {status}: {text}; "
            "what was answered is stored. Correct the key, --model or --request, and run again."
        )

    # ------------------------------------------------------------ what is sent and what it costs
    def _body(self, prompt: list[dict[str, str]]) -> dict[str, Any]:
        """Return the request's body; a field that `request` sets to None is left out."""
        options = self._options
        body: dict[str, Any] = {
            "model": self._model,
            "messages": prompt,
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
        }
        if options.temperature > 0:
            body["seed"] = options.seed
        body |= options.request
        return {key: value for key, value in body.items() if value is not None}

    def _usage(self, counted: Mapping[str, Any], prompt: list[dict[str, str]], text: str) -> dict[str, Any]:
        """Return tokens as the endpoint counted them; if it did not, an estimate from the characters, marked as such."""
        into, out = counted.get("prompt_tokens"), counted.get("completion_tokens")
        if isinstance(into, int) and isinstance(out, int) and min(into, out) >= 0:
            return {"prompt_tokens": into, "completion_tokens": out, "cost": self._cost(into, out)}
        into, out = round(sum(len(message["content"]) for message in prompt) / TOKEN), round(len(text) / TOKEN)
        return {"prompt_tokens": into, "completion_tokens": out, "cost": self._cost(into, out), "estimated": True}

    def _cost(self, prompt_tokens: float, completion_tokens: float) -> float | None:
        into, out = self._options.price_in, self._options.price_out
        return None if into is None or out is None else round((prompt_tokens * into + completion_tokens * out) / 1e6, 9)

    def _hidden(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    async def _only_model(self) -> str:
        import openai

        async with self._client() as client:
            try:
                served = [model.id async for model in client.models.list()]
            except (openai.OpenAIError, ValueError) as error:
                raise PlayerError(
                    f"Expected the list of models at {self._url}, and got {type(error).__name__}: {self._hidden(str(error))[:300]}; "
                    "start the endpoint, or name the model with --model."
                ) from error
        if len(served) != 1:
            raise BadRequestError(
                f"Expected --model, since {self._url} serves {len(served)} models ({', '.join(sorted(served)[:20])}); name one of them."
            )
        return served[0]


# ---------------------------------------------------------------- what came
def _read(body: bytes) -> tuple[str | None, str, Mapping[str, Any]]:
    """Return text, fault and token counts of a reply's body.

    Raises:
        _TransientError: it is no JSON object.
    """
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _TransientError(f"an answer that is no JSON: {body[:80]!r}") from error
    if not isinstance(reply, dict):
        raise _TransientError(f"an answer that is no JSON object: {body[:80]!r}")
    counted = reply.get("usage")
    try:
        content = reply["choices"][0]["message"].get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        content = None
    text = cut(content) if isinstance(content, str) else None
    return text, "" if text else "the model gave nothing", counted if isinstance(counted, dict) else {}


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0


# ---------------------------------------------------------------- before anything is asked
def _require_libraries() -> None:
    try:
        import openai
        import tenacity  # noqa: F401
    except ImportError as error:
        raise OpenSOCError(
            f"Expected {error.name} for an endpoint, and it is not installed; install the extra `eval`."
        ) from error
    del openai


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
        raise BadRequestError(
            "Expected an endpoint such as http://localhost:8000/v1, without user, password or query (they would be stored with the run); "
            "give a key by --key-env."
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _key(variable: str) -> str:
    if variable and not os.environ.get(variable):
        raise BadRequestError(
            f"Expected the endpoint's key in the environment variable {variable}, and it is not set; set it or leave --key-env out."
        )
    return os.environ[variable] if variable else ""


def _check_limits(options: Options) -> None:
    if options.max_cost is not None and (options.price_in is None or options.price_out is None):
        raise BadRequestError("Expected --price-in and --price-out (USD per million tokens) with --max-cost; add them.")
