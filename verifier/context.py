"""Explain findings by what the organisation knows (step 2, context).

A near miss explains nothing: another host, another account, another program, a time outside, a ticket nobody approved.
"""

from __future__ import annotations

from schema import CLOUD_WORK, Scanner, Ticket, Tool, epoch_s
from verifier.window import Finding, Window
from world import in_networks

SEVERAL_HOSTS = 3  # from so many on, an incident is escalated
CORROBORATION_S = 3600  # within this, two different suspicious things on one host bear each other out
MIN_OUTAGE_S = 60  # of a silent sensor


def explanation(finding: Finding, window: Window, *, probing: bool) -> str:
    """Name what explains a finding (`ticket CHG-1042`), or nothing; `probing` where an authorised scanner may cause it."""
    world = window.world
    for ticket in world.tickets:
        if finding.tool == ticket["tool"] and _ticket_covers(ticket, finding, window.limits.edge_s):
            return f"ticket {ticket['ticket_id']}"
    for tool in world.tools:
        if finding.tool == tool["name"] and _owner_uses(tool, finding, window):
            return f"approved tool {tool['name']}"
    for scanner in world.scanners if probing else ():
        if _scanner_may(scanner, finding, window):
            return f"authorised scanner {scanner['ip']}"
    return ""


def _ticket_covers(ticket: Ticket, finding: Finding, edge_s: float) -> bool:
    """Return whether a ticket for the finding's program is approved and covers every host and account and the whole time.

    Work on a cloud's control plane has no host; anywhere else, a finding without one is not known well enough to be covered.
    """
    return bool(
        ticket["status"] == "approved"
        and finding.tool
        and (finding.hosts or finding.tool == CLOUD_WORK)
        and finding.accounts
        and set(finding.accounts) <= set(ticket["accounts"])
        and set(finding.hosts) <= set(ticket["hosts"])
        and epoch_s(ticket["starts_at"]) + edge_s <= finding.first
        and finding.last <= epoch_s(ticket["ends_at"]) - edge_s
    )


def _owner_uses(tool: Tool, finding: Finding, window: Window) -> bool:
    """Return whether the program is approved for the department of every account that used it, lies where programs are installed, and
    reaches no address that intelligence is sure of: approval speaks for the program, not for whom it calls."""
    accounts = window.world.accounts
    return (
        finding.tool_trusted
        and window.intelligence(finding.remote) != "high"
        and bool(finding.accounts)
        and all(name in accounts and accounts[name]["department"] == tool["department"] for name in finding.accounts)
    )


def _scanner_may(scanner: Scanner, finding: Finding, window: Window) -> bool:
    """Return whether an authorised scanner probes hosts that lie in the networks that it may probe."""
    if finding.remote != scanner["ip"]:
        return False
    targets = tuple(scanner["targets"])
    addresses = [window.world.hosts[name]["ip"] if name in window.world.hosts else name for name in finding.hosts]
    return bool(addresses) and all(in_networks(address, targets) for address in addresses)
