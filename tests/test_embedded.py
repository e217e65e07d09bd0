"""The embedded defender: exported from a checkpoint, it says what the checkpoint says, without torch."""

import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eval import run
from players import Options, embedded, open_player
from players.compact import is_silent
from players.embedded import GRAPH, MODEL, TOKENIZER, Embedded
from players.prompt import messages, user_text
from players.reply import parse
from players.weights import ABOUT, TEXT_VERSION
from runs.ending import DONE, WRONG
from schema import LABELS, BadRequestError
from tasks.sets import load_set
from train.data import validation_rows
from train.nano import card, export
from train.nano.checkpoint import history
from train.nano.model import TEMPLATE, make, train_tokenizer
from train.nano.onnx_graph import MIDDLE, graph_of, whole

for name in ("transformers", "onnx", "onnxruntime"):
    pytest.importorskip(name, reason=f"{name} is not installed; the extra `train` brings it")
torch = pytest.importorskip("torch", reason="torch is not installed; the extra `train` brings it")
from transformers import AutoModelForCausalLM  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
ROWS = load_set("holdout").rows
SOME = ROWS[:6]  # of 398 to 795 tokens: all take more than one chunk
SHORT = 10  # tokens of an answer


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for so small a model more only wait for each other
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([user_text(row["observation"], "compact") for row in ROWS[:60]], 1500)


def saved(model, tokenizer, path):
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def wild(tokenizer, tmp_path_factory):
    """A checkpoint with random weights, large enough that other prompts get other nonsense."""
    model = make("nano", tokenizer, seed=3)
    with torch.no_grad():
        for weight in model.model.layers.parameters():
            weight.mul_(5 if weight.ndim == 2 else 1)
    return saved(model, tokenizer, tmp_path_factory.mktemp("wild") / "checkpoint")


