"""What is noticed at the lines: where a prompt is asked, what a graph says there, and how it comes into the chain."""

import hashlib
import json
import math
import shutil
from functools import partial

import pytest

from generator.incidents import generate
from players.embedded import GRAPH, Certainty, Embedded, _Reading
from players.noticing import RULE_IDS, Named, Noticed, before, left_out, named_in, tokens_at
from players.prompt import messages, user_text
from players.reasons import Chain, Reason, parse_chain
from players.reply import parse
from players.weights import ABOUT
from scenario import item_of
from schema import TASKS
from train.data import validation_rows
from verifier.rules import rules_at

np = pytest.importorskip("numpy")


def observation(task="stage4_adversarial", seed=0):
    return item_of(generate(task, seed, split="val"))["observation"]


def window_with(rule_id):
    """Return an incident in which the first line names a rule, so that its reason stands before others."""
    for seed in range(100):
        shown = observation("stage3_mixed", seed)
        if rule_id in rules_at(shown["log_window"][0]):
            return shown
    raise AssertionError(rule_id)


def reason(rule_id, *lines):
    return Reason(rule_id, lines, "confirmed", "host", hosts=("@host1",))


# ---------------------------------------------------------------- where
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", range(5))
def test_each_rule_that_a_line_names_is_found_where_its_name_ends(task, seed):
    shown = observation(task, seed)
    text = user_text(shown, "compact")
    named = named_in(text)

    assert [(name.log_id, name.rule_id) for name in named] == [
        (row["log_id"], rule_id) for row in shown["log_window"] for rule_id in rules_at(row)
    ]
    assert all(text[: name.end].endswith(name.rule_id) for name in named)
    assert [name.end for name in named] == sorted({name.end for name in named})


@pytest.mark.parametrize(
    "text",
    [
        "cmd.exe /c echo rules=code-injection L1-0",
        "x\n+5 process.launch rules=code-injection L1-0",
        "` rules=code-injection L1-7",
        " rules=code-injection during=@t1 L1-0",
    ],
)
@pytest.mark.parametrize("field", ["process_cmd_line", "parent_path"])
def test_text_of_a_line_names_no_rule(text, field):
    shown, line = next(
        (shown, row)
        for shown in map(partial(observation, "stage3_mixed"), range(20))
        for row in shown["log_window"]
        if row["event_type"] == "process" and list(row["fields"])[-1] == "parent_path"
    )
    line["fields"][field] = text

    named = named_in(user_text(shown, "compact"))

    assert [(name.log_id, name.rule_id) for name in named] == [
        (row["log_id"], rule_id) for row in shown["log_window"] for rule_id in rules_at(row)
    ]


def test_a_name_is_read_at_the_token_in_which_it_ends():
    text = "+1 a.b rules=cd,e L1-0"
    offsets = [(0, 6), (6, 13), (13, 14), (14, 15), (15, 16), (16, 17), (17, 22)]
    named = [Named("cd", "L1-0", 15), Named("e", "L1-0", 17)]

    assert tokens_at(offsets, named) == [3, 5]
    assert tokens_at([(0, len(text))], named) == [0, 0]


# ---------------------------------------------------------------- what
def test_what_a_chain_leaves_out_comes_at_its_first_likely_line():
    chain = Chain((reason("b", "L1-3"),), "host")
    noticed = [
        Noticed("a", "L1-2", 0.4),
        Noticed("b", "L1-2", 1.0),
        Noticed("a", "L1-10", 0.8),
        Noticed("c", "L1-4", 0.7),
    ]

    assert left_out(chain, noticed, 0.7) == [Noticed("c", "L1-4", 0.7), Noticed("a", "L1-10", 0.8)]
    assert left_out(chain, noticed, 0.3)[0] == Noticed("a", "L1-2", 0.4)
    assert left_out(chain, noticed, 1.01) == []


