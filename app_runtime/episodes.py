"""Store the running HTTP episodes: who may play which, for how long, and what happens when there are too many.

Everything here runs on the server's event loop without an await, and a step takes microseconds: each request is atomic
and nothing is locked. An episode dies with its process; several processes need a balancer that keeps a caller on one.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from env import Observation, OpenSOCEnv
from schema import shown

from .refusal import Refusal


@dataclass(slots=True, eq=False)
class Episode:
    """One episode and what distinguishes it from others.

    `owners` are the callers that own the episode; `begun` and `ended` are readings of one counter and show whether
    two episodes overlap. `origin` hashes the arguments of the reset, `trail` the actions so far. Episodes with
    equal hashes are interchangeable.
    """

    env: OpenSOCEnv
    episode_id: str
    owners: tuple[str, ...]
    task: str
    mode: str
    seed: int | None
    origin: int
    trail: int
    begun: int
    ended: int | None = None
    expires_at: float = 0.0

    def fits(self, task: str | None, mode: str | None, seed: int | None) -> bool:
        """Return whether the episode was reset with these; None fits everything."""
        return task in (None, self.task) and mode in (None, self.mode) and seed in (None, self.seed)


class Episodes:
    """A bounded store of episodes.

    An episode lives `ttl_s` seconds from its last use, finished or not, so that /grade works after the end. When the
    store is full the finished episode that was used least recently makes room; running ones are never dropped, so with
    none finished a newcomer is turned down (429).

    Nobody can guess an id that the server made, so the id alone suffices to play the episode. An id that the client
    chose can be guessed, so it is looked up only among the caller's own episodes.
    """

    def __init__(
        self,
        make_env: Callable[[], OpenSOCEnv],
        *,
        max_episodes: int,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_env = make_env
        self._max_episodes = max_episodes
        self._ttl_s = ttl_s
        self._clock = clock
        self._count = 0  # of resets and endings
        # Each in the order of last use, and so of expiry: what is used moves to the end.
        self._running: OrderedDict[Episode, None] = OrderedDict()
        self._finished: OrderedDict[Episode, None] = OrderedDict()
        self._by_id: dict[str, Episode] = {}  # ids that the server made
        self._by_owner: dict[str, dict[str, Episode]] = {}  # each in the order of /reset

    def __len__(self) -> int:
        return len(self._running) + len(self._finished)

    # ------------------------------------------------------------ playing
    def start(
        self, arguments: Mapping[str, Any], *, owners: Sequence[str] = (), name: str | None = None
    ) -> tuple[Episode, Observation]:
        """Reset a new environment and store its episode.

        Args:
            arguments: those of `OpenSOCEnv.reset`, but for the episode's id.
            owners: the callers whose episode this is.
            name: the id that the client chose, in the form of `shapes.NAME_PATTERN`; without one the server makes an id.

        Raises:
            Refusal: 409 for a name that the caller is using, 429 for a full store.
            BadRequestError: the environment refuses the arguments.
        """
        self._sweep()
        if name is not None:
            self._free(name, owners)
        self._make_room()
        env = self._make_env()
        episode_id = name or secrets.token_urlsafe(16)
        observation = env.reset(episode_id=episode_id, **arguments)
        seed, index = arguments.get("seed"), arguments.get("index")
        origin = secrets.randbits(64)
        if seed is not None or index is not None:
            origin = hash((seed, index, arguments.get("split"), observation.task, observation.mode))
        episode = Episode(
            env, episode_id, tuple(owners), observation.task, observation.mode, seed, origin, origin, self._tick()
        )
        if name is None:
            self._by_id[episode_id] = episode
        for owner in owners:
            self._by_owner.setdefault(owner, {})[episode_id] = episode
        self._use(episode)
        return episode, observation

    def step(self, episode: Episode, action: dict[str, Any]) -> Observation:
        """Play one turn of an episode; `action` is `{"submit_triage": ...}` or `{"craft_incident": ...}`."""
        observation = episode.env.step(action)
        episode.trail = hash((episode.trail, json.dumps(action, sort_keys=True)))
        if observation.done:
            episode.ended = self._tick()
            self._running.pop(episode, None)
        self._use(episode)
        return observation

    # ------------------------------------------------------------ finding
    def find(self, episode_id: str, owner: str | None = None) -> Episode:
        """Find the episode of that id; only its owner finds an episode whose id the client chose.

        Raises:
            Refusal: 404, in the same words for an id that never was, has expired, or is somebody else's.
        """
        self._sweep()
        episode = self._by_id.get(episode_id)
        if episode is None and owner is not None:
            episode = self._by_owner.get(owner, {}).get(episode_id)
        if episode is None:
            raise Refusal(
                404,
                f"No episode {shown(episode_id)} is known here: it has expired, is not yours, or never was. "
                "Send the episode_id that POST /reset answered, or call POST /reset.",
            )
        self._use(episode)
        return episode

    def latest(
        self,
        owner: str,
        *,
        certain: bool,
        task: str | None = None,
        mode: str | None = None,
        seed: int | None = None,
        done: bool | None = None,
    ) -> Episode:
        """Find the episode of a call that names none: the caller's last /reset of that task, mode and seed.

        Args:
            owner: the caller.
            certain: whether `owner` is surely one caller (a cookie) or may be several (an address). Episodes of several
                callers at the same time are ambiguous, unless the episodes are equal.
            task: only episodes of this task; `mode` and `seed` likewise.
            done: whether the caller wants a finished episode (True), a running one (False) or either.

        Raises:
            Refusal: 409 if there is none, or if it is ambiguous.
        """
        self._sweep()
        fitting = [episode for episode in self._by_owner.get(owner, {}).values() if episode.fits(task, mode, seed)]
        if not fitting:
            raise Refusal(
                409, "No episode of yours fits this call. Call POST /reset first, with the same task, mode and seed."
            )
        last = fitting[-1]
        if not certain:
            last = _choose([e for e in fitting if e.ended is None or e.ended > last.begun or e is last], done)
        self._use(last)
        return last

    def claim(self, episode: Episode, owner: str) -> None:
        """Leave an episode to one of its owners, as a caller who sends the cookie back need not be known by an address."""
        if owner in episode.owners:
            for other in set(episode.owners) - {owner}:
                self._disown(episode, other)
            episode.owners = (owner,)

    # ------------------------------------------------------------ keeping
    def _tick(self) -> int:
        self._count += 1
        return self._count

    def _use(self, episode: Episode) -> None:
        episode.expires_at = self._clock() + self._ttl_s
        group = self._running if episode.ended is None else self._finished
        group[episode] = None
        group.move_to_end(episode)

    def _sweep(self) -> None:
        """Drop expired episodes; they stand at the front, so this costs nothing if there are none."""
        now = self._clock()
        for group in (self._running, self._finished):
            while group and (episode := next(iter(group))).expires_at <= now:
                self._drop(episode)

    def _make_room(self) -> None:
        if len(self) < self._max_episodes:
            return
        if self._finished:
            return self._drop(next(iter(self._finished)))
        wait_s = max(1, math.ceil(next(iter(self._running)).expires_at - self._clock()))
        raise Refusal(
            429,
            f"All {self._max_episodes} places for episodes are taken by running ones. Try again in {wait_s} s, "
            "or play over the WebSocket at /ws.",
            retry_after_s=wait_s,
        )

    def _free(self, name: str, owners: Sequence[str]) -> None:
        """Drop the caller's finished episode of that name, so that the name is free."""
        for owner in owners:
            holder = self._by_owner.get(owner, {}).get(name)
            if holder is not None and holder.ended is None:
                raise Refusal(
                    409,
                    f"Your episode {shown(name)} is still running. Play it to its end, or choose another episode_id.",
                )
            if holder is not None:
                self._drop(holder)

    def _drop(self, episode: Episode) -> None:
        self._running.pop(episode, None)
        self._finished.pop(episode, None)
        if self._by_id.get(episode.episode_id) is episode:
            del self._by_id[episode.episode_id]
        for owner in episode.owners:
            self._disown(episode, owner)
        episode.env.close()

    def _disown(self, episode: Episode, owner: str) -> None:
        theirs = self._by_owner.get(owner, {})
        if theirs.get(episode.episode_id) is episode:
            del theirs[episode.episode_id]
        if not theirs:
            self._by_owner.pop(owner, None)


def _choose(rivals: list[Episode], done: bool | None) -> Episode:
    """Choose the episode among several that one address has had at the same time, if it does not matter which."""
    if len(rivals) == 1:
        return rivals[0]
    candidates = [episode for episode in rivals if (episode.ended is not None) is done] or rivals
    if len({episode.origin for episode in rivals}) > 1 or len({episode.trail for episode in candidates}) > 1:
        raise Refusal(
            409,
            "Several episodes ran from your address at the same time, and this call does not say which it means. "
            "Send the episode_id that POST /reset answered (in the query, in the body, or as the header X-Episode-Id), "
            "or keep the cookie that came with it.",
        )
    return candidates[-1]
