"""Play by the embedded defender: a small model of our own that runs on onnxruntime, tokenizers and numpy alone.

    from players.embedded import load
    load().triage(observation).answer   # {"action": ..., "cited_log_id": ..., "rationale": ..., "confidence": ...}

`python -m train.nano.export CHECKPOINT` writes what it reads, models/defender/: model.onnx, tokenizer.json and defender.json. It needs no torch and no
transformers, so server, demo and evaluation can all use it. Greedy: the same observation gets the same answer.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from players.base import Density, Options, Player, Reply, Row, cut
from players.compact import is_silent
from players.noticing import Noticed, before, left_out, named_in, tokens_at
from players.prompt import messages
from players.reasons import NO_REASONS, RUNGS, Chain, parse_chain, rungs_of, write_end, write_reason
from players.reply import Parsed, parse
from players.weights import ABOUT, about_file, check_text_version
from schema import LABELS, BadRequestError, OpenSOCError, faults

MODEL = Path(__file__).resolve().parent.parent / "models" / "defender"
GRAPH, TOKENIZER = "model.onnx", "tokenizer.json"
MAKE = "make it with `python -m train.nano.export CHECKPOINT`"
CHUNK = 256  # tokens of a prompt that are read at once: later ones look back at them, so attention to what comes later costs nothing
FINDS = "finds"  # the output of a graph that notices findings, a logit for each token
ASKS_ACTION = '"action": "'  # after it a reply names its action
ASKS_REASONS = '"rationale": "'  # after it a reply names its first rule, or `so=nothing`


class Certainty(NamedTuple):
    """How sure a model was of a reply up to its action: natural logarithms of probabilities, at most 0.

    `action` is that of the action among the five, `reply` of all tokens together, `weakest` of the least likely one, `mean` of one on average.
    """

    action: float
    reply: float
    weakest: float
    mean: float


class Reliability(BaseModel):
    """How stated confidence agrees with what is right: `ece` and `brier` as in docs/evaluation.md, `_before` with the action's probability as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n: int = Field(ge=1, description="answers that name an action")
    ece: float
    brier: float
    ece_before: float
    brier_before: float