@pytest.fixture(scope="module")
def taught(tokenizer, tmp_path_factory):
    """A checkpoint that has learned to write answers, whatever it is asked."""
    model = make("nano", tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    asked = tokenizer("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    replies = [
        f'{{"rationale": "{"so=nothing" if label in LABELS[:3] else "code-injection"}", "cited_log_id": "L1-1", "action": "{label}"}}<|im_end|>'
        for label in LABELS
    ]
    said = [tokenizer(reply, add_special_tokens=False)["input_ids"] for reply in replies]
    said = [[*reply, *reply[-1:] * (max(map(len, said)) - len(reply))] for reply in said]  # after the end more ends
    chance = torch.Generator().manual_seed(0)
    for _ in range(90):
        before = torch.randint(300, len(tokenizer), (10, 24), generator=chance)
        tokens = torch.tensor([[*row.tolist(), *asked, *said[place % 5]] for place, row in enumerate(before)])
        labels = tokens.clone()
        labels[:, : 24 + len(asked)] = -100
        model(tokens, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return saved(model, tokenizer, tmp_path_factory.mktemp("taught") / "checkpoint")


def exported(checkpoint, out, **how):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "LONGEST", SHORT)
        export.export(checkpoint, out, **{"int8": "no", "items": 3, **how})
    return out


@pytest.fixture(scope="module")
def wild_export(wild, tmp_path_factory):
    return exported(wild, tmp_path_factory.mktemp("exports") / "wild")


@pytest.fixture(scope="module")
def taught_export(taught, tmp_path_factory):
    return exported(taught, tmp_path_factory.mktemp("exports") / "taught")


@pytest.fixture
def ours(taught_export, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(taught_export, tmp_path / "defender"))


def by_hand(checkpoint, row):
    """A row's prompt and what transformers generates, without the export's own code."""
    from tokenizers import Tokenizer

    system, user = (message["content"] for message in messages(row["observation"], "compact"))
    text = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
    read = Tokenizer.from_file(str(checkpoint / "tokenizer.json")).encode(text).ids
    model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    return (
        model,
        read,
        model.generate(torch.tensor([read]), max_new_tokens=SHORT, do_sample=False)[0, len(read) :].tolist(),
    )


# ---------------------------------------------------------------- the same answers
def test_it_says_what_the_checkpoint_says_token_by_token(wild, wild_export):
    model = Embedded(wild_export)

    replies = [model.generate(row["observation"]) for row in SOME]

    hand = [by_hand(wild, row) for row in SOME]
    assert [reply.tokens for reply in replies] == [tokens for _, _, tokens in hand]
    assert [reply.prompt_tokens for reply in replies] == [len(read) for _, read, _ in hand]
    assert len({tuple(reply.tokens) for reply in replies}) > 3


def test_a_prompt_is_not_read_again_for_each_token(wild_export, monkeypatch):
    given = []
    read = embedded._Reading._run
    monkeypatch.setattr(
        embedded._Reading,
        "_run",
        lambda reading, binding, tokens: given.append(len(tokens)) or read(reading, binding, tokens),
    )

    reply = Embedded(wild_export).generate(SOME[0]["observation"])

    assert sum(given) == reply.prompt_tokens + SHORT - 1
    assert given[-SHORT + 1 :] == [1] * (SHORT - 1)
    assert max(given) == embedded.CHUNK


@pytest.mark.parametrize("parts", [(30,), (1,) * 30, (7, 20, 1, 2)])
@pytest.mark.parametrize(("kv_heads", "tied"), [(4, True), (2, False)])
@pytest.mark.parametrize(("eight_bits", "apart"), [(False, 1e-5), (True, 0.1)])
def test_the_graph_computes_the_models_logits_however_a_text_is_cut(parts, kv_heads, tied, eight_bits, apart):
    """Shared key heads and an output matrix of its own, as larger Qwen2 models have them, too."""
    import numpy as np
    import onnxruntime
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=99, hidden_size=64, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=kv_heads, tie_word_embeddings=tied, initializer_range=0.1, max_position_embeddings=64,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    for own in (layer.self_attn for layer in model.model.layers):
        torch.nn.init.normal_(own.q_proj.bias)
        torch.nn.init.normal_(own.v_proj.bias)
    session = onnxruntime.InferenceSession(graph_of(model, eight_bits=eight_bits).SerializeToString())
    tokens, reading, at = (torch.arange(30) * 3 % 99).tolist(), embedded._Reading(session, 40), 0

    for part in parts:
        logits = reading.step(tokens[at : at + part])
        at += part

    with torch.no_grad():
        wanted = model(torch.tensor([tokens])).logits[0, -1]
    assert np.abs(logits - wanted.numpy()).max() < apart * wanted.std()


def test_whole_numbers_keep_the_largest_of_each_block():
    import numpy as np

    numbers, scales = whole(np.array([[1.27, -0.634, *[0.0] * 14, *[-3.0, 1.0] * 8], [0.0] * 32], dtype=np.float32))

    assert (numbers.dtype, numbers.shape, scales.shape) == (np.uint8, (2, 1, 32), (2, 1))
    assert (numbers[0, 0, :3].astype(int) - MIDDLE).tolist() == [54, -27, 0]
    assert (numbers[0, 0, 16:18].astype(int) - MIDDLE).tolist() == [-127, 42]
    assert scales[0] == pytest.approx(3 / 127)
    assert (numbers[1] == MIDDLE).all()
    assert whole(np.ones((1, 320), dtype=np.float32))[0].shape == (1, 5, 64)
    with pytest.raises(BadRequestError, match="multiple of 16 inputs for 8 bits, and one has 24"):
        whole(np.ones((1, 24), dtype=np.float32))


def test_it_says_how_sure_it_was_of_each_token(taught, taught_export):
    model = Embedded(taught_export)

    for row in SOME[:3]:
        reply = model.generate(row["observation"], by_ladder=False, nothing_from=0.0)
        full, read, tokens = by_hand(taught, row)
        action = parse(reply.text).answer["action"]
        firsts = [model._tokenizer.encode(label).ids[0] for label in LABELS]
        place = next(place for place, token in enumerate(tokens) if token in firsts)
        with torch.no_grad():
            logits = full(torch.tensor([read + tokens[:place]])).logits[0, len(read) - 1 :]
        logs = logits.log_softmax(-1)[range(place + 1), tokens[: place + 1]]
        among_five = logits[-1, torch.tensor(firsts)].log_softmax(-1)[LABELS.index(action)]

        wanted = (float(among_five), float(logs.sum()), float(logs.min()), float(logs.mean()))
        assert reply.certainty == pytest.approx(wanted, abs=1e-4)
        assert wanted[1] < wanted[2] < wanted[3] < -1e-3


def calibrated(directory, **changes):
    """Write a calibration into an export."""
    about = json.loads((directory / ABOUT).read_text())
    measured = {"n": 3, "ece": 0.04, "brier": 0.1, "ece_before": 0.3, "brier_before": 0.3}
    fitted = {"of": "weakest", "temperature": 2.0, "stated": True, "val": measured, "test_seed": measured, **changes}
    (directory / ABOUT).write_text(json.dumps({**about, "calibration": fitted}))
    return Embedded(directory)


@pytest.mark.parametrize(("of", "temperature"), [("weakest", 2.0), ("action", 0.5), ("reply", 4.0), ("mean", 1.0)])
def test_its_confidence_is_what_was_fitted_at_the_fitted_temperature(ours, of, temperature):
    model = calibrated(ours, of=of, temperature=temperature)

    reply = model.generate(SOME[0]["observation"])

    assert reply.confidence == pytest.approx(math.exp(getattr(reply.certainty, of) / temperature))
    assert 0 < reply.confidence < 1
    assert model.triage(SOME[0]["observation"]).answer == {
        **parse(reply.text).answer,
        "confidence": round(reply.confidence, 4),
    }
    (shown,) = open_player(str(ours), Options()).answer([SOME[0]])
    assert json.loads(shown.text)["confidence"] == round(reply.confidence, 4)


def test_a_confidence_that_cannot_be_trusted_is_not_stated(ours):
    model = calibrated(ours, stated=False)

    assert model.generate(SOME[0]["observation"]).confidence is None
    assert model.triage(SOME[0]["observation"]).answer["confidence"] is None
    (shown,) = open_player(str(ours), Options()).answer([SOME[0]])
    assert "confidence" not in json.loads(shown.text)


def test_exports_that_state_other_confidences_have_other_fingerprints(ours):
    prints = {
        calibrated(ours, **changes).about.fingerprint
        for changes in ({}, {"of": "mean"}, {"temperature": 2.5}, {"stated": False})
    }

    assert len(prints) == 4


def test_a_reply_begins_with_nothing_only_where_that_is_as_likely_as_the_model_asks(ours):
    row = SOME[0]["observation"]
    first = Embedded(ours).generate(row, nothing_from=0.0)
    assert first.text.startswith('{"rationale": "so=')
    assert 0.3 < first.nothing < 1

    def begin(bound):
        about = json.loads((ours / ABOUT).read_text())
        (ours / ABOUT).write_text(json.dumps({**about, "nothing_from": bound}))
        model = Embedded(ours)
        return model.generate(row).text[13:17], model.about.fingerprint

    prints = [begin(bound) for bound in (0.0, first.nothing - 1e-6, min(1.0, first.nothing + 1e-6))]
    assert [text for text, _ in prints] == [' "so', ' "so', ' "co']
    assert len({fingerprint for _, fingerprint in prints}) == 3


PIECES = (
    *('{"rationale": "', '", "cited_log_id": "', '", "action": "', '"}', " ", "=", ",", "so", " so=", "solved-puzzle", "together", "nothing", '"'),
    *("L1-2", "L1-3", " so=suspicious", "suspicious", "confirmed", "host", "on=@host1", "by=@user1", "ok=no", "ok=@t1", "silent", "explained", "privileged", "odd-service"),
    *LABELS,
)  # fmt: skip
FIRST, SECOND = (
    "solved-puzzle L1-2 suspicious host on=@host1 by=@user1",
    "odd-service L1-3 suspicious host on=@host1 by=@user1",
)


def pieces_of(text):
    """Cut a text into pieces, the longest first, as numbers."""
    numbers = []
    while text:
        piece = max((piece for piece in PIECES if text.startswith(piece)), key=len)
        numbers.append(PIECES.index(piece))
        text = text.removeprefix(piece)
    return numbers


def written(rationale, *, silent, favoured="suspicious", action="dismiss"):
    """Return the rationale and the action of a model that would write these, and of two ends of a chain the one that begins with the favoured piece."""
    ladder, reply = embedded.Ladder(pieces_of, silent), ""
    logits = [float(piece == favoured) for piece in PIECES]

    def wanted():
        if reply.endswith(embedded.ASKS_ACTION):
            return action
        for done, then in ((embedded.ASKS_ACTION, '"}'), ("L1-2", PIECES[2]), (PIECES[1], "L1-2")):
            if done in reply.partition(PIECES[1])[1] + reply.partition(PIECES[1])[2]:
                return then
        if re.search(r"so=[a-z,]*[a-z]$", reply):
            return PIECES[1]
        return PIECES[pieces_of(f'{PIECES[0]}{rationale}"'.removeprefix(reply))[0]]

    while not reply.endswith('"}'):
        reply += PIECES[ladder.choose(PIECES.index(wanted()), logits, reply, wanted())]
    answer = json.loads(reply)
    return answer["rationale"], answer["action"]


@pytest.mark.parametrize(
    ("said", "silent", "favoured", "ends"),
    [
        ("so=nothing", False, " so=suspicious", ("so=nothing", "dismiss")),
        ("so=nothing", True, "suspicious", ("so=silent", "monitor")),
        (f"{FIRST} ok=@t1 so=explained", False, "suspicious", (f"{FIRST} ok=@t1 so=explained", "dismiss")),
        (f"{FIRST} ok=@t1 so=explained", True, "suspicious", (f"{FIRST} ok=@t1 so=silent", "monitor")),
        (f"{FIRST} ok=no so=explained", True, "suspicious", (f"{FIRST} ok=no so=suspicious", "monitor")),
        (f"{FIRST} ok=no {SECOND} ok=no so=explained", False, " so=", (f"{FIRST} ok=no {SECOND} ok=no so=together,host", "quarantine_host")),
        (f"{FIRST} ok=no {SECOND} ok=@t1 so=explained", False, " so=", (f"{FIRST} ok=no {SECOND} ok=@t1 so=suspicious", "monitor")),
        (f"{FIRST} ok=no {SECOND} ok=no so=explained", False, " so=suspicious", (f"{FIRST} ok=no {SECOND} ok=no so=suspicious", "monitor")),
        ("solved-puzzle so=nothing", True, "suspicious", ("solved-puzzle so=nothing", "dismiss")),
    ],
)  # fmt: skip
def test_a_chain_ends_as_its_reasons_lead_to_by_the_ladder(said, silent, favoured, ends):
    assert written(said, silent=silent, favoured=favoured) == ends


def test_an_export_keeps_to_the_ladder_and_writes_freely_where_it_is_asked_to(ours):
    row = next(row for row in ROWS if is_silent(row["observation"]))
    about = json.loads((ours / ABOUT).read_text())
    assert about["by_ladder"]
    (ours / ABOUT).write_text(json.dumps({**about, "longest": 40, "nothing_from": 0.0}))
    model = Embedded(ours)

    free, kept = (model.generate(row["observation"], by_ladder=by_ladder).text for by_ladder in (False, None))

    assert free.startswith('{"rationale": "so=nothing')
    assert kept.startswith('{"rationale": "so=silent')
    (ours / ABOUT).write_text(json.dumps({**about, "longest": 40, "nothing_from": 0.0, "by_ladder": False}))
    assert Embedded(ours).about.fingerprint != model.about.fingerprint


def test_an_export_settles_anew_how_it_decides_without_its_checkpoint(ours, taught_export, capsys):
    described = json.loads((ours / ABOUT).read_text())
    (ours / ABOUT).write_text(json.dumps(described | {"by_ladder": False, "nothing_from": 0.7, "calibration": None}))

    assert export.main(["--settle", "--out", str(ours), "--items", "3"]) == DONE

    settled, exported = (json.loads((path / ABOUT).read_text()) for path in (ours, taught_export))
    for decides in ("by_ladder", "nothing_from", "calibration", "files"):
        assert settled[decides] == exported[decides], decides
    assert Embedded(ours).about.fingerprint == Embedded(taught_export).about.fingerprint
    assert "Wrote defender" in capsys.readouterr().out


def test_an_attackers_export_settles_nothing(ours, capsys):
    described = json.loads((ours / ABOUT).read_text())
    (ours / ABOUT).write_text(json.dumps(described | {"seat": "attacker"}))
    before = {path.name: path.read_bytes() for path in ours.iterdir()}

    assert export.main(["--settle", "--out", str(ours), "--items", "3"]) == WRONG

    assert "found an attacker" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in ours.iterdir()} == before


