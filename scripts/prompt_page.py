"""Make docs/prompt.md: what a model reads and how it answers, by one incident. `scripts/make_docs.py` writes it."""

from __future__ import annotations

from generator.incidents import generate
from players.prompt import answer_text, user_text
from players.reply import parse
from players.weights import TEXT_VERSION
from scenario import Scenario
from schema import Task
from verifier.rules import FEW_RULES
from verifier.truth import LADDER

TASK: Task = "stage2_multi"
SEED = 77  # a short incident with a ticket that explains one finding and a second that has ended
SHORT_NAMES = (
    ("`@crown1`, `@host1`, `@lab1`", "a host: crown jewel, standard, lab", "role, name, address"),
    ("`@priv1`, `@user1`", "an account, privileged or not", "department, kind, name"),
    ("`@bad1`, `@maybe1`", "an indicator of high or low confidence", "address or domain"),
    ("`@t1`, `@x1`", "a ticket, approved or not", "program or work, hosts, accounts, status, id"),
    ("`@scan1`, `@outscan1`", "an authorised scanner, inside the networks or not", "address, networks, hosts covered"),
    ("`@in1`, `@out1`", "another address, inside the networks or not", "address"),
    ("`@machine1`, `@name1`", "another name that comes again: a computer's account, or any", "name"),
    ("`@s1`", "an outage of a sensor", "host, telemetry, seconds of the window that are missing"),
)


def prompt_page() -> str:
    """Render the page; the incident is the one that `generate` makes of `TASK` and `SEED`."""
    observation = Scenario(generate(TASK, SEED)).view()
    answer = answer_text(observation, "compact")
    sentences = parse(answer_text(observation)).answer or {}
    return (
        "# Prompt and answer\n\n<!-- Made by `python scripts/make_docs.py`; do not edit. -->\n\n"
        "This page helps whoever reads a prompt, writes a defender for it or scores its reasons. `players.prompt.messages(observation, density)` renders an observation, `players.reply.parse` reads the answer, "
        "`answer_text` writes the right one. The densities say the same:\n\n"
        "| density | system message | user message | rationale of the right answer | for |\n|---|---|---|---|---|\n"
        "| `full` | role, answer form, the window's playbook | every value with its name | sentences | language models as they come |\n"
        "| `legend` | role, answer form, how to read and to decide | as `compact` | chain of reasons | language models that are trained |\n"
        "| `compact` | one line | short names, one timeline | chain of reasons | small models that learn the playbook |\n\n"
        f"The compact text has a version, {TEXT_VERSION}: a small model plays the one that it learned, and another is refused.\n\n"
        f'## The compact prompt\n\n`generate("{TASK}", {SEED})`:\n\n```text\n{user_text(observation, "compact")}\n```\n\n'
        "First stand the time now, the time of the first line and the networks. Then entities are defined, each by a short name that says what matters for the decision, so that nothing has to be looked up:\n\n"
        f"| short name | stands for | its definition goes on with |\n|---|---|---|\n{_rows(*SHORT_NAMES)}\n"
        "An address of a host has the host's short name. After the definitions come approved programs (`tool=`, department), tickets, outages, and the alert: its line, host, telemetry, `silent=` with the seconds for which that was silent where they are enough to matter, severity, title and note. The timeline "
        "mixes log lines with what opens, closes, falls silent and comes back. Each line has the seconds since the line before it, type and activity, and the fields; a value with spaces stands between backticks. "
        "`names=` lists entities that a text names and `is=` what the playbook's glossary calls it: `writable` by users, and a program `loose`, `shell`, `server`, `manager` or `elevated`. "
        f"`rules=` lists the rules of the playbook that look at such a line: by its type and activity, a cloud's operation, what a command means, the program that starts or its parent, each where it has at most {FEW_RULES} rules. Most of them find nothing: "
        "a finding also needs the lines around it, the accounts, the times and the counts. `during=` lists the open tickets that name the line's host, account and program (or work that is no program), `near=` those whose program the line does not name, and the log id ends the line. Numbers from 100,000 on say how many digits they have (`9:500000000`). "
        "An untimed line says `untimed`. What the verifier reads can be read back from the text.\n\n"
        f"## The chain of reasons\n\nThe right answer:\n\n```json\n{answer}\n```\n\n"
        "The rationale comes first, so that line and action can build on it. For each finding, in the order of their lines, it has:\n\n"
        "| part | says |\n|---|---|\n"
        "| rule, lines | which rule of the [playbook](playbook.md) found it, and in which lines |\n"
        "| `confirmed` or `suspicious`; scope | how strong it is; what it concerns: `host`, `network`, `identity` or `data` |\n"
        "| `harm` | harm is done; left out where none is |\n"
        "| `on=`, `by=`, `with=`, `from=` | hosts, accounts, program or work, the other end; left out where there is none |\n"
        "| `ok=` | what explains it: a ticket, `tool` for an approved one, a scanner; `no` where nothing does |\n\n"
        "Of more than four lines, hosts or accounts the first three are named, then `+`; of more than six findings the gravest. Last comes the step of the ladder, `so=`, "
        "after `together,` where suspicious findings bear each other out:\n\n"
        f"| `so=` | action | because |\n|---|---|---|\n{_rows(*((f'`{rung}`', f'`{action}`', why) for rung, (action, why) in LADDER.items()))}\n"
        f"In `full` the same chain is told with real names:\n\n> {sentences.get('rationale')}\n\n"
        "`players.reasons.parse_chain` reads a chain back as far as it is well formed, and `action_by` says which action follows from it; [evaluation.md](evaluation.md#steps-of-a-chain) says how it is scored.\n"
    )


def _rows(*rows: tuple[str, ...]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
