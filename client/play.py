"""Play an episode in the terminal: python -m client.play [--url URL] [--task TASK] [--mode MODE] [--seed N]

You read an alert and its logs, choose one of five actions, and see how the answer is graded and why. Without --url
it plays on a server at port 7860; if none answers there and the package lies in a checkout, it starts one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from . import screens
from .http_client import DEFAULT_URL, OpenSOCClient, OpenSOCClientError, StepResult
from .local_server import find_checkout, local_server

TASKS = ("stage1_basic", "stage2_multi", "stage3_mixed", "stage4_adversarial")
MODES = ("defender_only", "self_play")
KEYS = "1-5 answer, l log, s ID a line in full, c context, p playbook, h help, q quit"
LONGEST_RATIONALE = 2048


class Leave(Exception):
    """The player asked to stop."""


# ---------------------------------------------------------------- asking
def ask(console: Console, prompt: str) -> str:
    """Ask the player for one line and return it trimmed; `q` leaves."""
    answer = console.input(Text(f"{prompt} > ", style="bold")).strip()
    if answer.lower() in ("q", "quit", "exit"):
        raise Leave
    return answer


def _ask_action(console: Console, observation: dict[str, Any]) -> str:
    """Ask for one of the five actions, by number or name; until then, show what the player asks for."""
    actions = list(screens.ACTIONS)
    console.print(screens.action_help())
    while True:
        console.print(Text(KEYS, style="dim"))
        answer = ask(console, "Action")
        if answer.lower() in actions:
            return answer.lower()
        if answer.isdecimal() and 1 <= int(answer) <= len(actions):
            return actions[int(answer) - 1]
        show(console, observation, answer)


def show(console: Console, observation: dict[str, Any], wish: str) -> None:
    """Print what a key of the menu stands for, or how to use the menu."""
    key, _, log_id = wish.partition(" ")
    key = key.lower()
    if key == "l":
        console.print(screens.observation_screen(observation))
    elif key == "c":
        console.print(screens.context_tables(observation.get("context") or {}))
    elif key == "p":
        console.print(screens.playbook_panel(observation))
    elif key == "s":
        _show_event(console, observation, log_id)
    elif key == "h":
        console.print(screens.action_help(), screens.instructions(observation), sep="\n")
    else:
        console.print(Text(f"Expected a number from 1 to 5, an action or a key, and {wish!r} came.", style="yellow"))


def _show_event(console: Console, observation: dict[str, Any], wish: str) -> None:
    """Print one event of the window in full."""
    log_id = find_log_id(observation, wish)
    if log_id is None:
        console.print(_no_such_line(observation, wish))
        return
    console.print(*(screens.event_panel(event) for event in observation["log_window"] if event["log_id"] == log_id))


def _ask_log_id(console: Console, observation: dict[str, Any]) -> str:
    """Ask for the id of a line in the window."""
    while True:
        wish = ask(console, "Log line that proves it (its id)")
        log_id = find_log_id(observation, wish)
        if log_id is not None:
            return log_id
        console.print(_no_such_line(observation, wish))


def find_log_id(observation: dict[str, Any], wish: str) -> str | None:
    """Find the window's own spelling of an id, so that `l1-3` and `1-3` mean `L1-3`."""
    suffix = wish.strip().upper().removeprefix("L")
    ids = [str(event["log_id"]) for event in observation.get("log_window") or []]
    return next((log_id for log_id in ids if log_id.upper().removeprefix("L") == suffix), None)


def _no_such_line(observation: dict[str, Any], wish: str) -> Text:
    ids = ", ".join(screens.visible(event["log_id"]) for event in observation.get("log_window") or [])
    return Text(f"Expected one of {ids}, and {wish!r} came.", style="yellow")


def _ask_rationale(console: Console) -> str:
    """Ask for a reason in a sentence; it may not be empty or longer than the server accepts."""
    while True:
        rationale = ask(console, "Why, in a sentence")
        if 0 < len(rationale) <= LONGEST_RATIONALE:
            return rationale
        console.print(Text(f"Expected 1 to {LONGEST_RATIONALE} characters, and {len(rationale)} came.", style="yellow"))


