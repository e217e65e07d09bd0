"""The attackers' board takes what its incidents are worth when they are judged and answered anew, and nothing else."""

import json
import shutil

import jsonschema
import pytest

from eval.attack import main as attack
from eval.leaderboard import attackers, read_board, schema_text
from eval.leaderboard.__main__ import main
from eval.leaderboard.attackers import ATTACKER_BOARD, ATTACKER_SCHEMA, AttackerBoard


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "mine"
    assert attack(["--attacker", "generator", "--n", "20", "--out", str(path)]) == 0
    return path


@pytest.fixture
def board(tmp_path, monkeypatch):
    monkeypatch.setattr(attackers, "LEAST_BRIEFS", 20)
    monkeypatch.setattr(attackers, "DEFENDERS", ("keyword", "verifier_oracle"))
    path = tmp_path / "board.json"
    path.write_text('{"board": "attackers", "version": 1, "entries": []}')
    return path


def copied(run, tmp_path, name="copy"):
    return shutil.copytree(run, tmp_path / name)


def changed(path, change):
    """Change the rows of a JSON-lines file."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def settings(path, **change):
    content = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**content, **change}))


def entries(board):
    return json.loads(board.read_text())["entries"]


def test_a_run_is_added_with_figures_that_come_out_anew(board, run, tmp_path, capsys):
    assert main(["add", str(run), "--board", str(board)]) == 0
    [entry] = entries(board)
    assert (entry["name"], entry["briefs"], entry["plays"]) == ("generator", 20, 20)
    assert entry["admission"]["value"] == entry["as_asked"]["value"] == 1.0
    assert entry["success"]["verifier_oracle"]["share"]["value"] == 0.0
    assert entry["success"]["keyword"]["share"]["n"] == 20
    assert "generator stands at 1 of 1" in capsys.readouterr().out
    jsonschema.validate(json.loads(board.read_text()), json.loads(ATTACKER_SCHEMA.read_text()))
    assert main(["validate", str(board)]) == 0
    assert "1 entries, each in form" in capsys.readouterr().out


def test_the_more_successful_stands_first_and_a_name_stands_once(board, run, tmp_path):
    idle = copied(run, tmp_path)
    changed(idle / "incidents.jsonl", lambda rows: [row.update(craft_incident=None) for row in rows])
    changed(idle / "judged.jsonl", lambda rows: [row.update(admitted=False, action=None, play=None) for row in rows])
    settings(idle, attacker={"name": "idle", "kind": "function"})
    for path in (idle, run, run):
        assert main(["add", str(path), "--board", str(board)]) == 0
    assert [entry["name"] for entry in entries(board)] == ["generator", "idle"]
    assert entries(board)[1]["success"]["keyword"]["share"]["value"] == 0.0
    assert entries(board)[1]["as_asked"]["n"] == 0


def test_a_run_can_be_checked_before_it_is_submitted(board, run, capsys):
    assert main(["validate", str(run)]) == 0
    assert "generator: every incident is judged as it was; success" in capsys.readouterr().out


def nowhere(rows):
    rows[3]["craft_incident"]["events"][0]["fields"]["device_hostname"] = "nowhere"


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("incidents.jsonl", nowhere, "has admitted True where False comes out"),
        ("incidents.jsonl", nowhere, "there is no host 'nowhere' in this world"),
        ("incidents.jsonl", lambda rows: rows.pop(), "for each of 20 briefs in"),
        ("incidents.jsonl", lambda rows: rows.append(rows[0] | {"seed": 99}), "is in one of both only"),
        ("incidents.jsonl", lambda rows: rows.append(rows[0]), "repeats test_seed-stage1_basic-0-dismiss"),
        ("incidents.jsonl", lambda rows: rows[0].update(generator="0"), "line 1 of"),
        ("incidents.jsonl", lambda rows: rows[0].update(seed=5), "is in one of both only"),
        ("judged.jsonl", lambda rows: rows[0].update(action="escalate"), "action 'escalate' where 'dismiss' comes out"),
        ("judged.jsonl", lambda rows: rows[0].update(play="0" * 16), "play '0000000000000000' where"),
        ("judged.jsonl", lambda rows: rows.pop(0), "admitted None where True comes out"),
    ],
)
def test_a_run_that_does_not_replay_is_refused_with_the_reason(board, run, tmp_path, capsys, file, change, told):
    path = copied(run, tmp_path)
    changed(path / file, change)
    assert main(["add", str(path), "--board", str(board)]) == 2
    assert told in capsys.readouterr().err
    assert entries(board) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"complete": False}, "stopped before its end"),
        ({"split": "val"}, "briefs of test_seed with --seed 0"),
        ({"seed": 1}, "briefs of test_seed with --seed 0"),
        ({"briefs": 19}, "at least 20 briefs"),
        ({"briefs": 21}, "for each of 21 briefs"),
        ({"briefs": "20"}, "has another form"),
        ({"attacker": {"name": "x"}}, "has another form"),
        ({"attacker": None}, "has another form"),
        ({"attacker": {"name": 5, "kind": "x"}}, "attacker.name"),
        ({"attacker": {"name": "x" * 121, "kind": "x"}}, "attacker.name"),
        ({"attacker": {"name": "\ud800", "kind": "x"}}, "attacker.name"),
        ({"attacker": {"name": "x", "kind": ["x"]}}, "attacker.kind"),
        ({"commit": 5}, "commit"),
        ({"complete": "no"}, "complete"),
        ({"briefs": True}, "briefs"),
        ({"briefs": 10**9}, "and it has 20"),
    ],
)
def test_a_run_with_other_settings_is_refused(board, run, tmp_path, capsys, change, told):
    path = copied(run, tmp_path)
    settings(path, **change)
    assert main(["validate", str(path)]) == 2
    assert told in capsys.readouterr().err


def test_a_run_without_its_incidents_is_refused(board, run, tmp_path, capsys):
    path = copied(run, tmp_path)
    (path / "incidents.jsonl").unlink()
    assert main(["add", str(path), "--board", str(board)]) == 2
    assert "Expected stored incidents in" in capsys.readouterr().err


def test_a_directory_without_run_json_is_refused(board, run, tmp_path, capsys):
    path = copied(run, tmp_path)
    (path / "run.json").unlink()
    assert main(["add", str(path), "--board", str(board)]) == 2
    assert "Expected run.json of eval.attack" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda stored: stored["entries"].append(stored["entries"][0]), "'generator' comes more than once"),
        (lambda stored: stored["entries"][0].update(note="best"), "Extra inputs are not permitted"),
        (lambda stored: stored["entries"][0].update(self_similarity=1.1), "self_similarity"),
        (lambda stored: stored["entries"][0]["success"].pop("keyword"), "success against keyword gives the order"),
        (lambda stored: stored.update(board="defenders"), "board"),
    ],
)
def test_a_board_out_of_form_is_refused(board, run, capsys, spoil, said):
    main(["add", str(run), "--board", str(board)])
    stored = json.loads(board.read_text())
    spoil(stored)
    board.write_text(json.dumps(stored))
    assert main(["validate", str(board)]) == 2
    assert said in capsys.readouterr().err


def test_the_projects_own_board_and_schema_are_in_form():
    board = read_board(ATTACKER_BOARD, AttackerBoard, ATTACKER_SCHEMA)
    assert {"generator", "edits"} <= {entry.name for entry in board.entries}
    assert ATTACKER_SCHEMA.read_text("utf-8") == schema_text(AttackerBoard)
