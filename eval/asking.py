"""How a command asks a player: the flags of models, endpoints and limits with their ranges, and the storing of what arrives."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import fields

from players import Options
from players.base import DENSITIES, Arrived
from runs.files import DiskFullError
from runs.progress import Progress
from schema import BadRequestError

# Flags whose numbers are above 0, and those that may be 0.
ABOVE_ZERO = (
    "n",
    "limit",
    "max_tokens",
    "batch_size",
    "concurrency",
    "attempts",
    "timeout_s",
    "rpm",
    "max_cost",
    "tries",
)
ZERO_OR_MORE = ("seed", "shots", "temperature", "backoff_s", "price_in", "price_out")


def add_asking(parser: argparse.ArgumentParser, *, max_tokens: int = 512) -> None:
    """Add the flags to a command, whose replies have so many tokens at most by default."""
    _add_model(parser, max_tokens)
    _add_local(parser.add_argument_group("a model on this machine"))
    remote = parser.add_argument_group("an endpoint (and, for --concurrency, an async function)")
    _add_requests(remote)
    _add_limits(remote)


def add_tries(parser: argparse.ArgumentParser) -> None:
    """Add how often an attacker writes again what schema or gate would refuse."""
    text = "times that `embedded` writes an incident until the gate would admit it (default: 1)"
    parser.add_argument("--tries", type=int, default=1, metavar="N", help=text)


def _add_model(parser: argparse.ArgumentParser, max_tokens: int) -> None:
    add = parser.add_argument
    density = (
        "of a model's prompt: with the playbook, short, or short with a legend; `embedded` has its own (default: full)"
    )
    add("--density", choices=DENSITIES, default="full", help=density)
    longest = f"longest reply of a model, in tokens (default: {max_tokens})"
    add("--max-tokens", type=int, default=max_tokens, help=longest)
    add("--temperature", type=float, default=0.0, help="0 is greedy (default: 0)")


def _add_local(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--batch-size", type=int, default=16, help="prompts that are generated at once (default: 16)")
    dtype = "of the weights; auto: as the files have it (default: auto)"
    add("--dtype", choices=("auto", "float32", "bfloat16"), default="auto", help=dtype)
    add("--device", default="auto", help="cpu, cuda, mps, cuda:1 ... (default: the best that is there)")


def _add_requests(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", default="", help="the model's name there; may be left out if only one is served")
    key = "the environment variable that holds the key; without it none is sent"
    add("--key-env", default="", metavar="VARIABLE", help=key)
    add("--concurrency", type=int, default=64, help="requests in flight (default: 64)")
    more = 'more fields of a request; null removes one: {"max_tokens": null}'
    add("--request", type=json.loads, default={}, metavar="JSON", help=more)


def _add_limits(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    timeout = "seconds for one request, its whole reply included (default: 120)"
    add("--timeout", dest="timeout_s", type=float, default=120.0, metavar="S", help=timeout)
    add("--attempts", type=int, default=6, help="for one item, before it stays open (default: 6)")
    backoff = "seconds before the second attempt; doubles, with jitter (default: 1)"
    add("--backoff", dest="backoff_s", type=float, default=1.0, metavar="S", help=backoff)
    add("--rpm", type=float, metavar="N", help="most requests a minute, retries counted")
    add("--price-in", type=float, metavar="USD", help="per million prompt tokens")
    add("--price-out", type=float, metavar="USD", help="per million reply tokens")
    add("--max-cost", type=float, metavar="USD", help="stop before the run costs more, its earlier parts counted")


def check_numbers(args: argparse.Namespace) -> None:
    """Check that figures are within their ranges, and that a run has its directory.

    Raises:
        BadRequestError: one is not.
    """
    for name in ABOVE_ZERO:
        if (value := getattr(args, name, None)) is not None and not 0 < value < float("inf"):
            raise BadRequestError(f"Expected a number above 0 as {_flag(name)}, and got {value}.")
    for name in ZERO_OR_MORE:
        if (value := getattr(args, name, None)) is not None and not 0 <= value < float("inf"):
            raise BadRequestError(f"Expected 0 or more as {_flag(name)}, and got {value}.")
    if not isinstance(args.request, dict) or {"messages", "model", "stream"} & args.request.keys():
        raise BadRequestError("Expected a JSON object as --request, without messages, model and stream.")
    if args.out is None:
        raise BadRequestError("Expected --out DIR, where the run is kept; add it.")


def _flag(name: str) -> str:
    return f"--{name.removesuffix('_s').replace('_', '-')}"


def options_of(args: argparse.Namespace) -> Options:
    """Return how to ask; what a command has no flag for stays at its default."""
    return Options(**{field.name: getattr(args, field.name) for field in fields(Options) if hasattr(args, field.name)})


def keep(
    stream: Iterable[Arrived],
    append: Callable[[Arrived], None],
    stop: threading.Event,
    bar: Progress,
    note: Callable[[], str] = str,
) -> None:
    """Store replies as they arrive. When the disk is full, stop asking, and store what is under way in the room that was held back.

    Args:
        stream: of a player or an attacker.
        append: stores a batch.
        stop: ends the stream.
        bar: shows how many are stored.
        note: says what stands beside it.

    Raises:
        DiskFullError: there is no room for more.
    """
    full: DiskFullError | None = None
    for batch in stream:
        try:
            append(batch)
        except DiskFullError as error:
            stop.set()  # what is under way still comes, into the room that was held back
            full = error if full is None or not error.stored else full
        bar.advance(len(batch), note())
    if full:
        raise full