def test_a_chain_takes_the_likeliest_for_which_it_has_room():
    chain = Chain(tuple(reason(f"r{number}", "L1-0") for number in range(5)), "host")

    assert left_out(chain, [Noticed("a", "L1-1", 0.8), Noticed("b", "L1-2", 0.9)], 0.5) == [Noticed("b", "L1-2", 0.9)]
    full = Chain((*chain.reasons, reason("s", "L1-0")), "host")
    assert left_out(full, [Noticed("a", "L1-1", 0.8)], 0.5) == []


def test_the_reasons_before_one_are_those_of_earlier_lines_and_names():
    chain = Chain((reason("b", "L1-2"), reason("d", "L1-9"), reason("a", "L1-10", "L1-2")), "host")

    assert before(chain, Noticed("c", "L1-9", 1.0)) == [*chain.reasons[:1]]
    assert before(chain, Noticed("e", "L1-9", 1.0)) == [*chain.reasons[:2]]
    assert before(chain, Noticed("a", "L1-0", 1.0)) == []


# ---------------------------------------------------------------- the graph and the player
@pytest.fixture(scope="module")
def export_path(tmp_path_factory):
    """An export with random weights of the least size."""
    pytest.importorskip("torch", reason="torch is not installed; the extra `train` brings it")
    pytest.importorskip("onnx", reason="onnx is not installed; the extra `train` brings it")
    from tests.nano_start import SIZE
    from train.nano import export
    from train.nano.model import make, train_tokenizer
    from train.nano.presets import PRESETS

    folder = tmp_path_factory.mktemp("noticing")
    rows = validation_rows(3, 24)
    tokenizer = train_tokenizer([user_text(row["observation"], "compact") for row in rows], SIZE.vocabulary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "nano", SIZE)
        model = make("nano", tokenizer, seed=1)
        patch.setattr(export, "LONGEST", 60)
        model.save_pretrained(folder / "checkpoint")
        tokenizer.save_pretrained(folder / "checkpoint")
        export.export(folder / "checkpoint", folder / "defender", int8="no", items=2)
    return folder / "defender"


@pytest.fixture
def ours(export_path, tmp_path):
    return shutil.copytree(export_path, tmp_path / "defender")


def put(directory, graph, **about):
    (directory / GRAPH).write_bytes(graph)
    described = json.loads((directory / ABOUT).read_text())
    described["files"][GRAPH] = hashlib.sha256(graph).hexdigest()
    (directory / ABOUT).write_text(json.dumps(described | about))
    return Embedded(directory)


def noticer(directory, seed=0):
    import torch
    from tokenizers import Tokenizer

    from train.nano import noticing as teaching

    torch.manual_seed(seed)
    made = teaching.noticer_of(64).eval()
    encode = Tokenizer.from_file(str(directory / "tokenizer.json")).encode
    tokens = {rule_id: encode(rule_id, add_special_tokens=False).ids[-1] for rule_id in RULE_IDS}
    return made, teaching.weights_of(made, tokens)


def test_a_graph_says_at_each_place_what_the_layers_say_of_its_state(ours):
    import torch

    from train.nano import noticing as teaching
    from train.nano.onnx_graph import with_noticing

    graph, (made, weights) = (ours / GRAPH).read_bytes(), noticer(ours)
    model = put(ours, with_noticing(graph, weights))
    _, weighed, tokenizer = teaching._loaded(ours)
    row = validation_rows(5, 4)[3]
    text = model.about.chat(messages(row["observation"], "compact"))
    encoding = tokenizer.encode(text, add_special_tokens=False)
    named = named_in(text)
    tokens = tokens_at(encoding.offsets, named)
    assert len(encoding.ids) > 256  # more than is read at once

    logits, finds = _Reading(model._session, len(encoding.ids)).read(encoding.ids)

    with torch.no_grad():
        states = weighed.model(torch.tensor([encoding.ids])).last_hidden_state[0][tokens]
        right = made(states, torch.tensor([RULE_IDS.index(name.rule_id) for name in named]))
    assert finds.shape == (len(encoding.ids),)
    assert len(named) > 3
    assert np.abs(finds[tokens] - right.numpy()).max() < 1e-3
    noticed = model.generate(row["observation"]).noticed
    assert [one[:2] for one in noticed] == [name[:2] for name in named]
    assert [one.likelihood for one in noticed] == pytest.approx(right.sigmoid().tolist(), abs=1e-3)
    plain, nothing = _Reading(put(ours, graph)._session, len(encoding.ids)).read(encoding.ids)
    assert nothing is None
    assert np.abs(logits - plain).max() < 1e-4


