"""Say what players are called where people read: defenders in `DEFENDERS`, attackers in `ATTACKERS`, by the names that commands take."""

from __future__ import annotations

DEFENDERS = {
    "always_dismiss": "always dismiss",
    "always_monitor": "always keep watching",
    "always_quarantine_host": "always quarantine",
    "always_block_ip": "always block",
    "always_escalate": "always escalate",
    "random": "random answer",
    "majority": "always the commonest action",
    "keyword": "list of bad words",
    "bag_of_words": "word counts",
    "verifier_oracle": "verifier itself",
    "embedded": "shipped model",
    "smollm2": "language model of 135M",
}
ATTACKERS = {
    "generator": "generator",
    "edits": "random edits",
    "embedded": "trained attacker",
    "smollm2": "language model of 135M",
}


def defender_in_words(name: str) -> str:
    """Return a defender's label with a capital; a name without one stays."""
    return _begun(DEFENDERS.get(name, "")) or name


def attacker_in_words(name: str) -> str:
    """Return an attacker's label with a capital, which it may go by already; another name stays."""
    return _begun(name if name in ATTACKERS.values() else ATTACKERS.get(name, "")) or name


def _begun(label: str) -> str:
    return label[:1].upper() + label[1:]
