"""What a deployment may set. Read here, once, from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rubric import TableName
from schema import OpenSOCError, faults

# HOST is left alone: shells and compilers set it to names that are no address to listen on.
_VARIABLES = {"port": "PORT"}


class Settings(BaseModel):
    """Settings of one server process; each limit holds per process."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    host: str = "0.0.0.0"
    port: Annotated[int, Field(ge=0, le=65535)] = 7860
    also_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    salt: Annotated[str, Field(repr=False)] = ""
    pool: Path | None = None
    reward_table: TableName = "standard"
    demo: bool = True
    max_episodes: Annotated[int, Field(ge=1)] = 4096
    episode_ttl_s: Annotated[float, Field(gt=0)] = 900.0
    max_sessions: Annotated[int, Field(ge=1)] = 2048
    session_timeout_s: Annotated[float, Field(gt=0)] = 3600.0
    triage: bool = True
    triage_per_minute: Annotated[int, Field(ge=1)] = 30
    max_body_bytes: Annotated[int, Field(ge=1024)] = 2**20

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **flags: object) -> Settings:
        """Read PORT and the variables named after the other fields (OPENSOC_SALT, OPENSOC_MAX_EPISODES ...).

        Args:
            environ: the variables; one that is empty counts as unset.
            flags: what was given on the command line and goes before a variable; None counts as not given.

        Raises:
            OpenSOCError: a value is out of its range, or no number.
        """
        names = {field: _VARIABLES.get(field, f"OPENSOC_{field.upper()}") for field in cls.model_fields}
        given: dict[str, object] = {field: environ[name] for field, name in names.items() if environ.get(name)}
        chosen = {field: value for field, value in flags.items() if value is not None}
        try:
            return cls.model_validate(given | chosen)
        except ValidationError as exc:
            field = str(exc.errors()[0]["loc"][0])
            name = f"--{field}" if field in chosen else f"the environment variable {names[field]}"
            fault = faults(exc, name, most=1, quoting=True)
            raise OpenSOCError(f"Wrong value of {name}; {fault}. Correct it.") from None