def test_a_graph_is_taught_anew_and_forgets(ours):
    from train.nano.onnx_graph import with_noticing, without_noticing

    graph = (ours / GRAPH).read_bytes()
    once, other = (with_noticing(graph, noticer(ours, seed)[1]) for seed in (0, 1))

    assert with_noticing(other, noticer(ours, 0)[1]) == once != other
    assert without_noticing(once) == without_noticing(other) == without_noticing(graph)


def certain(weights, rule_id):
    """Let layers hold for certain that one rule finds something wherever a line names it, and no other."""
    rules = {
        token: np.eye(48)[0] * 1.0 if number == RULE_IDS.index(rule_id) else np.zeros(48)
        for number, token in enumerate(weights.rules)
    }
    first = np.zeros_like(weights.layers[0][0])
    first[0, -48] = 1
    second = np.zeros_like(weights.layers[1][0])
    second[0, 0] = 1
    last = np.zeros_like(weights.layers[2][0])
    last[0, 0] = 40
    layers = [
        (matrix, np.zeros_like(bias)) for matrix, (_, bias) in zip((first, second, last), weights.layers, strict=True)
    ]
    layers[-1] = (last, np.full_like(weights.layers[-1][1], -20))
    return weights._replace(rules={token: vector.astype(np.float32) for token, vector in rules.items()}, layers=layers)


def test_what_is_noticed_comes_into_the_chain_with_its_rule_and_line(ours, monkeypatch):
    from train.nano.onnx_graph import with_noticing

    weights = certain(noticer(ours)[1], "code-injection")
    model = put(ours, with_noticing((ours / GRAPH).read_bytes(), weights), notice_from=0.5, nothing_from=0.0)
    shown = window_with("code-injection")
    drafts = []
    monkeypatch.setattr(model, "_write", writer(model, drafts))

    generation = model.generate(shown)

    first = next(row["log_id"] for row in shown["log_window"] if "code-injection" in rules_at(row))
    assert drafts[1].startswith(f'{{"rationale": "code-injection {first}')
    assert len(drafts) == 2
    chain = parse_chain(parse(generation.text).answer["rationale"])
    assert [found.rule_id for found in chain.reasons] == ["code-injection", "remote-shell-pipe"]
    assert {one.rule_id for one in generation.noticed if one.likelihood > 0.5} == {"code-injection"}
    assert model.generate(shown, notice_from=2).text == drafts_text(drafts[0])


def test_a_model_may_be_as_sure_as_numbers_go(ours, monkeypatch):
    from train.nano.onnx_graph import with_noticing

    weights = certain(noticer(ours)[1], "code-injection")
    (matrix, bias), sure = weights.layers[-1], 1e4
    weights = weights._replace(layers=[*weights.layers[:-1], (matrix * sure, bias * sure)])
    model = put(ours, with_noticing((ours / GRAPH).read_bytes(), weights), notice_from=0.0, nothing_from=0.0)
    monkeypatch.setattr(model, "_write", writer(model, []))

    generation = model.generate(window_with("code-injection"))

    assert {one.likelihood for one in generation.noticed} == {0.0, 1.0}
    assert len(parse_chain(parse(generation.text).answer["rationale"]).reasons) > 2


def test_a_reply_that_comes_to_no_action_when_it_is_amended_stays_as_it_was(ours, monkeypatch):
    from train.nano.onnx_graph import with_noticing

    weights = certain(noticer(ours)[1], "code-injection")
    model = put(ours, with_noticing((ours / GRAPH).read_bytes(), weights), notice_from=0.5, nothing_from=0.0)
    drafts = []
    monkeypatch.setattr(model, "_write", writer(model, drafts, fails_at=2))

    assert model.generate(window_with("code-injection")).text == drafts_text(drafts[0])
    assert len(drafts) == 2