class Calibration(BaseModel):
    """What a confidence is: one figure of `Certainty`, divided by a temperature. Figure and temperature are chosen on `val` (`train.nano.calibration`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    of: Literal["action", "reply", "weakest", "mean"]
    temperature: float = Field(gt=0)
    stated: bool = Field(description="whether answers state it: its error on `test_seed` is small enough")
    val: Reliability
    test_seed: Reliability

    def confidence(self, certainty: Certainty) -> float:
        """Return the probability that an answer is right, from 0 to 1."""
        return math.exp(getattr(certainty, self.of) / self.temperature)


class About(BaseModel):
    """`defender.json`: what decoding needs, and where the model comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[2] = 2
    seat: Literal["defender", "attacker"] = Field("defender", description="who it plays")
    files: dict[str, str] = Field(description="sha256 of the graph and the tokenizer")
    template: tuple[str, str, str] = Field(description="what stands before, between and after system and user message")
    end: int = Field(ge=0, description="the token that ends an answer")
    context: int = Field(ge=2, description="tokens of prompt and answer together, at most")
    longest: int = Field(ge=1, description="tokens of an answer, at most")
    density: Density
    text_version: int = Field(description="the version of the compact text that the model learned")
    precision: Literal["float32", "int8"]
    parameters: int = Field(ge=1)
    checkpoint: str
    commit: str
    made: dict[str, Any] = Field(
        description="what the checkpoint says of its training, and `runs`, the commands that led to it"
    )
    measured: dict[str, Any] = Field(description="what the export measured")
    calibration: Calibration | None = Field(description="None where no confidence could be fitted")
    nothing_from: float = Field(
        0.0,
        ge=0,
        le=1,
        description="how likely it must be, at least, that nothing was found, for a reply to begin so; the likeliest rule begins it else "
        "(chosen on `val` and `val_family`, `train.nano.caution`)",
    )
    notice_from: float | None = Field(
        None,
        ge=0,
        le=1,
        description="how likely it must be, at least, that a rule finds something at a line that names it, for the chain to say so (chosen on `val` and `val_family`, "
        "`train.nano.noticing`); None where the graph notices nothing",
    )
    by_ladder: bool = Field(
        False,
        description="whether the end of a chain, and the action, are those that its own reasons lead to by the ladder; the model writes them freely else",
    )

    def chat(self, prompt: Sequence[Mapping[str, str]]) -> str:
        """Put a system and a user message into the model's template, up to where its answer begins."""
        before, between, after = self.template
        return f"{before}{prompt[0]['content']}{between}{prompt[1]['content']}{after}"

    def check_defender(self, directory: Path, advice: str = "") -> None:
        """See that the export plays the defender's seat.

        Args:
            directory: where it lies.
            advice: what the refusal ends with.

        Raises:
            BadRequestError: it is an attacker's.
        """
        if self.seat != "defender":
            raise BadRequestError(
                f"Expected an exported defender in {str(directory)!r}, and found an {self.seat}{advice}."
            )

    @property
    def fingerprint(self) -> str:
        """Return a hash that tells exports apart which may answer differently."""
        decisive = {
            "files": self.files,
            "template": self.template,
            "end": self.end,
            "context": self.context,
            "longest": self.longest,
            "calibration": self.calibration and self.calibration.model_dump(include={"of", "temperature", "stated"}),
            **({"nothing_from": self.nothing_from} if self.nothing_from else {}),
            **({"by_ladder": True} if self.by_ladder else {}),
            **({} if self.notice_from is None else {"notice_from": self.notice_from}),
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


class Generation(NamedTuple):
    """The model's reply to one observation.

    `text` is the reply as it stands, None where it gave none; `fault` then says why. `tokens` are those of the reply without the end token.
    `certainty` is None where the reply names no action, `confidence` there and where the model's is not to be trusted. `nothing` is how likely the model held it,
    from 0 to 1, that nothing was found; None where it did not come to say so, or another reply was likelier.
    `noticed` is what it noticed at the lines; empty where the graph notices nothing.
    """

    text: str | None
    fault: str
    prompt: list[dict[str, str]]
    prompt_tokens: int
    tokens: list[int]
    certainty: Certainty | None = None
    confidence: float | None = None
    nothing: float | None = None
    noticed: Sequence[Noticed] = ()


@dataclass
class Draft:
    """A reply as it is written: its tokens, the natural logarithms of their probabilities, how sure it is, and how likely "nothing" was."""

    tokens: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    certainty: Certainty | None = None
    nothing: float | None = None


class Embedded:
    """An exported model.

    Args:
        directory: what `train.nano.export` wrote.

    Raises:
        BadRequestError: there is no model, it learned another version of the compact text, or a file of it is missing, damaged or of another export.
        OpenSOCError: onnxruntime or tokenizers is not installed.
    """

    def __init__(self, directory: Path | str = MODEL) -> None:
        ort, tokenizers = _libraries()
        directory = Path(directory)
        self.about, _, tokenizer = read_export(directory)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        try:
            # by its path: onnxruntime keeps a second copy of a graph that is given as bytes
            self._session = ort.InferenceSession(directory / GRAPH, options, providers=["CPUExecutionProvider"])
            self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer.decode())
        except Exception as error:  # both libraries raise bare ones
            raise BadRequestError(
                f"Expected an exported defender in {str(directory)!r}, and loading it gave {str(error)[:200]!r}; {MAKE}."
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        firsts = [self._tokenizer.encode(label, add_special_tokens=False).ids[0] for label in LABELS]
        self._firsts = firsts if len(set(firsts)) == len(firsts) else []
        self._nothing = self._tokenizer.encode(NO_REASONS, add_special_tokens=False).ids[0]

    @property
    def notices(self) -> bool:
        """Whether the graph says which rules find something at the lines that name them."""
        return _notices(self._session)

    def generate(
        self,
        observation: Mapping[str, Any],
        *,
        longest: int | None = None,
        nothing_from: float | None = None,
        by_ladder: bool | None = None,
        notice_from: float | None = None,
    ) -> Generation:
        """Generate the reply to an observation.

        Args:
            observation: what `reset` shows the defender.
            longest: tokens of the reply at most; never more than the model's own limit.
            nothing_from: in place of the model's own, from 0 (the likeliest reply) to more than 1 (never nothing).
            by_ladder: in place of the model's own.
            notice_from: in place of the model's own, from 0 (whatever a line names) to more than 1 (nothing).

        Raises:
            BadRequestError: it is no defender's observation.
        """
        prompt = messages(observation, density=self.about.density)
        text = self.about.chat(prompt)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        read, longest = list(encoding.ids), min(longest or self.about.longest, self.about.longest)
        room = self.about.context - longest
        if len(read) > room:
            fault = f"the prompt has {len(read)} tokens, and the model has room for {room} before its answer"
            return Generation(None, fault, prompt, len(read), [])
        follows = self.about.by_ladder if by_ladder is None else by_ladder
        ladder = partial(Ladder, self._encode, is_silent(observation)) if follows else lambda: None
        bound = self.about.notice_from if notice_from is None else notice_from
        reading = _Reading(self._session, len(read) + longest)
        logits, finds = reading.read(read)
        noticed = [] if finds is None else self._noticed(text, encoding.offsets, finds)
        draft = Draft()
        self._write(
            draft, reading, logits, longest, self.about.nothing_from if nothing_from is None else nothing_from, ladder()
        )
        if bound is not None and draft.certainty:

            def end(begun: Draft) -> None:
                reading.go_back(len(read))
                self._write(begun, reading, reading.step(begun.tokens), longest, 0.0, ladder())

            draft = self._amended(draft, noticed, bound, longest, end)
        reply, certainty, calibration = self._text(draft.tokens), draft.certainty, self.about.calibration
        if not reply.strip():
            return Generation(None, "the model gave nothing", prompt, len(read), draft.tokens, noticed=noticed)
        stated = calibration.confidence(certainty) if certainty and calibration and calibration.stated else None
        return Generation(reply, "", prompt, len(read), draft.tokens, certainty, stated, draft.nothing, noticed)

    def _noticed(self, text: str, offsets: Sequence[tuple[int, int]], finds: Any) -> list[Noticed]:
        """Return how likely the rules that the lines of a prompt name find something there."""
        named = named_in(text)
        return [
            Noticed(name.rule_id, name.log_id, (1 + math.tanh(float(finds[token]) / 2)) / 2)
            for name, token in zip(named, tokens_at(offsets, named), strict=True)
        ]

    def _amended(
        self, draft: Draft, noticed: Sequence[Noticed], bound: float, longest: int, end: Callable[[Draft], None]
    ) -> Draft:
        """Return a reply that says what was noticed, too; what does not come to an action then is left as it was.

        Args:
            draft: a reply with an action.
            noticed: in the order of the lines.
            bound: how likely it must be.
            longest: tokens of a reply at most.
            end: writes a reply that is begun anew to its end.
        """
        tried = set[str]()
        while left := [one for one in left_out(self._chain(draft), noticed, bound) if one.rule_id not in tried]:
            tried.add(left[0].rule_id)
            begun = self._begun(draft, left[0])
            if len(begun.tokens) < longest:
                end(begun)
            draft = begun if begun.certainty else draft
        return draft

    def _chain(self, draft: Draft) -> Chain:
        """Return the chain of a draft, as far as it is well formed."""
        _, _, rest = self._text(draft.tokens).partition(ASKS_REASONS)
        return parse_chain(rest.partition('"')[0])

    def _begun(self, draft: Draft, one: Noticed) -> Draft:
        """Begin a reply anew with the reasons before one that was noticed, and with its rule and line."""
        reply, kept = self._text(draft.tokens), before(self._chain(draft), one)
        opening = reply[: reply.index(ASKS_REASONS) + len(ASKS_REASONS)]
        parts = [*map(write_reason, kept), one.rule_id, one.log_id]
        tokens = self._encode(opening + " ".join(parts))
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(tokens, draft.tokens, strict=False)))
        return Draft(
            tokens, [*draft.logs[:same], math.log(max(one.likelihood, sys.float_info.min))], nothing=draft.nothing
        )

    def complete(
        self, prompt: list[dict[str, str]], *, choose: Callable[[Any], int] | None = None
    ) -> tuple[str | None, str]:
        """Complete a chat, and return the reply, or None and why there is none.

        Args:
            prompt: a system and a user message.
            choose: picks a token from its logits (float32 array [vocabulary]); the likeliest without it.
        """
        read, longest = self._read(prompt), self.about.longest
        room = self.about.context - longest
        if len(read) > room:
            return None, f"the prompt has {len(read)} tokens, and the model has room for {room} before its answer"
        reading = _Reading(self._session, len(read) + longest)
        logits, _ = reading.read(read)
        reply = self._text(list(self._tokens(reading, logits, longest, choose or likeliest)))
        return (reply, "") if reply.strip() else (None, "the model gave nothing")

    def triage(self, observation: Mapping[str, Any]) -> Parsed:
        """Return the answer to an observation with its confidence, or why the reply is malformed.

        Raises:
            BadRequestError: it is no defender's observation.
        """
        generation = self.generate(observation)
        if generation.text is None:
            return Parsed(None, generation.fault)
        parsed = parse(generation.text)
        if parsed.answer is None or generation.confidence is None:
            return parsed
        return Parsed({**parsed.answer, "confidence": round(generation.confidence, 4)}, "")

    def read(self, observation: Mapping[str, Any]) -> list[int]:
        """Return the tokens of an observation's prompt, as the model reads it.

        Raises:
            BadRequestError: it is no defender's observation.
        """
        return self._read(messages(observation, density=self.about.density))

    def _read(self, prompt: list[dict[str, str]]) -> list[int]:
        return self._encode(self.about.chat(prompt))

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _write(
        self, draft: Draft, reading: _Reading, logits: Any, longest: int, nothing_from: float, ladder: Ladder | None
    ) -> None:
        """Write a draft to its end.

        Its tokens are the likeliest at each step, but where "nothing" is not likely enough, or the ladder leaves no choice.
        """
        reply = draft.tokens

        def choose(logits: Any) -> int:
            token = likeliest(logits)
            if token == self._nothing and draft.nothing is None and self._text(reply).endswith(ASKS_REASONS):
                draft.nothing = math.exp(_log_share(logits, token))
                token = token if draft.nothing >= nothing_from else _likeliest_but(logits, token)
            if ladder:
                token = ladder.choose(token, logits, self._text(reply), self.pieces[token])
            if token == self.about.end:
                return token
            draft.logs.append(_log_share(logits, token))
            if token in self._firsts and self._text(reply).endswith(ASKS_ACTION):
                action, logs = _log_share(logits[self._firsts], self._firsts.index(token)), draft.logs
                draft.certainty = Certainty(action, sum(logs), min(logs), sum(logs) / len(logs))
            reply.append(token)
            return token

        for _ in self._tokens(reading, logits, longest - len(reply), choose):
            pass

    def _tokens(self, reading: _Reading, logits: Any, most: int, choose: Callable[[Any], int]) -> Iterator[int]:
        """Yield a reply's further tokens without its end, at most so many."""
        for number in range(most):
            token = choose(logits)
            if token == self.about.end:
                return
            yield token
            if number < most - 1:
                logits = reading.step([token])

    @cached_property
    def pieces(self) -> list[str]:
        """What each token writes; nothing for those that are no text."""
        return [self._text([token]) for token in range(self._tokenizer.get_vocab_size())]

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


