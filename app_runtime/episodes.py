"""Store the running HTTP episodes: who may play which, for how long, and what happens when there are too many.

Everything here runs on the server's event loop without an await, and a step takes microseconds: each request is atomic
and nothing is locked. An episode dies with its process; several processes need a balancer that keeps a caller on one.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from env import Observation, OpenSOCEnv
from schema import MODES, TASKS, shown

from .quota import HOLDER, NoPlaceError, Shares
from .refusal import Refusal


@dataclass(slots=True, eq=False)
class Episode:
    """One episode and what distinguishes it from others.

    `owners` are the callers that own the episode, `begun` counts the resets of the store. `trail` is a digest of the reset's arguments
    and of the actions so far: episodes of one trail are the same game at the same point, and have the same grade.
    """

    env: OpenSOCEnv
    episode_id: str
    owners: tuple[str, ...]
    task: str
    mode: str
    seed: int | None
    trail: bytes
    begun: int
    is_named: bool  # by its client
    holder: str  # the address that began it
    done: bool = False
    expires_at: float = 0.0

    def fits(self, task: str | None, mode: str | None, seed: int | None) -> bool:
        """Return whether the episode was reset with these; None fits everything."""
        return task in (None, self.task) and mode in (None, self.mode) and seed in (None, self.seed)


class Named(NamedTuple):
    """A call that names an episode by the id that its client chose."""

    owner: str
    name: str


class Unnamed(NamedTuple):
    """A call that says by task, mode and seed which episode it means; a seed of None is any."""

    owner: str
    task: str
    mode: str
    seed: int | None


class Evicted(NamedTuple):
    """What is kept of an episode that made room, until it would have expired: its caller may still ask, and must not get another's grade."""

    until: float
    calls: tuple[Named | Unnamed, ...]
    trail: bytes
    done: bool


class Group:
    """Episodes in the order of /reset, and how many there are of each trail, evicted ones too. All that is asked of it takes the same time for one and for thousands."""

    __slots__ = ("episodes", "games")

    def __init__(self) -> None:
        self.episodes: dict[Episode, None] = {}
        self.games: dict[bytes, int] = {}

    def add(self, episode: Episode) -> None:
        """Add an episode that has just begun."""
        self.episodes[episode] = None
        self.count(episode.trail, 1)

    def discard(self, episode: Episode) -> None:
        """Take an episode out, where it is in."""
        if episode in self.episodes:
            del self.episodes[episode]
            self.count(episode.trail, -1)

    def move(self, old: bytes, new: bytes) -> None:
        """Count an episode under its new trail."""
        self.count(old, -1)
        self.count(new, 1)

    def count(self, trail: bytes, change: int) -> None:
        """Count so many more of a trail."""
        self.games[trail] = self.games.get(trail, 0) + change
        if not self.games[trail]:
            del self.games[trail]


class Candidates:
    """The episodes that a call may mean: all, and the running ones among them."""

    __slots__ = ("all", "running")

    def __init__(self) -> None:
        self.all, self.running = Group(), Group()

    def count(self, gone: Evicted, change: int) -> None:
        """Count an evicted episode, or no longer."""
        self.all.count(gone.trail, change)
        if not gone.done:
            self.running.count(gone.trail, change)


