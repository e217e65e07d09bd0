"""Ask a player what it makes of judged recordings, beside the verifier's decision."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from players.base import Player, Reply, Row
from players.prompt import rationale_in_words
from players.reply import parse
from telemetry.judging import Judgement
from telemetry.observing import observation_of
from world import World

NOT_ASKED = "the window holds no event to ask about"


def triage_recordings(player: Player, judgements: Sequence[Judgement], world: World) -> None:
    """Set `triage` of every judgement to the player's answer.

    An answer is `{"player", "action", "cited_log_id", "rationale", "confidence", "fault"}`; `fault` says why there is no
    action, and is empty where there is one. A chain of reasons is told in sentences.

    Raises:
        PlayerError: the player cannot go on; the answers so far are set.
    """
    for judgement in judgements:
        judgement.triage = _answer(player, Reply(None, NOT_ASKED), {})
    asked = [judgement for judgement in judgements if judgement.events]
    rows: list[Row] = [
        {"id": judgement.file, "task": "real", "observation": observation_of(judgement.events, world)}
        for judgement in asked
    ]
    for arrived in player.stream(rows, threading.Event()):
        for index, reply in arrived:
            asked[index].triage = _answer(player, reply, rows[index]["observation"])


def _answer(player: Player, reply: Reply, observation: Mapping[str, Any]) -> dict[str, Any]:
    parsed = parse(reply.text)
    answer = parsed.answer or {}
    if answer:
        answer["rationale"] = rationale_in_words(answer["rationale"], observation)
    return {
        "player": player.name,
        **{name: answer.get(name) for name in ("action", "cited_log_id", "rationale", "confidence")},
        "fault": "" if parsed.answer else reply.fault or parsed.fault,
    }