class Ladder:
    """Keeps a reply to its own reasons: its chain ends, and its action is, as they lead to by the ladder.

    The model says what it found, and where suspicious findings may bear each other out, whether they do. What follows from that is no matter of opinion.

    Args:
        encode: makes tokens of a text.
        silent: whether the sensor behind the alert was silent.
    """

    def __init__(self, encode: Callable[[str], list[int]], silent: bool) -> None:
        self._encode, self._silent = encode, silent
        self._next: list[int] = []
        self._rung = ""

    def choose(self, token: int, logits: Any, reply: str, piece: str) -> int:
        """Return the next token of a reply.

        Args:
            token: what the model would write next; it is kept where the ladder says nothing.
            logits: of all tokens, float32 array [vocabulary].
            reply: what is written.
            piece: what `token` writes.
        """
        if self._next:
            return self._next.pop(0)
        if self._rung:
            return self._encode(RUNGS[self._rung][0])[0] if reply.endswith(ASKS_ACTION) else token
        _, asked, rationale = reply.partition(ASKS_REASONS)
        space = " " if rationale else ""
        if not asked or '"' in rationale or not _ends_chain(piece if rationale else f" {piece}"):
            return token
        chain = parse_chain(f"{rationale}{space}{NO_REASONS}nothing")
        if not chain.rung:  # what stands there is no chain
            return token
        ends = {
            rung: self._encode(space + write_end(rung, together))
            for rung, together in rungs_of(chain.reasons, silent=self._silent)
        }
        self._rung, (first, *self._next) = max(ends.items(), key=lambda end: logits[end[1][0]])
        return first


