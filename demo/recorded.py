"""Judge a log that a visitor brings, and hold the samples that stand in for one. Imports no gradio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from demo_data import DemoCase
from schema import TASKS, BadRequestError, OpenSOCError, shown
from telemetry.declaring import parsed_world
from telemetry.judging import Judgement, assured, judge_text
from telemetry.observing import observation_of
from verifier.decision import judge_observation

SAMPLES = Path(__file__).resolve().parent.parent / "data" / "samples"
MAX_LOG = 400_000  # characters: written as JSON they fit into a click's body
SAMPLE_NAMES: Mapping[str, str] = {
    "A macro, then shadow copies": "sysmon_macro.jsonl",
    "Passwords guessed over SSH": "sshd_guessing.log",
    "A bucket opened (AWS)": "cloudtrail_bucket.json",
    "A privileged pod (Kubernetes)": "kubernetes_audit.jsonl",
    "MFA asked, no attack (Entra)": "entra_interrupts.csv",
    "A nightly backup (Windows)": "windows_backup.jsonl",
}


class JudgedLog(NamedTuple):
    """A log that a visitor brought: what became of it, and its window as an incident, None where nothing was usable."""

    judgement: Judgement
    case: DemoCase | None


def sample(label: str) -> str:
    """Return the text of a sample log.

    Raises:
        BadRequestError: no sample has this label.
    """
    if label not in SAMPLE_NAMES:
        raise BadRequestError(f"Expected a sample, one of {', '.join(SAMPLE_NAMES)}, and got {shown(label)}.")
    return (SAMPLES / SAMPLE_NAMES[label]).read_text("utf-8")


def judged_log(text: str, declaration: str = "", *, name: str = "your log") -> JudgedLog:
    """Judge a log as `python -m telemetry` does. Nothing of it is kept.

    Args:
        text: the export, at most `MAX_LOG` characters.
        declaration: YAML or JSON that declares the organisation; an empty one where nothing is declared.
        name: what the log is called.

    Raises:
        BadRequestError: there is no text or too much, it cannot be read, or the declaration is none.
    """
    if not text or text.isspace():
        raise BadRequestError("Expected a log, and the field is empty; paste an export, drop a file or take a sample.")
    if len(text) > MAX_LOG:
        raise BadRequestError(
            f"Expected at most {MAX_LOG:,} characters here, and got {len(text):,}; `python -m telemetry FILE` reads a file of any size."
        )
    try:
        world = parsed_world(declaration)
        judgement = judge_text(text, world, name=name)
    except OpenSOCError as error:
        raise BadRequestError(str(error)) from error
    if not judgement.events:
        return JudgedLog(judgement, None)
    observation = observation_of(judgement.events, world)
    truth = assured(judge_observation(observation), judgement.events_unspoken == judgement.events_used)
    return JudgedLog(judgement, DemoCase(name, {}, TASKS[0], observation, truth, {}))