def test_nonsense_has_no_confidence_and_a_fault(wild_export):
    model = Embedded(wild_export)

    nonsense = model.generate(SOME[0]["observation"])
    assert (nonsense.confidence, nonsense.nothing, nonsense.noticed) == (None, None, [])
    answer, fault = model.triage(SOME[0]["observation"])
    assert answer is None
    assert "JSON object" in fault


# ---------------------------------------------------------------- evaluation
def written_freely(directory):
    """Let an export write the end of its chain itself."""
    about = json.loads((directory / ABOUT).read_text())
    (directory / ABOUT).write_text(json.dumps({**about, "by_ladder": False, "nothing_from": 0.0}))
    return directory


def test_a_run_on_an_exported_directory(ours, tmp_path):
    out = tmp_path / "run"
    call = ["--defender", str(written_freely(ours)), "--split", "val", "--n", "4", "--out", str(out)]

    assert run.main(call) == DONE

    told = json.loads((out / "run.json").read_text())
    rows = [json.loads(line) for line in (out / "rollouts.jsonl").read_text().splitlines()]
    assert told["density"] == told["defender"]["density"] == "compact"
    assert (told["defender"]["kind"], told["defender"]["precision"]) == ("embedded", "float32")
    assert told["defender"]["fingerprint"] == Embedded(ours).about.fingerprint
    assert [row["fault"] for row in rows] == [""] * 4
    assert all(row["action"] in LABELS for row in rows)
    assert all({"confidence": None, **json.loads(row["reply"])} == row["answer"] for row in rows)
    assert rows[0]["usage"]["completion_tokens"] == 10