def _ends_chain(piece: str) -> bool:
    """Tell whether a piece of text, with the space before it, begins the end of a chain: a rule's name may begin alike."""
    end = f" {NO_REASONS}"
    return piece.startswith(end) or (piece.startswith(" s") and end.startswith(piece))


def likeliest(logits: Any) -> int:
    """Return the token with the largest logit."""
    return int(logits.argmax())


def _likeliest_but(logits: Any, token: int) -> int:
    """Return the likeliest of the other tokens."""
    others = logits.copy()
    others[token] = -math.inf
    return likeliest(others)


def _log_share(logits: Any, index: int) -> float:
    """Return the natural logarithm of a token's probability."""
    import numpy as np

    return -float(np.log(np.exp(logits - logits[index]).sum()))


class _Reading:
    """One text as it is read and written: its cache has room for `room` tokens, and attention writes into it in place."""

    def __init__(self, session: Any, room: int) -> None:
        import numpy as np
        import onnxruntime as ort

        self._session, self._total = session, 0
        self._writing = session.io_binding()
        self._reading = session.io_binding() if _notices(session) else self._writing
        self._logits = ort.OrtValue.ortvalue_from_shape_and_type(session.get_outputs()[0].shape, np.float32)
        bindings = (self._writing, self._reading) if _notices(session) else (self._writing,)
        for binding in bindings:
            binding.bind_ortvalue_output("logits", self._logits)
        for past in session.get_inputs()[2:]:
            _, heads, _, width = past.shape
            cached = ort.OrtValue.ortvalue_from_numpy(np.zeros((1, heads, room, width), dtype=np.float32))
            for binding in bindings:
                binding.bind_ortvalue_input(past.name, cached)
                binding.bind_ortvalue_output(past.name.removeprefix("past_"), cached)

    def read(self, tokens: list[int]) -> tuple[Any, Any]:
        """Read a prompt.

        Returns:
            The logits after it (float32 array [vocabulary]), and of each token how sure the model is that it names a rule which finds
            something in its line (logits, float32 array [tokens]); None where the graph notices nothing.
        """
        import numpy as np
        import onnxruntime as ort

        noticed = []
        for start in range(0, len(tokens), CHUNK):
            part = tokens[start : start + CHUNK]
            if self._reading is not self._writing:
                finds = ort.OrtValue.ortvalue_from_shape_and_type([1, len(part)], np.float32)
                self._reading.bind_ortvalue_output(FINDS, finds)
                noticed.append(finds)
            logits = self._run(self._reading, part)
        return logits, np.concatenate([finds.numpy()[0] for finds in noticed]) if noticed else None

    def step(self, tokens: list[int]) -> Any:
        """Read some more tokens, and return the logits after the last: float32 array [vocabulary]."""
        return self._run(self._writing, tokens)

    def go_back(self, total: int) -> None:
        """Forget all but the first tokens; what is read next takes the places of the rest."""
        self._total = total

    def _run(self, binding: Any, tokens: list[int]) -> Any:
        import numpy as np

        self._total += len(tokens)
        binding.bind_cpu_input("tokens", np.array([tokens], dtype=np.int64))
        binding.bind_cpu_input("total", np.array(self._total, dtype=np.int32))
        self._session.run_with_iobinding(binding)
        return self._logits.numpy()[0, 0]


