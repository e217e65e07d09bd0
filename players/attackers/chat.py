"""Write the chat that asks a language model for an incident, in the densities that defenders have.

`full`: the environment's instructions with the whole playbook, and the world as JSON; the answer is JSON. `legend`: a short system message that says how to read and write
lines and how the action follows, and the world in short names; a tenth of the tokens. `compact`: a line and the world in short names, for models that learn the form.
"""

from __future__ import annotations

import json

from players.attackers.base import Brief, attacker_text
from players.base import Density
from schema import CATEGORIES, LABELS, MAX_EVENTS
from verifier.playbook import attacker_instructions, event_shapes
from verifier.truth import LADDER

_COMPACT = "Write an incident: claim, events, note."
_STEPS = "\n".join(f"{rung}: {action} ({why})" for rung, (action, why) in LADDER.items())
ATTACKER_LEGEND = f"""You play the attacker in a game of security operations. Invent an incident in the world below that a defender will judge wrongly, and write it as lines and nothing else.

READING
Hosts: @crown is a crown jewel, @host standard, @lab a lab machine, each with its role, name and address. Accounts: @priv privileged, @user not. Indicators: @bad of high confidence, @maybe of low.
Tickets: @t approved, @x not, each with its program, hosts and accounts; @scan and @outscan are authorised scanners with the networks that they may probe; @s an outage of a sensor.
The first line says the time now and the networks; "tools" the approved programs (program:department). Times are seconds from now. "past" says what became of earlier incidents; "ask" the action that yours must deserve.

WRITING
First line: action and category. Actions: {", ".join(LABELS)}. Categories: {", ".join(CATEGORIES)}.
Then 1 to {MAX_EVENTS} events in time order, a line each: seconds since the event before it (of the first: since now, so below 0), type.activity, and name=value parts between single spaces. Between backticks a value may hold spaces.
An entity may stand by its short name, in a field of an address for its address. All lies within the day before now. Hosts, accounts and inside addresses must exist. Example:
escalate exfiltration
-3600 process.launch device_hostname=@crown1 actor_user=@priv2 process_path=C:\\Windows\\System32\\cmd.exe process_cmd_line=`cmd.exe /c dir`
+12 net_conn.open device_hostname=@crown1 src_ip=@crown1 dst_ip=@bad1 dst_port=443 direction=outbound bytes_out=734003200
Every event may have device_hostname, actor_user and session_uid; beside them:
{event_shapes()}

DECIDING
The events alone say what is right. A finding is what a detection rule sees in one line or several. It is explained, and dropped, where an approved ticket names its hosts, accounts and program and is open during its lines;
where the program is an approved one of the account's department; or where an authorised scanner made it within its networks. Then the first step that holds:
{_STEPS}"""


def incident_question(brief: Brief, density: Density = "full") -> list[dict[str, str]]:
    """Return the chat that asks for an incident: a system and a user message.

    Args:
        brief: its instructions stand in `full`; where it has none, the environment's do.
        density: `full`, `legend` or `compact`.
    """
    if density == "full":
        asked = {"asked": brief.asked or "any", "past": list(brief.past), "context": brief.context}
        system, user = brief.instructions or attacker_instructions(), json.dumps(asked, ensure_ascii=False)
    else:
        system, user = ATTACKER_LEGEND if density == "legend" else _COMPACT, attacker_text(brief)
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]