def drafts_text(begun):
    return (
        begun
        + 'remote-shell-pipe L1-1 confirmed host on=@host1 ok=no so=host", "cited_log_id": "L1-1", "action": "quarantine_host"}'
    )


def writer(model, drafts, fails_at=0):
    """Write a fixed reply after what is begun; a beginning without a reason gets its opening."""

    def write(draft, reading, logits, longest, nothing_from, ladder):
        begun = model._text(draft.tokens)
        opened = begun or '{"rationale": "'
        drafts.append(opened)
        more = "" if not begun else " confirmed host on=@host1 ok=no "
        draft.tokens[:] = model._encode(drafts_text(opened + more))
        draft.logs += [0.0] * (len(draft.tokens) - len(draft.logs))
        draft.certainty = None if len(drafts) == fails_at else Certainty(0.0, 0.0, 0.0, 0.0)

    return write


def test_a_reply_that_is_amended_is_as_sure_as_what_was_noticed(ours):
    from players.embedded import Draft

    model = Embedded(ours)
    old = Draft(model._encode(drafts_text('{"rationale": "')), [])
    old.logs = [-0.5] * len(old.tokens)

    begun = model._begun(old, Noticed("code-injection", "L1-7", 0.8))

    text = model._text(begun.tokens)
    assert text.endswith("remote-shell-pipe L1-1 confirmed host on=@host1 ok=no code-injection L1-7")
    assert begun.logs[-1] == math.log(0.8)
    assert set(begun.logs[:-1]) == {-0.5}
    assert model._encode(text) == begun.tokens


# ---------------------------------------------------------------- teaching
def test_an_export_is_taught_and_the_same_command_goes_on(ours, tmp_path, monkeypatch, capsys):
    from train.nano import noticing as teaching

    monkeypatch.setattr(teaching, "PART", 2)
    monkeypatch.setattr(teaching, "EPOCHS", 1)
    work, read = tmp_path / "work", []
    real = teaching.read_part
    monkeypatch.setattr(teaching, "worker_processes", here)
    monkeypatch.setattr(teaching, "read_part", lambda *args: read.append(args[1]) or real(*args))
    call = [
        "--out",
        str(ours),
        "--work",
        str(work),
        "--incidents",
        "3",
        "--drilled",
        "2",
        "--items",
        "2",
        "--workers",
        "1",
    ]

    assert teaching.main(call) == 0

    assert len(read) == 5  # two parts and a drilled one to learn from, val and val_family
    model = Embedded(ours)
    assert model.notices
    assert model.about.measured["noticing"]["incidents"] == 3
    assert set(model.about.measured["noticing"]["average_precision"]) == {"val", "val_family"}
    assert {tried["from"] for tried in model.about.measured["notice"]} >= {None, 0.5}
    (work / read[0].name).write_bytes(b"torn")
    assert teaching.main(call) == 0  # of weights that now notice, and are the same
    assert read[5:] == read[:1]
    assert "a finding noticed from 0.5 on: mean reward" in capsys.readouterr().out


class here:
    """Run in this process what workers would."""

    def __init__(self, workers):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, work, *args):
        from concurrent.futures import Future

        done = Future()
        done.set_result(work(*args))
        return done


def test_readings_of_other_weights_are_refused(ours, tmp_path, capsys):
    from train.nano import noticing as teaching

    (tmp_path / "weights").write_text("0" * 64)
    before = (ours / ABOUT).read_bytes()

    assert teaching.main(["--out", str(ours), "--work", str(tmp_path), "--incidents", "1", "--items", "1"]) == 2

    assert "read with others" in capsys.readouterr().err
    assert (ours / ABOUT).read_bytes() == before


def test_an_attacker_is_not_taught_to_notice(ours, tmp_path, capsys):
    from train.nano import noticing as teaching

    (ours / ABOUT).write_text(json.dumps(json.loads((ours / ABOUT).read_text()) | {"seat": "attacker"}))

    assert teaching.main(["--out", str(ours), "--work", str(tmp_path / "work")]) == 2
    assert "found an attacker" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()