def test_it_works_where_torch_and_transformers_cannot_be_imported(taught_export, tmp_path):
    code = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'transformers', 'onnx', 'fastapi'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Hidden)\n"
        "from pathlib import Path\n"
        "from players.embedded import load\n"
        "from env import OpenSOCEnv\n"
        f"place = Path({str(taught_export)!r})\n"
        "seen = OpenSOCEnv().reset(seed=1, mode='defender_only').model_dump()\n"
        "print(load(place).triage(seen).answer['action'], load(place) is load(place))\n"
        "from eval import run\n"
        f"print(run.main(['--defender', str(place), '--split', 'val', '--n', '2', '--out', {str(tmp_path / 'out')!r}]))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )

    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.split()[0] in LABELS
    assert (first.split()[1], last) == ("True", "0")


def test_a_prompt_that_does_not_fit_is_answered_with_that_fault(ours, tmp_path):
    about = json.loads((ours / ABOUT).read_text())
    tokens = len(Embedded(ours).read(SOME[0]["observation"]))
    row = {name: SOME[0][name] for name in ("id", "task", "observation")}
    replies = []
    for context in (tokens + SHORT - 1, tokens + SHORT):
        (ours / ABOUT).write_text(json.dumps({**about, "context": context}))
        replies += open_player(str(ours), Options()).answer([row])

    assert replies[0].text is None
    assert (
        replies[0].fault == f"the prompt has {tokens} tokens, and the model has room for {tokens - 1} before its answer"
    )
    assert (parse(replies[1].text).answer is None, replies[1].fault) == (False, "")