def _ask_incident(console: Console, path: str | None) -> dict[str, Any]:
    """Read the attacker's incident from a JSON file: from `path`, else from one that the player names."""
    while True:
        name = path or ask(console, "Your incident (path of a JSON file)")
        try:
            incident = json.loads(Path(name).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            console.print(Text(f"Expected a readable JSON file at {name!r}: {error}", style="yellow"))
        else:
            if isinstance(incident, dict):
                return incident.get("craft_incident", incident)
            console.print(
                Text(f"Expected a JSON object in {name!r}, and a {type(incident).__name__} came.", style="yellow")
            )
        path = None


# ---------------------------------------------------------------- playing
def _play_round(console: Console, client: OpenSOCClient, args: argparse.Namespace, seed: int | None) -> None:
    """Play one episode from reset to the grade."""
    result = client.reset(task=args.task, mode=args.mode, seed=seed)
    title = ["OpenSOC", args.task, args.mode, *([] if seed is None else [f"seed {seed}"])]
    console.rule(Text(" · ".join(title)))
    if result["role"] == "attacker":
        result = _play_attacker(console, client, result, args.incident)
    observation = result.observation
    if not result.done:
        result = _play_defender(console, client, result)
    console.print(screens.grade_screen(client.grade(), observation))


def _play_attacker(console: Console, client: OpenSOCClient, result: StepResult, path: str | None) -> StepResult:
    """Play the first turn of self-play."""
    console.print(screens.attacker_screen(result.observation))
    result = client.step(craft_incident=_ask_incident(console, path))
    if result.observation.get("feedback"):
        console.print(Text(screens.visible(result["feedback"]), style="yellow" if result.done else "green"))
    return result


def _play_defender(console: Console, client: OpenSOCClient, result: StepResult) -> StepResult:
    """Play the turn in which the alert is answered."""
    observation = result.observation
    console.print(screens.observation_screen(observation))
    action = _ask_action(console, observation)
    return client.submit_triage(action, _ask_log_id(console, observation), _ask_rationale(console))


def play(console: Console, client: OpenSOCClient, args: argparse.Namespace) -> None:
    """Play rounds until the player has enough; with --seed N the seeds are N, N+1, and so on."""
    seed = args.seed
    while True:
        _play_round(console, client, args, seed)
        if not ask(console, "Another round? y/n").lower().startswith("y"):
            return
        seed = None if seed is None else seed + 1


# ---------------------------------------------------------------- the server
@contextmanager
def server_url(console: Console, url: str | None) -> Iterator[str]:
    """Yield the address to play on: `url` if given, else port 7860, else a server that we start and stop.

    Raises:
        OpenSOCClientError: nobody answers and there is nothing to start.
    """
    if url is not None or _answers(DEFAULT_URL):
        yield url or DEFAULT_URL
        return
    root = find_checkout()
    if root is None:
        raise OpenSOCClientError(
            f"Expected an OpenSOC server at {DEFAULT_URL}, and none answered: start one with `make serve` "
            "in a checkout of OpenSOC, or name one with --url."
        )
    console.print(Text(f"Nothing answers at {DEFAULT_URL}: starting a server for this game ...", style="dim"))
    with local_server(root) as own_url:
        console.print(Text(f"Playing on {own_url}, which stops when you leave.", style="dim"))
        yield own_url


def _client(url: str, **options: Any) -> OpenSOCClient:
    """Make a client that sends the token of the environment (OPENSOC_TOKEN), where there is one."""
    token = os.environ.get("OPENSOC_TOKEN")
    return OpenSOCClient(url, headers={"Authorization": f"Bearer {token}"} if token else None, **options)


def _answers(url: str) -> bool:
    """Tell whether an OpenSOC server is at an address; another program's server has no /tasks."""
    try:
        with _client(url, timeout_s=2.0, retries=0) as client:
            client.tasks()
    except OpenSOCClientError:
        return False
    return True


@contextmanager
def _leave_on_signals() -> Iterator[None]:
    """Leave in order on a signal to end, so that a server started for the game does not outlive a closed terminal."""
    signals = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers = {signum: signal.signal(signum, _leave) for signum in signals}
    try:
        yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def _leave(signum: int, _frame: object) -> None:
    sys.exit(128 + signum)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    flags = argparse.ArgumentParser(prog="python -m client.play", description="Play OpenSOC episodes in the terminal.")
    flags.add_argument("--url", help=f"server to play on (default: {DEFAULT_URL}, or one started for the game)")
    flags.add_argument("--task", choices=TASKS, default=TASKS[0], help="default: %(default)s")
    flags.add_argument("--mode", choices=MODES, default=MODES[0], help="default: %(default)s")
    flags.add_argument("--seed", type=int, help="seed of the first round; the next rounds count on from it")
    flags.add_argument("--incident", metavar="FILE", help="self_play: JSON file with the attacker's incident")
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Play until the player leaves; return the exit status."""
    args = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows ? and goes on
    return run(Console(highlight=False), args)


def run(console: Console, args: argparse.Namespace) -> int:
    """Play, and turn every way out into an exit status without a stack trace."""
    try:
        with _leave_on_signals(), server_url(console, args.url) as url, _client(url) as client:
            play(console, client, args)
    except (Leave, EOFError):
        console.print("Bye.")
    except KeyboardInterrupt:
        console.print("\nBye.")
        return 130
    except (OpenSOCClientError, ValueError) as error:
        screens.print_error(console, str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