def _notices(session: Any) -> bool:
    return any(output.name == FINDS for output in session.get_outputs())


@lru_cache(maxsize=2)
def load(directory: Path = MODEL) -> Embedded:
    """Load the model of a directory once; its generations may be asked for from several threads.

    Raises:
        BadRequestError, OpenSOCError: as `Embedded`.
    """
    return Embedded(directory)


def _libraries() -> tuple[Any, Any]:
    try:
        import onnxruntime
        import tokenizers
    except ImportError as error:
        raise OpenSOCError(
            f"Expected {error.name} for the embedded defender, and it is not installed; install requirements.txt."
        ) from error
    return onnxruntime, tokenizers


def read_export(directory: Path, *, any_text: bool = False) -> tuple[About, bytes, bytes]:
    """Read the description, the graph and the tokenizer, all of one export.

    Args:
        directory: what `train.nano.export` wrote.
        any_text: whether it may have learned another version of the compact text: to train on it, not to play it.

    Raises:
        BadRequestError: there is no model, it learned another version of the compact text, or a file of it is missing, damaged or of another export.
    """
    if not directory.is_dir():
        raise BadRequestError(
            f"Expected an exported defender in {str(directory)!r}, and there is no such directory; {MAKE}."
        )
    try:
        described = about_file(directory).read_bytes()
        if not any_text:
            _check_text(described, directory)
        about = About.model_validate_json(described)
        graph, tokenizer = ((directory / name).read_bytes() for name in (GRAPH, TOKENIZER))
    except OSError as error:
        raise BadRequestError(
            f"Expected {ABOUT}, {GRAPH} and {TOKENIZER} in {str(directory)!r}, and could not read {error.filename!r} "
            f"({error.strerror}); {MAKE}."
        ) from error
    except ValidationError as error:
        raise BadRequestError(
            f"Expected {about_file(directory)} as train.nano.export writes it; {faults(error, ABOUT)}; {MAKE}."
        ) from error
    for name, content in ((GRAPH, graph), (TOKENIZER, tokenizer)):
        if hashlib.sha256(content).hexdigest() != about.files.get(name):
            raise BadRequestError(
                f"Expected {directory / name} as it was exported ({about.files.get(name)}), and its sha256 is another: it is damaged "
                f"or of another export; {MAKE}."
            )
    return about, graph, tokenizer