class Episodes:
    """A bounded store of episodes.

    An episode lives `ttl_s` seconds from its last use, finished or not, so that /grade works after the end. When the
    store is full, the address that holds most episodes gives one to a newcomer: a finished one if it has any, else a running one, of
    either the one used least recently (`quota.Shares`). An address that holds most itself, all of them running, is turned down (429).
    What made room goes on being a rival of its like until it would have expired, as far as the last `max_episodes` of them.

    Nobody can guess an id that the server made, so the id alone suffices to play the episode. An id that the client
    chose can be guessed, so it is looked up only among the caller's own episodes.
    """

    def __init__(
        self,
        make_env: Callable[[], OpenSOCEnv],
        *,
        max_episodes: int,
        ttl_s: float,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_env = make_env
        self._max = max_episodes
        self._shares: Shares[Episode] = Shares(max_episodes, share)
        self._ttl_s = ttl_s
        self._clock = clock
        self._begun = 0
        # Each in the order of last use, and so of expiry: what is used moves to the end.
        self._running: OrderedDict[Episode, None] = OrderedDict()
        self._finished: OrderedDict[Episode, None] = OrderedDict()
        self._by_id: dict[str, Episode] = {}  # ids that the server made
        self._by_call: dict[Named | Unnamed, Candidates] = {}
        self._evicted: deque[Evicted] = deque()  # the last ones

    def __len__(self) -> int:
        return len(self._running) + len(self._finished)

    @property
    def is_full(self) -> bool:
        """Whether a newcomer's place would cost somebody modest a running episode."""
        self._sweep()
        return self._shares.is_full and not self._finished

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
            self._check_free(name, owners)
        holder = HOLDER.get()
        loser = self._loser_to(holder)
        env = self._make_env()
        episode_id = name or secrets.token_urlsafe(16)
        observation = env.reset(episode_id=episode_id, **arguments)
        if loser:  # only now: a reset that is refused costs nobody an episode
            self._evict(loser)
        self._begun += 1
        episode = Episode(
            env,
            episode_id,
            tuple(owners),
            observation.task,
            observation.mode,
            arguments.get("seed"),
            _origin(arguments, observation),
            self._begun,
            name is not None,
            holder,
        )
        if name is None:
            self._by_id[episode_id] = episode
        for owner in owners:
            for call in _calls_for(owner, episode):
                group = self._by_call.setdefault(call, Candidates())
                group.all.add(episode)
                group.running.add(episode)
        self._use(episode)
        return episode, observation

    def step(self, episode: Episode, action: dict[str, Any]) -> Observation:
        """Play one turn of an episode; `action` is `{"submit_triage": ...}` or `{"craft_incident": ...}`."""
        observation = episode.env.step(action)
        trail = _digest(episode.trail, json.dumps(action, sort_keys=True))
        for group in self._groups_of(episode):
            group.all.move(episode.trail, trail)
            if observation.done:
                group.running.discard(episode)
            else:
                group.running.move(episode.trail, trail)
        episode.trail, episode.done = trail, observation.done
        if episode.done:
            self._running.pop(episode, None)
        self._use(episode)
        return observation

    # ------------------------------------------------------------ finding
    def find(
        self, episode_id: str, owner: str | None = None, *, certain: bool = False, to_play: bool = False
    ) -> Episode:
        """Find the episode of that id; only its owner finds an episode whose id the client chose. See `latest` for the arguments.

        Raises:
            Refusal: 404, in the same words for an id that never was, has expired, or is somebody else's; 409 for a name that several callers
                of one address have given to different games.
        """
        self._sweep()
        episode = self._by_id.get(episode_id)
        if episode is None and owner is not None and (groups := self._known([Named(owner, episode_id)])):
            episode = _meant(groups, certain, to_play, "Choose a name that nobody else takes, or none and send")
        if episode is None:
            raise Refusal(
                404,
                f"No episode {shown(episode_id)} is known here: it has expired, made room on a full server, is not yours, or never was. "
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
        to_play: bool = False,
    ) -> Episode:
        """Find the episode of a call that names none: the caller's last /reset of that task, mode and seed.

        An owner that may be several callers gets an answer only where it is the same whichever of them asks: where all candidates are the
        same game at the same point. Candidates are the running episodes for a step, and all for anything else.

        Args:
            owner: the caller.
            certain: whether `owner` is surely one caller (a cookie) or may be several (an address).
            task: only episodes of this task; `mode` and `seed` likewise.
            to_play: whether the caller wants a running episode, to play it on.

        Raises:
            Refusal: 409 if there is none, or if it is ambiguous.
        """
        self._sweep()
        tasks, modes = (task,) if task else TASKS, (mode,) if mode else MODES
        groups = self._known([Unnamed(owner, one_task, one_mode, seed) for one_task in tasks for one_mode in modes])
        if not groups:
            raise Refusal(
                409, "No episode of yours fits this call. Call POST /reset first, with the same task, mode and seed."
            )
        episode = _meant(groups, certain, to_play, "Send")
        self._use(episode)
        return episode

    def claim(self, episode: Episode, owner: str) -> None:
        """Leave an episode to one of its owners, as a caller who sends the cookie back need not be known by an address."""
        if owner in episode.owners:
            for other in set(episode.owners) - {owner}:
                self._disown(episode, other)
            episode.owners = (owner,)

    def _known(self, calls: Sequence[Named | Unnamed]) -> list[Candidates]:
        """Return the candidates of some calls; none where all of them were evicted."""
        groups = [self._by_call[call] for call in calls if call in self._by_call]
        return groups if any(group.all.episodes for group in groups) else []

    def _groups_of(self, episode: Episode) -> Iterator[Candidates]:
        for owner in episode.owners:
            for call in _calls_for(owner, episode):
                yield self._by_call[call]

    # ------------------------------------------------------------ keeping
    def _use(self, episode: Episode) -> None:
        episode.expires_at = self._clock() + self._ttl_s
        group = self._finished if episode.done else self._running
        group[episode] = None
        group.move_to_end(episode)
        self._shares.put(episode, episode.holder, is_spent=episode.done)

    def _sweep(self) -> None:
        """Drop expired episodes; they stand at the front, so this costs nothing if there are none."""
        now = self._clock()
        for group in (self._running, self._finished):
            while group and (episode := next(iter(group))).expires_at <= now:
                self._drop(episode)
        while self._evicted and self._evicted[0].until <= now:
            self._forget()

    def _loser_to(self, holder: str) -> Episode | None:
        """Return the episode that must make room for one more of a caller; None where there is room."""
        try:
            return self._shares.to_give_up(holder)
        except NoPlaceError as error:
            wait_s = math.ceil(next(iter(self._running)).expires_at - self._clock())  # what expires now was swept
            raise Refusal(
                429,
                f"{error} Play one to its end, or over the WebSocket at /ws. Try again in {wait_s} s.",
                retry_after_s=wait_s,
            ) from None

    def _check_free(self, name: str, owners: Sequence[str]) -> None:
        for owner in owners:
            holders = self._by_call.get(Named(owner, name))
            if holders and holders.running.episodes:
                raise Refusal(
                    409,
                    f"Your episode {shown(name)} is still running. Play it to its end, or choose another episode_id.",
                )

    def _evict(self, episode: Episode) -> None:
        """Drop an episode before its time, and go on counting it as a rival of those like it."""
        calls = tuple(call for owner in episode.owners for call in _calls_for(owner, episode))
        gone = Evicted(episode.expires_at, calls, episode.trail, episode.done)
        for call in calls:
            self._by_call[call].count(gone, 1)
        self._drop(episode)
        self._evicted.append(gone)
        if len(self._evicted) > self._max:
            self._forget()

    def _forget(self) -> None:
        """Forget what was evicted the longest ago."""
        gone = self._evicted.popleft()
        for call in gone.calls:
            self._by_call[call].count(gone, -1)
            self._tidy(call)

    def _drop(self, episode: Episode) -> None:
        self._running.pop(episode, None)
        self._finished.pop(episode, None)
        self._shares.remove(episode)
        if not episode.is_named:
            del self._by_id[episode.episode_id]
        for owner in episode.owners:
            self._disown(episode, owner)
        episode.env.close()

    def _disown(self, episode: Episode, owner: str) -> None:
        for call in _calls_for(owner, episode):
            group = self._by_call[call]
            group.all.discard(episode)
            group.running.discard(episode)
            self._tidy(call)

    def _tidy(self, call: Named | Unnamed) -> None:
        if not self._by_call[call].all.games:
            del self._by_call[call]


def _calls_for(owner: str, episode: Episode) -> set[Named | Unnamed]:
    """List the calls of an owner that may mean an episode: with its seed, with none, and with the name that he gave it."""
    calls: set[Named | Unnamed] = {Unnamed(owner, episode.task, episode.mode, seed) for seed in (episode.seed, None)}
    return calls | {Named(owner, episode.episode_id)} if episode.is_named else calls


def _origin(arguments: Mapping[str, Any], observation: Observation) -> bytes:
    """Digest what decides an incident; where the server drew the seed, no other episode has the same."""
    seed, index = arguments.get("seed"), arguments.get("index")
    if seed is None and index is None:
        return secrets.token_bytes(16)
    split = arguments.get("split") or "train"
    return _digest(b"", json.dumps([seed, index, split, observation.task, observation.mode]))


def _digest(trail: bytes, text: str) -> bytes:
    return blake2b(trail + text.encode(), digest_size=16).digest()


def _meant(groups: list[Candidates], certain: bool, to_play: bool, advice: str) -> Episode:
    """Choose the episode that was reset last; see `Episodes.latest` for when that is allowed.

    Raises:
        Refusal: the episodes may be of several callers and are no equal games.
    """
    meant = [group.all for group in groups]
    if not certain:
        running = [group.running for group in groups if group.running.games]
        if not to_play:
            _check_equal(meant, advice)
        elif any(group.episodes for group in running):  # a step where none runs is refused, whichever is meant
            meant = running
            _check_equal(meant, advice)
    return max((next(reversed(group.episodes)) for group in meant if group.episodes), key=lambda each: each.begun)


def _check_equal(groups: list[Group], advice: str) -> None:
    if len(groups) == 1 and len(groups[0].games) == 1:
        return
    number = sum(sum(group.games.values()) for group in groups)
    raise Refusal(
        409,
        f"Expected a call that means one game, and this one fits {number} episodes of your address and program that differ: yours has "
        f"{number - 1} rival{'s' * (number > 2)}. {advice} the episode_id that POST /reset answered (in the query, in the body, or as the header "
        "X-Episode-Id), or send the cookie that came with it. The answer to the last /step holds the grade, too.",
    )