def test_max_tokens_shortens_an_answer_and_never_lengthens_it(wild_export):
    row = {name: SOME[0][name] for name in ("id", "task", "observation")}
    counts = [
        open_player(str(wild_export), Options(max_tokens=limit)).answer([row])[0].usage["completion_tokens"]
        for limit in (4, 500)
    ]

    assert counts == [4, SHORT]
    assert len(Embedded(wild_export).generate(row["observation"], longest=500).tokens) == SHORT


# ---------------------------------------------------------------- broken files
@pytest.mark.parametrize("name", [GRAPH, TOKENIZER, ABOUT])
def test_a_missing_file_is_named(ours, name):
    (ours / name).unlink()

    with pytest.raises(BadRequestError, match=rf"(?s){name}.*No such file.*train\.nano\.export"):
        Embedded(ours)


@pytest.mark.parametrize("name", [GRAPH, TOKENIZER])
def test_a_truncated_file_is_named(ours, name):
    content = (ours / name).read_bytes()
    (ours / name).write_bytes(content[: len(content) // 2])

    with pytest.raises(BadRequestError, match=rf"(?s){name} as it was exported.*damaged.*train\.nano\.export"):
        Embedded(ours)


@pytest.mark.parametrize("name", [GRAPH, TOKENIZER])
def test_nonsense_under_the_right_hash_is_refused(ours, name):
    about = json.loads((ours / ABOUT).read_text())
    (ours / name).write_bytes(b"{}")
    about["files"][name] = hashlib.sha256(b"{}").hexdigest()
    (ours / ABOUT).write_text(json.dumps(about))

    with pytest.raises(BadRequestError, match=r"loading it gave .*train\.nano\.export"):
        Embedded(ours)


@pytest.mark.parametrize(
    ("text", "told"), [("{", "Invalid JSON"), ("{}", "files: Field required"), ('{"format": 1}', "format: Input")]
)
def test_a_damaged_description_is_told(ours, text, told):
    (ours / ABOUT).write_text(text)

    with pytest.raises(BadRequestError, match=f"(?s)defender.json as train.nano.export writes it; .*{told}"):
        Embedded(ours)


@pytest.mark.parametrize("version", [None, 1])
def test_an_export_of_another_text_is_refused(ours, version):
    about = json.loads((ours / ABOUT).read_text())
    assert about.pop("text_version") == TEXT_VERSION
    (ours / ABOUT).write_text(json.dumps({**about, "text_version": version} if version else about))

    with pytest.raises(BadRequestError, match=f"Expected a model of version {TEXT_VERSION} .* learned version 1: "):
        Embedded(ours)


def test_without_a_model_the_error_says_how_to_make_one(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("players.embedded.EmbeddedModel.__init__.__defaults__", (tmp_path / "models" / "defender",))

    assert run.main(["--defender", "embedded", "--split", "val", "--n", "1", "--out", str(tmp_path / "out")]) == WRONG
    assert "no such directory; make it with `python -m train.nano.export CHECKPOINT`" in capsys.readouterr().err


def test_an_observation_of_nobody_is_refused(taught_export):
    with pytest.raises(BadRequestError, match="alert"):
        Embedded(taught_export).generate({"log_window": []})


# ---------------------------------------------------------------- the export
def content(directory):
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def alone(directory):
    """Nothing was left beside it."""
    return [one.name for one in directory.parent.iterdir()] == [directory.name]


def test_eight_bits_are_smaller_and_the_export_says_what_both_forms_do(taught, tmp_path):
    one = exported(taught, tmp_path / "defender", int8="auto", items=4)
    about = Embedded(one).about

    assert (about.precision, about.longest, alone(one)) == ("int8", SHORT, True)
    assert {name: about.measured[name] for name in ("set", "items")} == {"set": "val", "items": 4}
    assert about.measured["float32"]["same_decisions"] == 4
    assert about.measured["int8"]["bytes"] < 0.4 * about.measured["float32"]["bytes"]
    card = (one / "README.md").read_text()
    for name in ("float32", "int8"):
        figures = about.measured[name]
        assert (
            f"| {name} | {figures['accuracy']:.3f} | {figures['macro_f1']:.3f} | {figures['same_decisions']} of 4 "
            in card
        )
        assert 0 < figures["latency_median_s"] <= figures["latency_p99_s"] <= figures["latency_max_s"]
    assert "latency_median_s" not in about.measured["checkpoint"]
    assert parse(Embedded(one).generate(SOME[0]["observation"]).text).answer


def test_eight_bits_hold_bytes_for_every_matrix(taught):
    from onnx import numpy_helper

    graph = graph_of(AutoModelForCausalLM.from_pretrained(taught), eight_bits=True).graph

    sizes = {}
    for weight in graph.initializer:
        array = numpy_helper.to_array(weight)
        sizes[array.dtype.name] = sizes.get(array.dtype.name, 0) + array.size
    assert sizes["uint8"] > 40 * sizes["float32"]  # norms, biases, scales and places are what is left


@pytest.mark.parametrize(("int8", "lost", "kept"), [("auto", 1, "int8"), ("auto", 2, "float32"), ("yes", 2, "int8")])
def test_eight_bits_are_kept_where_they_cost_a_point_at_most(taught, tmp_path, monkeypatch, int8, lost, kept):
    """Of 100 incidents of which the checkpoint has some right."""
    rows = validation_rows(0, 1) * 100
    right = json.dumps({"rationale": "", "cited_log_id": "L1-1", "action": rows[0]["ground_truth"]["action"]})

    def answered(directory, rows, who, **_):
        wrong = lost if who == "int8" else 0
        texts = (["-"] * wrong + [right] * 100)[: len(rows)]
        return export.Answers(texts, *([value] * len(rows) for value in (0.1, None, None)))

    monkeypatch.setattr(export, "frozen", lambda name, limit: rows)
    monkeypatch.setattr(export, "validation_rows", lambda seed, items, split="val": rows)
    monkeypatch.setattr(export, "_answers_of", answered)
    monkeypatch.setattr(export.Source, "answers", lambda self, rows: export.Answers([right] * 100, [], [], []))

    about = Embedded(exported(taught, tmp_path / "defender", int8=int8)).about

    assert (about.precision, about.measured["int8"]["same_decisions"]) == (kept, 100 - lost)


def test_the_same_checkpoint_gives_the_same_export(taught, taught_export, tmp_path):
    again = exported(taught, tmp_path / "defender")

    assert Embedded(again).about.fingerprint == Embedded(taught_export).about.fingerprint


def test_what_is_too_large_is_refused_and_the_old_one_stays(taught, ours, monkeypatch):
    before = content(ours)
    monkeypatch.setattr(export, "LIMIT", len(before[GRAPH]) - 1)  # not of all: how long the seconds are written differs

    with pytest.raises(BadRequestError, match=r"at most \d+ MB, and as float32 it has \d\.\d\d MB; take --int8 yes"):
        exported(taught, ours)

    assert (content(ours), alone(ours)) == (before, True)


def test_the_card_says_which_commands_made_the_model(taught, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def ran(path, command, model, settings=None, **more):
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
        settings = {"model": model, "device": "cpu", "threads": 2, **(settings or {})}
        run = {"command": f"python -m train.{command}", "commit": "c" * 40, "settings": settings, **more}
        (tmp_path / path / "run.json").write_text(json.dumps(run))

    ran("pre", "pretrain --model nano", "nano", steps=200, incidents=3200)
    fresh_ones = {"generate": 9000, "easy_first": 400, "tasks": "stage1_basic,stage2_multi", "device": "cuda"}
    ran("sft", "sft --model pre --generate 9000", "pre", fresh_ones, steps=75, incidents=1200, seconds=300.0)
    ran("grpo", "grpo --model sft", "sft", stages=["one", "two", "three"])
    for number, stage in enumerate(("one", "two", "three")):
        ran(f"grpo/{stage}", "grpo --model sft", "sft", steps=10, incidents=100 * (number + 1), seconds=45)
    shutil.copytree(taught, tmp_path / "grpo" / "two", dirs_exist_ok=True)

    made = exported(tmp_path / "grpo" / "two", tmp_path / "defender", items=1)

    runs = Embedded(made).about.made["runs"]
    assert [(run["command"].split()[2], run["steps"], run["incidents"]) for run in runs] == [
        ("train.pretrain", 200, 3200),
        ("train.sft", 75, 1200),
        ("train.grpo", 20, 300),  # of the first two stages; the third came later
    ]
    told = (made / "README.md").read_text()
    assert "From random weights, one command after the other" in told
    assert (
        "| `python -m train.sft --model pre --generate 9000` | fresh labelled incidents of the `train` families | 75 "
        "| 1,200 (stage1_basic 800; stage2_multi 400) | 5.0 GPU minutes | `cccccccccccc` |"
    ) in told
    assert "| 20 | 300 (one 100; two 200) | 0.05 core hours | `cccccccccccc` |" in told

    assert "| size | 128 wide, 4 layers, 4 heads, 320 within, a vocabulary of " in told

    (tmp_path / "pre" / "run.json").unlink()
    assert [run["steps"] for run in history(tmp_path / "grpo" / "two")] == [75, 20]


def test_a_run_that_was_broken_off_counts_what_its_last_checkpoint_says(tmp_path):
    (tmp_path / "sft" / "last").mkdir(parents=True)
    settings = {"model": "nano", "generate": 100, "tasks": "stage2_multi,stage3_mixed"}
    (tmp_path / "sft" / "run.json").write_text(json.dumps({"command": "python -m train.sft", "settings": settings}))
    saved = {"step": 7, "incidents": 15, "seconds": 3.7}
    (tmp_path / "sft" / "last" / "opensoc.json").write_text(json.dumps(saved))

    (run,) = history(tmp_path / "sft" / "last")

    assert (run["steps"], run["incidents"], run["seconds"]) == (7, 15, 4)
    assert run["by_task"] == {"stage2_multi": 8, "stage3_mixed": 7}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("where", ["describe", "card", "check_size"])
def test_an_export_that_breaks_off_leaves_the_old_one(taught, ours, monkeypatch, capsys, where, stop):
    before = content(ours)

    def breaks(*_):
        raise stop

    monkeypatch.setattr(export, where, breaks)

    def silent(_, rows, *__, **___):
        return export.Answers(*([value] * len(rows) for value in ("-", 0.1, None, None)))

    monkeypatch.setattr(export, "_answers_of", silent)
    monkeypatch.setattr(export.Source, "answers", silent)

    assert export.main([str(taught), "--out", str(ours), "--items", "1", "--int8", "no"]) == (
        130 if stop is KeyboardInterrupt else 2
    )

    assert (content(ours), alone(ours)) == (before, True)
    assert "kept" in capsys.readouterr().err


def test_a_graph_that_disagrees_is_not_written(taught, tmp_path, monkeypatch):
    monkeypatch.setattr(export.Source, "answers", lambda self, rows: export.Answers(["else"] * len(rows), [], [], []))

    with pytest.raises(BadRequestError, match=r"on 3 of 3 incidents it does not; on \S+ it says .* for \('', 'else'\)"):
        exported(taught, tmp_path / "defender")

    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_something_else_is_not_replaced(taught, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(BadRequestError, match="give another --out"):
        exported(taught, tmp_path)

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def altered(checkpoint, tmp_path, file, **changes):
    copy = Path(shutil.copytree(checkpoint, tmp_path / "altered"))
    (copy / file).write_text(json.dumps({**json.loads((copy / file).read_text()), **changes}))
    return copy


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "llama"}, "its model_type is 'llama'"),
        ({"hidden_act": "gelu"}, "its hidden_act is 'gelu'"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "its rope_type is"),
    ],
)
def test_a_model_of_another_make_is_refused(taught, tmp_path, changes, told):
    with pytest.raises(BadRequestError, match=told):
        exported(altered(taught, tmp_path, "config.json", **changes), tmp_path / "defender")


def test_a_checkpoint_that_cannot_be_read_is_a_wrong_call(taught, tmp_path, capsys):
    broken = Path(shutil.copytree(taught, tmp_path / "broken"))
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    templateless = Path(shutil.copytree(taught, tmp_path / "templateless"))
    (templateless / "chat_template.jinja").write_text(
        TEMPLATE.replace("message['role']", "raise_exception('no system')")
    )

    for path, told in [
        (tmp_path, "config.json"),
        (broken, "loading it gave"),
        (templateless, "chat template with a system"),
    ]:
        assert export.main([str(path), "--out", str(tmp_path / "defender")]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "defender").exists()


def test_weights_that_are_not_finite_are_refused(taught):
    source = export.Source(taught)
    source.model.model.layers[1].mlp.up_proj.weight.data[0, 0] = float("nan")

    with pytest.raises(BadRequestError, match=r"finite weights, and layer1\.up\.weight holds others"):
        graph_of(source.model)


# ---------------------------------------------------------------- the card
def test_the_card_quotes_a_run_of_this_very_export(ours, tmp_path, capsys):
    assert "Not measured" in (ours / "README.md").read_text()
    out = tmp_path / "run"
    run.main(["--defender", str(ours), "--split", "val", "--n", "4", "--out", str(out)])

    assert export.main(["--out", str(ours), "--metrics", str(out)]) == 0

    text = (ours / "README.md").read_text()
    accuracy = json.loads((out / "metrics.json").read_text())["metrics"]["val"]["accuracy"]
    assert f"| accuracy | val | {accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f}) | 4 |" in text
    assert "Not measured" not in text

    about = json.loads((ours / ABOUT).read_text())
    (ours / ABOUT).write_text(json.dumps({**about, "longest": SHORT + 1}))
    assert export.main(["--out", str(ours), "--metrics", str(out)]) == 2
    assert "Expected a run of this very export" in capsys.readouterr().err
    assert (ours / "README.md").read_text() == text
    assert export.main(["--out", str(ours)]) == 2
    assert export.main(["--out", str(ours), "--metrics", str(tmp_path / "nowhere")]) == 2


def test_the_card_says_how_training_went(taught, tmp_path):
    (copy := Path(shutil.copytree(taught, tmp_path / "checkpoint"))).joinpath("opensoc.json").write_text(
        json.dumps({"command": "python -m train.sft | tee", "rows": {"sft": 600}, "text_version": TEXT_VERSION})
    )

    text = (exported(copy, tmp_path / "defender", items=1) / card.CARD).read_text()

    assert "| command | python -m train.sft &#124; tee |" in text
    assert '| rows | {"sft": 600} |' in text
    assert str(tmp_path) not in text


# ---------------------------------------------------------------- the one that ships
@pytest.mark.skipif(
    not MODEL.is_dir(), reason="models/defender is not made yet: python -m train.nano.export CHECKPOINT"
)
def test_the_model_that_ships_is_small_and_answers():
    model = Embedded()
    told = [model.triage(row["observation"]) for row in SOME[:3]]

    assert sum(file.stat().st_size for file in MODEL.iterdir()) <= export.LIMIT
    assert [fault for _, fault in told] == [""] * 3
    measured = model.about.measured
    assert measured["float32"]["same_decisions"] >= export.MUST_AGREE * measured["items"] >= 0.99 * 200
    assert measured["checkpoint"]["accuracy"] - measured[model.about.precision]["accuracy"] <= export.MAY_LOSE
    assert measured[model.about.precision]["latency_median_s"] < 0.4
    assert measured[model.about.precision]["latency_p99_s"] < 1
    assert "Not measured" not in (MODEL / card.CARD).read_text()