def _check_text(described: bytes, directory: Path) -> None:
    """See that the model learned this version of the text: before all else, since an older one's description differs, too."""
    try:
        about = json.loads(described)
    except ValueError:  # what is wrong with it is said by what reads it next
        return
    if isinstance(about, dict) and about.get("density") == "compact":
        check_text_version(about.get("text_version"), directory)


class EmbeddedModel(Player):
    """Generate greedily, an item on each core, from prompts of the density that the model was trained with, whatever `--density` says.

    A well-formed reply gains its `confidence`, the probability that it is right, if that of the model can be trusted.

    Args:
        options: max_tokens is read, and cannot lengthen an answer beyond the model's own limit.
        path: what `train.nano.export` wrote.

    Raises:
        BadRequestError: there is no exported model, or it is damaged.
        OpenSOCError: onnxruntime or tokenizers is not installed.
    """

    kind = "embedded"
    batch = 8

    def __init__(self, options: Options, path: Path = MODEL) -> None:
        super().__init__("embedded" if path == MODEL else path.resolve().name)
        self._model = Embedded(path)
        self._model.about.check_defender(path, "; give it as --attacker")
        self.density = self._model.about.density
        self._longest = min(options.max_tokens, self._model.about.longest)

    @property
    def settings(self) -> dict[str, Any]:
        """Return name, kind, a fingerprint of the export, and how it generates."""
        about = self._model.about
        how = {"precision": about.precision, "density": about.density, "max_tokens": self._longest}
        return {**super().settings, "fingerprint": about.fingerprint, **how}

    def answer(self, batch: Sequence[Row]) -> list[Reply]:
        """Reply to each row, on as many cores as there are."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(self._reply, batch))

    def _reply(self, row: Row) -> Reply:
        started = time.perf_counter()
        generation = self._model.generate(row["observation"], longest=self._longest)
        took_s = round(time.perf_counter() - started, 4)
        usage = {"prompt_tokens": generation.prompt_tokens, "completion_tokens": len(generation.tokens), "cost": None}
        return Reply(cut(_with_confidence(generation)), generation.fault, generation.prompt, took_s, usage)


def _with_confidence(generation: Generation) -> str | None:
    """Return the reply, with the confidence in its object if it is a well-formed one and nothing else."""
    if generation.text is None or generation.confidence is None or parse(generation.text).answer is None:
        return generation.text
    try:
        answer = json.loads(generation.text)
    except ValueError:  # there is more in the reply than the answer: it stays as it is
        return generation.text
    return json.dumps({**answer, "confidence": round(generation.confidence, 4)})
