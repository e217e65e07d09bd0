"""Play OpenSOC over plain HTTP, one call after another: no event loop, no SDK, plain data in and out.

    with OpenSOCClient("http://127.0.0.1:7860") as client:
        result = client.reset(task="stage1_basic", mode="defender_only", seed=42)
        result = client.submit_triage("monitor", result["alert"]["log_id"], "Odd, and nothing explains it.")
        print(result.reward, client.grade()["ground_truth"]["explanation"])

One client plays one episode at a time; each thread needs its own client.
"""

from __future__ import annotations

import ipaddress
import json
import random
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Self

import httpx

DEFAULT_URL = "http://127.0.0.1:7860"
FIRST_WAIT_S = 0.2  # doubles from one try to the next
LONGEST_WAIT_S = 30.0  # if a server asks for more, the call fails
# No connection was made, so the server has seen nothing and any request may go again.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# The connection broke under way: the server may have acted on the request.
_BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError)


class OpenSOCClientError(Exception):
    """A call that failed, with the server's own sentence where there was one.

    Attributes:
        status: the HTTP status, or None where no answer came.
        detail: what the server said, or what went wrong on the way to it.
    """

    def __init__(self, message: str, *, status: int | None = None, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail or message


class StepResult(dict[str, Any]):
    """What `/reset` and `/step` answer: a dict whose main keys are attributes too.

    A key that the answer lacks is looked up in its observation: `result["alert"]` is `result["observation"]["alert"]`.
    """

    @property
    def observation(self) -> dict[str, Any]:
        """What the player whose turn it is may see."""
        return self["observation"]

    @property
    def reward(self) -> float | None:
        """Reward of this step; None after a reset."""
        return self["reward"]

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self["done"]

    @property
    def episode_id(self) -> str:
        """Name of the episode on the server."""
        return self["episode_id"]

    def __missing__(self, key: str) -> Any:
        observation = self.get("observation")
        if isinstance(observation, dict) and key in observation:
            return observation[key]
        raise KeyError(key)


class OpenSOCClient:
    """A synchronous HTTP client that remembers its episode and names it in every call.

    Usable with and without `with`. A call that finds no server, or gets 429 (wait), is tried again with growing
    pauses. A call whose connection breaks under way is repeated only if that does no harm: never a step, because
    the server may have played it, and a second one would answer for the next turn or fail for no visible reason.

    Args:
        base_url: where the server is, http or https.
        timeout_s: seconds to wait for one answer.
        retries: how often a call is repeated at most; 0 for never.
        headers: sent with every call, as for a private Space: `{"Authorization": "Bearer ..."}`.
        transport: replaces the network; for tests.
        sleep: called with the seconds to wait; for tests.

    Raises:
        ValueError: `base_url` is no http or https address.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        timeout_s: float = 30.0,
        *,
        retries: int = 3,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        url = _check_url(base_url)
        self.base_url = str(url).rstrip("/")
        self.episode_id: str | None = None
        self._playbooks: dict[str, str] = {}  # by their hashes
        self._retries = retries
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=url, timeout=timeout_s, headers=headers, transport=transport, trust_env=not _is_loopback(url.host)
        )
        # Closes the sockets of a client that was never closed, at the latest when the process ends.
        self._finalizer = weakref.finalize(self, self._http.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the episode stays on the server until it expires."""
        self._finalizer()

    def sync(self) -> Self:
        """Return this client, which is synchronous already, so that code written for the SDK's clients runs."""
        return self

    # ------------------------------------------------------------ the episode
    def reset(
        self, task: str = "stage1_basic", mode: str = "defender_only", seed: int | None = None, **options: Any
    ) -> StepResult:
        """Begin an episode and remember it.

        Args:
            task: `stage1_basic`, `stage2_multi`, `stage3_mixed` or `stage4_adversarial`.
            mode: `defender_only` or `self_play`.
            seed: the same seed gives the same episode; None lets the server choose.
            options: what else the server's `/reset` takes: `split`, `index`, `episode_id`, `playbook`; it refuses anything more. With
                `playbook="hash"` an observation comes without the playbook, most of its bytes, and the client fills it in: it asks for each text once.

        Raises:
            OpenSOCClientError: the server refused, or was not there.
        """
        body = {"task": task, "mode": mode, "seed": seed, **options}
        body = {name: value for name, value in body.items() if value is not None}
        # A second reset leaves at worst an unplayed episode behind, unless the caller chose its name.
        answer = self._call("POST", "/reset", body=body, repeatable="episode_id" not in options)
        result = self._with_playbook(answer)
        self.episode_id = result.episode_id
        return result

    def step(
        self,
        action: Any = None,
        *,
        task: str | None = None,
        mode: str | None = None,
        seed: int | None = None,
        **fields: Any,
    ) -> StepResult:
        """Play one turn: `step({"submit_triage": {...}})` or `step(submit_triage={...})`.

        The server judges the action: a malformed answer is played and scored, and raises no error.

        Args:
            action: a dict or a pydantic model of one of the two actions.
            task: as in the call of `reset`, or None; the server refuses the step if the episode has another task.
            mode: likewise.
            seed: likewise.
            fields: the action by keyword, in place of `action`.

        Raises:
            OpenSOCClientError: no episode, not this player's turn, no action, or the connection broke under way
                (then `state()` tells whether the step was counted).
        """
        body = {**_as_dict(action), **fields}
        options = {"task": task, "mode": mode, "seed": None if seed is None else str(seed)}
        params = self._episode() | {name: value for name, value in options.items() if value is not None}
        return self._with_playbook(self._call("POST", "/step", body=body, params=params, repeatable=False))

    def submit_triage(
        self, action: str, cited_log_id: str, rationale: str, confidence: float | None = None
    ) -> StepResult:
        """Answer as the defender.

        Args:
            action: `dismiss`, `monitor`, `quarantine_host`, `block_ip` or `escalate`.
            cited_log_id: the line of the window that the answer rests on, such as `L1-3`.
            rationale: why, for a person to read.
            confidence: 0 to 1, recorded for calibration and never rewarded.
        """
        triage = {"action": action, "cited_log_id": cited_log_id, "rationale": rationale}
        if confidence is not None:
            triage["confidence"] = confidence  # type: ignore[assignment]
        return self.step(submit_triage=triage)

    def craft_incident(
        self, target_label: str, category: str, events: list[dict[str, Any]], narrative: str = ""
    ) -> StepResult:
        """Write the incident as the attacker, in `self_play`.

        Args:
            target_label: the decision that the author says the incident deserves; never trusted.
            category: an ATT&CK tactic in snake_case, or `benign_activity`; names such as `c2_beacon` mean their tactic.
            events: rows of `{event_type, fields, timestamp, log_id}`.
            narrative: what a reporter adds; never read by the verifier.
        """
        incident = {"target_label": target_label, "category": category, "events": events, "narrative": narrative}
        return self.step(craft_incident=incident)

    def state(self) -> dict[str, Any]:
        """Return whose turn it is, how many steps were taken, and whether the episode is over."""
        return self._call("GET", "/state", params=self._episode())

    def grade(self) -> dict[str, Any]:
        """Return how the finished episode was judged: components, ground truth, findings, evidence, explanation.

        Raises:
            OpenSOCClientError: with status 409 while the episode runs.
        """
        return self._call("GET", "/grade", params=self._episode())

    # ------------------------------------------------------------ the server
    def tasks(self) -> Any:
        """List the tasks, modes and splits that the server offers."""
        return self._call("GET", "/tasks")

    def health(self) -> dict[str, Any]:
        """Return `{"status": "healthy"}` while the server is up."""
        return self._call("GET", "/health")

    def playbook(self, playbook_hash: str) -> str:
        """Return the playbook of a hash, from the server when it is asked for the first time."""
        if playbook_hash not in self._playbooks:
            self._playbooks[playbook_hash] = self._call("GET", f"/playbook/{playbook_hash}")["playbook"]
        return self._playbooks[playbook_hash]

    # ------------------------------------------------------------ on the wire
    def _with_playbook(self, answer: dict[str, Any]) -> StepResult:
        """Make the result of an answer; where its observation holds a playbook's hash, fill the text in."""
        result = StepResult(answer)
        if name := result.observation.get("playbook_hash"):
            result.observation["playbook"] = self.playbook(name)
        return result

    def _episode(self) -> dict[str, str]:
        if self.episode_id is None:
            raise OpenSOCClientError("Expected an episode, and this client has none: call reset() first.")
        return {"episode_id": self.episode_id}

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        repeatable: bool = True,
    ) -> Any:
        """Send one request, repeat it if that is safe, and return the JSON of the answer."""
        content = None if body is None else _json_bytes(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        for tries_left in range(self._retries, -1, -1):
            wait_s = FIRST_WAIT_S * 2 ** (self._retries - tries_left) * random.uniform(0.75, 1.25)
            try:
                answer = self._http.request(method, path, content=content, params=params, headers=headers)
            except _NOT_SENT as error:
                if not tries_left:
                    raise self._unreachable(error) from error
            except _BROKEN as error:
                if not tries_left or not repeatable:
                    raise _broken(method, path, error, repeatable) from error
            except httpx.HTTPError as error:
                raise _broken(method, path, error, repeatable) from error
            else:
                requested_s = _retry_after_s(answer) if answer.status_code == 429 else None
                if answer.status_code != 429 or not tries_left or (requested_s or 0) > LONGEST_WAIT_S:
                    return _payload(answer)
                wait_s = wait_s if requested_s is None else requested_s
            self._sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    def _unreachable(self, error: Exception) -> OpenSOCClientError:
        return OpenSOCClientError(
            f"Expected an OpenSOC server at {self.base_url}, and nothing answered ({error}): "
            "start one with `make serve`, or give another base_url."
        )


def _check_url(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"Expected base_url as in {DEFAULT_URL}, and {base_url!r} came.")
    return url


def _is_loopback(host: str) -> bool:
    """Tell whether a host is this machine; no proxy of the environment can reach it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _as_dict(action: Any) -> dict[str, Any]:
    """Return the action as a dict; of a pydantic model, only the fields that were set."""
    if action is None:
        return {}
    if hasattr(action, "model_dump"):
        return action.model_dump(exclude_unset=True)
    if isinstance(action, Mapping):
        return dict(action)
    raise OpenSOCClientError(
        f'Expected an action such as {{"submit_triage": {{...}}}}, and a {type(action).__name__} came.'
    )


def _json_bytes(body: dict[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise OpenSOCClientError(
            f"Expected plain data that JSON can carry (no NaN, no objects), and this did not fit: {error}."
        ) from error


def _retry_after_s(answer: httpx.Response) -> float | None:
    """Read the seconds that the server asks to wait; None if it names none, or a date, which our server never sends."""
    try:
        return max(0.0, float(answer.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _broken(method: str, path: str, error: Exception, repeatable: bool) -> OpenSOCClientError:
    what = f"{method} {path} was sent and no answer came back ({error or type(error).__name__})"
    if repeatable:
        return OpenSOCClientError(f"{what}: try again.")
    return OpenSOCClientError(
        f"{what}, so it may have been played: it is not sent a second time. Ask state() whether it was counted."
    )


def _payload(answer: httpx.Response) -> Any:
    """Read the JSON of an answer, or raise an error with the server's sentence."""
    try:
        payload = answer.json()
    except ValueError:
        payload = None
    request = f"{answer.request.method} {answer.request.url.path}"
    if not answer.is_success:
        detail = _detail(payload) or answer.text[:200] or answer.reason_phrase
        raise OpenSOCClientError(
            f"{request} got {answer.status_code}: {detail}", status=answer.status_code, detail=detail
        )
    if payload is None:
        raise OpenSOCClientError(
            f"{request} was answered with something else than JSON: is {answer.request.url} an OpenSOC server?",
            status=answer.status_code,
        )
    return payload


def _detail(payload: Any) -> str:
    """Read the sentence in `{"detail": ...}`; the web framework's own list of complaints becomes one line."""
    detail = payload.get("detail") if isinstance(payload, dict) else None
    if isinstance(detail, list):
        return "; ".join(str(row.get("msg", row)) if isinstance(row, dict) else str(row) for row in detail)
    return "" if detail is None else str(detail)
