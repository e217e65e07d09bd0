"""What a deployment may set. Read here, once, from environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rubric import TableName
from schema import OpenSOCError, faults, shown

# HOST is left alone: shells and compilers set it to names that are no address to listen on.
_VARIABLES = {"port": "PORT"}
_PREFIX = "OPENSOC_"
_OF_OUR_TOOLS = frozenset(f"{_PREFIX}{name}" for name in ("SCREENSHOTS", "CHROMIUM", "PUSH_TO"))
_SPACE = re.compile(r"[\w.-]+/[\w.-]+")
_SECRETS = ("salt", "token")  # which no message repeats
_SHORTEST_S = 1.0  # what is shorter ends every episode before its answer can come
Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]


_SHORTEST_SALT = 16  # characters; shorter ones are found by trying them


def _without_slash(path: str) -> str:
    return path.rstrip("/")


def _moment(value: object) -> object:
    if isinstance(value, str) and ":" not in value:  # 1 would be a second of 1970
        raise ValueError("expected a moment such as 2027-01-31T12:00:00Z")
    return value


def _sources(value: str) -> str:
    if not value.isascii() or {"self", "none"}.intersection(value.lower().split()):
        raise ValueError("expected ASCII, and 'self' and 'none' with their quotes")
    return value


def _not_blank(value: str) -> str:
    if value and not value.strip():
        raise ValueError("expected a secret, got blanks")
    return value


class Settings(BaseModel):
    """Settings of one server process; each limit holds per process."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    host: str = "0.0.0.0"
    port: Annotated[int, Field(ge=0, le=65535)] = 7860
    also_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    salt: Annotated[str, Field(repr=False), AfterValidator(_not_blank)] = ""
    pool: Path | None = None
    root_path: Annotated[str, Field(pattern=r"^(/[\w~-][\w.~-]*)*/?$"), AfterValidator(_without_slash)] = ""
    frame_ancestors: Annotated[str, Field(pattern=r"^[^;,\s]+( [^;,\s]+)*$"), AfterValidator(_sources)] = (
        "'self' https://huggingface.co"
    )
    repository: Annotated[str, Field(pattern=r"^https?://[^\s\"'<>]+$"), AfterValidator(_without_slash)] = ""
    hold_grades: Annotated[AwareDatetime, BeforeValidator(_moment)] | None = None
    reward_table: TableName = "standard"
    demo: bool | Literal["process"] = True
    max_episodes: Annotated[int, Field(ge=1)] = 4096
    episode_ttl_s: Seconds = 900.0
    max_sessions: Annotated[int, Field(ge=1)] = 2048
    session_timeout_s: Seconds = 3600.0
    max_mcp_sessions: Annotated[int, Field(ge=1)] = 256
    mcp_session_timeout_s: Seconds = 600.0
    caller_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    triage: bool = True
    triage_per_minute: Annotated[int, Field(ge=1)] = 30
    token: Annotated[str, Field(repr=False, pattern=r"^[!-~]{16,}$")] = ""
    calls_per_minute: Annotated[int, Field(ge=1)] | None = None
    access_log: bool = False
    metrics: bool = True
    max_body_bytes: Annotated[int, Field(ge=1024)] = 2**19
    request_timeout_s: Seconds = 20.0
    ping_timeout_s: Seconds = 30.0

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Return the environment variable of each field."""
        return {field: _VARIABLES.get(field, f"{_PREFIX}{field.upper()}") for field in cls.model_fields}

    @classmethod
    def unknown_variables(cls, environ: Mapping[str, str] = os.environ) -> list[str]:
        """Return a sentence on each variable that is named as ours and sets nothing, with the setting that may be meant."""
        names = [name for name in cls.variables().values() if name.startswith(_PREFIX)]
        sentences = []
        for name in sorted(environ.keys() - {*names, *_OF_OUR_TOOLS}):
            ours = name.upper().startswith(_PREFIX)  # or a typo in this
            near = "".join(get_close_matches(name.upper(), names, n=1, cutoff=0.8 if ours else 0.9))
            if not ours and not near:
                continue
            keeps = "" if environ.get(near) else " It keeps its default."
            meant = f" Is {near} meant?{keeps}" if near else ""
            sentences.append(f"The environment variable {shown(name)} sets nothing: there is no such setting.{meant}")
        return sentences

    def doubts(self) -> list[str]:
        """Return a sentence on each setting that is allowed, and does hardly what its deployment wants."""
        sentences = []
        if self.hold_grades and self.hold_grades <= datetime.now(UTC):
            sentences.append("OPENSOC_HOLD_GRADES names a moment that is past: grades are told at once.")
        if 0 < len(self.salt) < _SHORTEST_SALT:
            sentences.append(
                f"OPENSOC_SALT has fewer than {_SHORTEST_SALT} characters, and can be found by trying. `openssl rand -hex 32` makes one."
            )
        return sentences

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **flags: object) -> Settings:
        """Read PORT and the variables named after the other fields (OPENSOC_SALT, OPENSOC_MAX_EPISODES ...).

        Args:
            environ: the variables; one that is empty counts as unset.
            flags: what was given on the command line and goes before a variable; None counts as not given.

        Raises:
            OpenSOCError: a value is out of its range, no number, or makes no sense beside the others.
        """
        names = cls.variables()
        given: dict[str, object] = {field: environ[name] for field, name in names.items() if environ.get(name)}
        if _SPACE.fullmatch(environ.get("SPACE_ID", "")):  # a Space of Hugging Face names itself so
            given.setdefault("repository", f"https://huggingface.co/spaces/{environ['SPACE_ID']}")
        chosen = {field: value for field, value in flags.items() if value is not None}
        try:
            settings = cls.model_validate(given | chosen)
        except ValidationError as exc:
            field = str(exc.errors()[0]["loc"][0])
            name = f"--{field}" if field in chosen else f"the environment variable {names[field]}"
            fault = faults(exc, name, most=1, quoting=field not in _SECRETS)
            raise OpenSOCError(f"Wrong value of {name}; {fault}. Correct it.") from None
        settings._refuse_nonsense(names)
        return settings

    def _refuse_nonsense(self, names: Mapping[str, str]) -> None:
        """Refuse what is in range field by field, and still no deployment can mean."""
        for field, value in self:
            if field.endswith("_s") and isinstance(value, float) and value < _SHORTEST_S:
                raise OpenSOCError(f"Expected at least {_SHORTEST_S:g} s as {names[field]}, got {value:g}. Correct it.")
        if self.also_port == self.port:
            raise OpenSOCError(
                f"Expected two ports, got {self.port} as PORT and as OPENSOC_ALSO_PORT. Choose another, or leave the second out."
            )
