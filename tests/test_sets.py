"""The frozen sets are what their manifest says, what the builder makes, and what the verifier decides."""

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from sklearn.metrics import f1_score

from env import OpenSOCEnv
from eval import build_sets, set_rows
from eval import sets as chats
from eval.build_sets import main
from eval.set_rows import OPERATIONAL_MIX
from generator import GENERATOR_VERSION
from generator.injection import PLACES, TIERS
from generator.invariances import INVARIANCES
from players.prompt import answer_text, messages
from players.reply import parse
from schema import LABELS, TASKS, BadRequestError, ProcessFields
from tasks.families import families_of
from tasks.sets import BENCHMARK, DATA, FIELDS, NAMES, PATHS, expand, load_manifest, load_set, pack, read_text
from verifier import decision, judge_observation
from verifier.window import Finding, rule

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = 30  # rows of each file that are made again
TWIN_SETS = ("pairs", "injection", "invariance")


def rows(name):
    return load_set(name).rows


def action(row):
    return row["ground_truth"]["action"]


def pairs_of(name):
    return list(zip(rows(name)[::2], rows(name)[1::2], strict=True))


# ---------------------------------------------------------------- every set
@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_the_file_of_its_manifest(name):
    entry = load_manifest()["sets"][name]
    content = (DATA / PATHS[name]).read_bytes()
    text = gzip.decompress(content) if PATHS[name].endswith(".gz") else content
    found = load_set(name)
    tasks = Counter((row["task"], action(row)) for row in found.rows)
    families = Counter((row["family"], action(row)) for row in found.rows)

    assert entry["sha256"] == found.sha256 == hashlib.sha256(text).hexdigest()
    assert (entry["bytes"], entry["rows"], entry["path"]) == (len(text), text.count(b"\n"), PATHS[name])
    assert entry["generator"] == GENERATOR_VERSION
    assert tasks == {(task, label): number for task, row in entry["tasks"].items() for label, number in row.items()}
    assert families == {(of, label): number for of, row in entry["families"].items() for label, number in row.items()}
    assert Counter(row["split"] for row in found.rows) == entry["splits"]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_made_again_from_their_ids_byte_for_byte(name):
    assert build_sets.stale_rows(name, DATA, SAMPLE) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_verifier_decides_by_the_observation_as_the_row_says(name):
    for row in rows(name):
        truth = judge_observation(row["observation"]).to_dict()
        assert row["ground_truth"] == {
            field: truth[field] for field in ("action", "evidence_log_ids", "techniques", "rule_ids")
        }, row["id"]


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_their_fields_and_an_answer_that_can_be_parsed(name):
    more = ("pair", "edit", "side", *(("tier", "wanted") if name == "injection" else ())) if name in TWIN_SETS else ()
    for row in rows(name):
        assert set(row) == {*FIELDS, *more}
        assert set(row["observation"]) == {"alert", "log_window", "context"}
        assert row["id"].startswith(f"{name}/{row['split']}/{row['task']}/")
    for row in rows(name)[:: len(rows(name)) // SAMPLE]:
        assert parse(answer_text(row["observation"])).answer["action"] == action(row)


def test_no_prompt_and_no_incident_stands_twice():
    every = [row for name in NAMES for row in rows(name)]

    assert len({row["id"] for row in every}) == len(every) == 4400
    assert build_sets.repeated_rows(every) == []


def test_training_and_test_share_no_incident_and_no_world():
    """Names of hosts tell the world; families and the tactic that are held out are in no training row."""
    seen = {host["name"] for row in rows("sft_train") for host in row["observation"]["context"]["hosts"]}
    held_out = {family.name for split in ("val_family", "test_family", "test_tactic") for family in families_of(split)}
    tests = [row for name in NAMES if name != "sft_train" for row in rows(name)]

    assert {row["split"] for row in rows("sft_train")} == {"train"}
    assert {row["split"] for row in tests} == set(BENCHMARK)
    assert held_out.isdisjoint(row["family"] for row in rows("sft_train"))
    shared = [
        row["id"]
        for row in tests
        if row.get("edit") != "renamed" and seen & {host["name"] for host in row["observation"]["context"]["hosts"]}
    ]
    assert shared == []


# ---------------------------------------------------------------- set by set
def test_sft_train_has_600_rows_of_every_task_and_action_alike():
    cells = Counter((row["task"], action(row)) for row in rows("sft_train"))

    assert len(rows("sft_train")) == 600
    assert cells == dict.fromkeys([(task, label) for task in TASKS for label in LABELS], 30)


def test_always_dismissing_scores_on_holdout_what_the_owner_says():
    actions = [action(row) for row in rows("holdout")]

    assert Counter(actions) == {"dismiss": 26, "monitor": 43, "quarantine_host": 43, "block_ip": 44, "escalate": 44}
    assert Counter(row["task"] for row in rows("holdout")) == dict.fromkeys(TASKS, 50)
    assert set(Counter(row["split"] for row in rows("holdout"))) == set(BENCHMARK)
    assert round(actions.count("dismiss") / len(actions), 2) == 0.13
    assert round(f1_score(actions, ["dismiss"] * 200, average="macro"), 2) == 0.05


@pytest.mark.parametrize("name", BENCHMARK)
def test_a_test_set_is_balanced_and_weighs_like_a_working_day(name):
    cells = Counter((row["task"], action(row)) for row in rows(name))
    weights = Counter()
    for row in rows(name):
        weights[action(row)] += row["weight"]

    assert len(rows(name)) >= 700
    assert cells == dict.fromkeys([(task, label) for task in TASKS for label in LABELS], 35)
    assert {row["split"] for row in rows(name)} == {name}
    assert {row["family"] for row in rows(name)} <= {family.name for family in families_of(name)}
    assert sum(OPERATIONAL_MIX.values()) == pytest.approx(1)
    assert OPERATIONAL_MIX["dismiss"] > 0.5
    assert {label: weights[label] / weights.total() for label in LABELS} == pytest.approx(OPERATIONAL_MIX, abs=1e-6)
    assert weights.total() / len(rows(name)) == pytest.approx(1, abs=1e-6)


def test_holdout_weighs_like_a_working_day():
    weights = Counter()
    for row in rows("holdout"):
        weights[action(row)] += row["weight"]

    assert {label: weights[label] / weights.total() for label in LABELS} == pytest.approx(OPERATIONAL_MIX, abs=1e-5)


@pytest.mark.parametrize(("name", "number"), [("pairs", 300), ("injection", 300), ("invariance", 150)])
def test_twins_stand_side_by_side_and_differ_in_what_is_seen(name, number):
    pairs = pairs_of(name)

    assert len(pairs) == number == len({base["pair"] for base, _ in pairs})
    for base, twin in pairs:
        assert (base["side"], twin["side"]) == ("base", "twin")
        assert (base["pair"], base["edit"]) == (twin["pair"], twin["edit"])
        assert base["observation"] != twin["observation"]
        assert {base["weight"], twin["weight"]} == {1.0}


def test_every_pair_flips_by_every_kind_of_edit_in_both_directions():
    turns = Counter()
    for base, twin in pairs_of("pairs"):
        before, after = LABELS.index(action(base)), LABELS.index(action(twin))
        assert before != after, base["pair"]
        turns[base["edit"], after > before] += 1
    edits = {edit for edit, _ in turns}
    up, down = ({edit for edit, graver in turns if graver is way} for way in (True, False))

    assert edits == set(set_rows.EDITS)
    assert len(up & down) >= 12
    assert 100 <= sum(number for (_, graver), number in turns.items() if graver) <= 200
    assert {row["task"] for row in rows("pairs")} == set(TASKS)


def test_injections_have_every_place_and_tier_and_keep_the_truth():
    cells = Counter((base["edit"], base["tier"]) for base, _ in pairs_of("injection"))

    assert set(cells) == {(place, tier) for place in PLACES for tier in TIERS}
    assert min(cells.values()) >= 7
    for base, twin in pairs_of("injection"):
        assert action(base) == action(twin)
        assert (base["wanted"], base["tier"]) == (None, twin["tier"])
        assert (twin["wanted"] is None) == (twin["tier"] == "harmless")
        assert twin["wanted"] != action(twin)
        if twin["tier"] == "plain":
            said = json.dumps(twin["observation"]).replace("-", "_")
            assert twin["wanted"] in said


def test_invariances_keep_the_truth_under_every_edit():
    assert {base["edit"] for base, _ in pairs_of("invariance")} == {edit.__name__ for edit in INVARIANCES}
    assert [base["pair"] for base, twin in pairs_of("invariance") if action(base) != action(twin)] == []


# ---------------------------------------------------------------- as others read them
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_datasets_reads_every_file(name, tmp_path):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "json", data_files=str(DATA / PATHS[name]), split="train", cache_dir=str(tmp_path / "cache")
    )

    assert len(loaded) == len(rows(name))
    assert loaded[0]["id"] == rows(name)[0]["id"]
    assert loaded[-1]["ground_truth"] == rows(name)[-1]["ground_truth"]


def test_pandas_reads_a_packed_file():
    pandas = pytest.importorskip("pandas")
    table = pandas.read_json(DATA / PATHS["invariance"], lines=True)

    assert list(table["id"]) == [row["id"] for row in rows("invariance")]


def test_an_item_can_be_played_in_the_environment():
    for name in ("sft_train", *BENCHMARK, "holdout"):
        row = rows(name)[0]
        seen = OpenSOCEnv().reset(seed=int(row["id"].split("/")[3]), task=row["task"], split=row["split"]).model_dump()

        assert {field: seen[field] for field in row["observation"]} == row["observation"]


def test_the_card_has_a_configuration_for_every_file():
    card = (DATA / "README.md").read_text(encoding="utf-8")
    matter = yaml.safe_load(card.split("---\n")[1])
    files = {}
    for config in matter["configs"]:
        told = config["data_files"]
        files[config["config_name"]] = told if isinstance(told, str) else told[0]["path"]

    assert files == PATHS
    assert (matter["license"], matter["language"]) == ("bsd-3-clause", ["en"])
    assert "BSD 3-Clause" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert all(f"`{name}`" in card for name in NAMES)
    assert all(f"`{field}`" in card for field in (*FIELDS, "pair", "edit", "side"))
    assert all(f"{share:.0%}".replace("%", " %") + f" `{label}`" in card for label, share in OPERATIONAL_MIX.items())


# ---------------------------------------------------------------- loading
@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A data folder of its own with holdout and the manifest."""
    for name in ("manifest.json", "holdout.jsonl"):
        shutil.copy(DATA / name, tmp_path / name)
    monkeypatch.setattr("tasks.sets.DATA", tmp_path)
    return tmp_path


def test_a_set_is_loaded_by_name_or_path(copied):
    path = copied / "holdout.jsonl"
    other = shutil.copy(path, copied / "mine.jsonl")

    by_name, by_path, mine = load_set("holdout"), load_set(str(path)), load_set(other)

    assert by_name == by_path
    assert (mine.name, mine.rows) == ("mine", by_name.rows)
    assert by_name.rows is mine.rows is load_set("holdout").rows
    assert expand(["holdout", "benchmark", "test_seed"]) == ("holdout", *BENCHMARK)


def test_a_changed_file_is_refused_by_name_and_by_path(copied):
    path = copied / "holdout.jsonl"
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes().replace(b"escalate", b"Escalate", 1))
    found = hashlib.sha256(path.read_bytes()).hexdigest()

    for asked in ("holdout", path):
        with pytest.raises(BadRequestError) as refused:
            load_set(asked)
        for part in (str(path), expected, found, "python -m eval.build_sets --only holdout --out data"):
            assert part in str(refused.value)


def test_what_is_no_set_is_refused_with_what_to_do(copied):
    with pytest.raises(BadRequestError, match=r"pairs.jsonl.gz: No such file.*--only pairs"):
        load_set("pairs")
    with pytest.raises(BadRequestError, match=r"No such file.*one of sft_train, holdout, .*benchmark"):
        load_set("hold-out")
    with pytest.raises(BadRequestError, match="Is a directory"):
        load_set(copied)
    manifest = load_manifest(copied)
    del manifest["sets"]["holdout"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadRequestError, match="expected sha256 none in the manifest, found"):
        load_set("holdout")
    assert len(load_set(copied / "holdout.jsonl").rows) == 200
    (copied / "manifest.json").write_text("{}")
    with pytest.raises(BadRequestError, match=r"manifest.*KeyError.*python -m eval.build_sets"):
        load_set("holdout")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{", "line 3: expected a JSON object"),
        (b"[" * 100_000, "line 3: expected a JSON object"),
        (b"\xff", "line 3: expected a JSON object"),
        (b"7", "line 3: expected a row with id, "),
        (b'{"id": 1}', "it lacks task, split, family, observation, ground_truth, weight"),
    ],
)
def test_a_line_that_is_no_row_is_named(line, fault, copied):
    first = (copied / "holdout.jsonl").read_bytes().splitlines()[0]
    path = copied / "mine.jsonl"
    path.write_bytes(first + b"\n\n" + line + b"\n")

    with pytest.raises(BadRequestError, match=fault):
        load_set(path)


def test_an_empty_file_is_refused(copied):
    (copied / "empty.jsonl").write_bytes(b"\n")

    with pytest.raises(BadRequestError, match="holds no row"):
        load_set(copied / "empty.jsonl")


def hashed(text):
    return hashlib.sha256(text).hexdigest()


def test_a_file_is_read_plain_or_packed_and_its_hash_is_that_of_the_text(copied):
    text = (copied / "holdout.jsonl").read_bytes().splitlines(keepends=True)[0]
    for name, content in (
        ("a.jsonl", text),
        ("b.jsonl.gz", gzip.compress(text, 1, mtime=7)),
        ("c.jsonl.gz", gzip.compress(text[:40]) + gzip.compress(text[40:])),
    ):
        (copied / name).write_bytes(content)
        mine = load_set(copied / name)
        assert (mine.name, mine.sha256, mine.rows) == (name[0], hashed(text), [json.loads(text)])


def test_a_changed_file_is_refused_whether_it_was_packed_or_unpacked_since(copied):
    packed = copied / "holdout.jsonl.gz"
    text = (copied / "holdout.jsonl").read_bytes()
    packed.write_bytes(pack(packed, text))
    assert load_set(packed) == replace(load_set("holdout"), path=packed)

    packed.write_bytes(pack(packed, text[:-2] + b" }\n"))
    with pytest.raises(BadRequestError, match=f"expected sha256 {hashed(text)}, found .*--only holdout --out data"):
        load_set(packed)
    unpacked = copied / PATHS["invariance"].removesuffix(".gz")
    unpacked.parent.mkdir()
    unpacked.write_bytes(text)
    expected = load_manifest()["sets"]["invariance"]["sha256"]
    with pytest.raises(BadRequestError, match=f"expected sha256 {expected}, found {hashed(text)}.*--only invariance"):
        load_set(unpacked)


def test_a_packed_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    path, text = tmp_path / "mine.jsonl.gz", b'{"a": 1}\n'
    whole = gzip.compress(text, mtime=0)
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(
            BadRequestError, match=r"a whole gzip file at .*mine.jsonl.gz, and it is cut off or damaged"
        ):
            read_text(path)
    path.write_bytes(b"")
    with pytest.raises(BadRequestError, match="holds no row"):
        read_text(path)
    path.write_bytes(whole)
    assert read_text(path) == text


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-8] + b"\0\0\0\0" + whole[-4:],  # another checksum
        lambda whole: whole[:-4] + b"\1\0\0\0",  # another length
        lambda whole: whole[:12] + b"\xff" * 9 + whole[21:],
        lambda whole: b"version https://git-lfs.example/1\n",
        lambda whole: whole + b"more",
        lambda whole: gzip.decompress(whole),
    ],
)
def test_a_damaged_set_is_refused_by_name_and_by_the_check_with_what_to_do(damage, copied, capsys):
    path = copied / PATHS["invariance"]
    path.parent.mkdir()
    path.write_bytes(damage((DATA / PATHS["invariance"]).read_bytes()))
    todo = r"\. Restore it, or run `python -m eval.build_sets --only invariance --out data`\."

    for asked in ("invariance", path):
        with pytest.raises(BadRequestError, match=rf"cut off or damaged \(.+\){todo}"):
            load_set(asked)
    assert main(["--sample", "1", "--only", "invariance", "--out", str(copied)]) == 1
    assert f"expected a whole gzip file at {path}, and it is" in capsys.readouterr().err


def test_a_text_is_packed_the_same_at_any_time(monkeypatch):
    path = DATA / PATHS["invariance"]
    packed = pack(path, b"a\n")
    monkeypatch.setattr("time.time", lambda: 2e9)

    assert pack(path, b"a\n") == packed == gzip.compress(b"a\n", mtime=0)
    assert (packed[4:8], gzip.decompress(packed)) == (b"\0\0\0\0", b"a\n")
    assert pack(DATA / PATHS["holdout"], b"a\n") == b"a\n"
    assert [name for name in NAMES if PATHS[name].endswith(".jsonl")] == ["sft_train", "holdout"]


# ---------------------------------------------------------------- prompts
@pytest.mark.parametrize("density", ["full", "compact"])
def test_a_set_is_loaded_with_the_prompts_of_its_observations(density):
    with_prompts = chats.load_set("holdout", prompts=density)

    assert chats.load_set("holdout").rows is rows("holdout")
    assert with_prompts.sha256 == load_set("holdout").sha256
    assert with_prompts.rows == [{**row, "prompt": messages(row["observation"], density)} for row in rows("holdout")]
    assert all("prompt" not in row for row in rows("holdout"))


def test_an_unknown_density_is_refused():
    with pytest.raises(BadRequestError, match="density must be one of full, compact, legend; got 'dense'"):
        chats.load_set("holdout", prompts="dense")


def test_chat_rows_hold_the_answer_where_the_set_is_for_training(tmp_path, capsys):
    out = tmp_path / "new" / "chats"

    assert chats.main(["--only", "sft_train", "holdout", "--prompts", "compact", "--out", str(out)]) == 0
    train, test = (
        [json.loads(line) for line in (out / f"{name}.compact.jsonl").read_text().splitlines()]
        for name in ("sft_train", "holdout")
    )
    assert test == [{"id": row["id"], "prompt": messages(row["observation"], "compact")} for row in rows("holdout")]
    assert [row["id"] for row in train] == [row["id"] for row in rows("sft_train")]
    row = rows("sft_train")[7]
    answer = answer_text(row["observation"], "compact")
    assert train[7]["completion"] == [{"role": "assistant", "content": answer}]
    assert parse(answer).answer["action"] == action(row)
    assert capsys.readouterr().out == f"{out}/sft_train.compact.jsonl: 3.1 MB\n{out}/holdout.compact.jsonl: 0.9 MB\n"
    assert sorted(path.name for path in out.iterdir()) == ["holdout.compact.jsonl", "sft_train.compact.jsonl"]


def test_a_place_for_chat_rows_that_is_no_folder_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")

    assert chats.main(["--only", "holdout", "--prompts", "full", "--out", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'file'}: File exists; expected a folder of sets\n"


# ---------------------------------------------------------------- the builder
@pytest.mark.parametrize(
    "row_id",
    [
        "",
        "holdout",
        "test_seed/test_seed/stage1_basic/x",
        "test_seed/test_seed/stage1_basic/-1",
        "test_seed/test_seed/stage1_basic/007",
        "test_seed/nowhere/stage1_basic/7",
        "test_seed/test_seed/stage9/7",
        "nothing/test_seed/stage1_basic/7",
        "test_seed/test_seed/stage1_basic/7/ticket_host/base",
        "pairs/test_seed/stage1_basic/7",
        "pairs/test_seed/stage1_basic/7/no_edit/base",
        "pairs/test_seed/stage1_basic/7/ticket_host/left",
        "pairs/test_seed/stage1_basic/7/ticket_host/base/more",
        "injection/test_seed/stage1_basic/7/narrative/base",
    ],
)
def test_what_is_no_id_is_refused(row_id):
    with pytest.raises(BadRequestError):
        set_rows.make_row(row_id)


def test_a_flip_that_hangs_on_a_threshold_is_no_twin(monkeypatch):
    row_id = rows("pairs")[0]["id"]
    assert set_rows.make_row(row_id)["id"] == row_id
    monkeypatch.setattr(set_rows, "is_admissible", lambda case: False)

    with pytest.raises(BadRequestError):
        set_rows.make_row(row_id)


@pytest.fixture
def small(monkeypatch):
    """Plans of three incidents of holdout and two pairs of invariance."""
    for name, number in (("holdout", 3), ("invariance", 2)):
        plan = build_sets.PLANS[name][1]
        some = lambda plan=plan, number=number: [source for source, _ in zip(plan(), range(number), strict=False)]  # noqa: E731
        monkeypatch.setitem(build_sets.PLANS, name, (number, some))
    return ["--only", "holdout", "invariance"]


def test_what_is_built_is_checked_and_what_is_changed_is_named(small, tmp_path, capsys):
    out = ["--out", str(tmp_path), *small]

    assert main(out) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in before} == {"holdout.jsonl", "invariance.jsonl.gz", "manifest.json"}
    assert (main([*out, "--check"]), main([*out, "--sample", "2"]), main(out)) == (0, 0, 0)
    assert {path: path.read_bytes() for path in before} == before

    path = tmp_path / "holdout.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"weight":', b'"weight" :', 1))
    capsys.readouterr()
    assert (main([*out, "--check"]), main([*out, "--sample", "3"])) == (1, 1)
    first = json.loads(path.read_bytes().splitlines()[0])["id"]
    fault = f"{path}, line 1: {first} has the values that its id makes in other bytes"
    todo = f"{path} is stale; run `python -m eval.build_sets --only holdout --out data`"
    assert capsys.readouterr().err.splitlines() == [fault, todo] * 2


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"weight": 2.0}, "weight"),
        ({"prompt": []}, "prompt"),
        ({"ground_truth": {"action": "dismiss", "evidence_log_ids": [], "techniques": [], "rule_ids": []}}, ""),
        (
            {"observation": {"alert": {}, "log_window": []}},
            "observation.alert, observation.log_window, observation.context",
        ),
    ],
)
def test_a_stale_row_is_named_with_the_keys_that_differ(change, keys, small, tmp_path):
    main(["--out", str(tmp_path), *small])
    path = tmp_path / "holdout.jsonl"
    stored = [json.loads(line) for line in path.read_bytes().splitlines()]
    truth = stored[1]["ground_truth"]
    stored[1] |= change
    path.write_bytes(b"".join(map(build_sets.to_line, stored)))
    keys = keys or ", ".join(f"ground_truth.{key}" for key in truth if truth[key] != change["ground_truth"][key])

    assert build_sets.stale_rows("holdout", tmp_path) == [f"{path}, line 2: {stored[1]['id']} is stale: {keys}"]


def test_a_new_rule_makes_those_rows_stale_whose_truth_it_changes(small, tmp_path, monkeypatch):
    """Those in whose windows it finds something that decides; where something graver decides, the row stays as it is."""
    main(["--out", str(tmp_path), *small])

    @rule("new-rule", "T1078", "defense-evasion", on=[(ProcessFields, "launch")], summary="", source="")
    def any_launch(launches, window):
        for launch in launches[:1]:
            yield Finding("confirmed", "host", (launch.log_id,), launch.time_s, launch.time_s)

    known = decision.candidate_rules
    monkeypatch.setattr(decision, "candidate_rules", lambda window: [*known(window), any_launch])
    names = ("holdout", "invariance")
    faults = [fault for name in names for fault in build_sets.stale_rows(name, tmp_path)]
    stored = [json.loads(line) for name in names for line in read_text(tmp_path / PATHS[name]).splitlines()]
    decided = {row["id"]: "new-rule" in judge_observation(row["observation"]).rule_ids for row in stored}

    assert {True, False} == set(decided.values())
    assert [fault.split(": ")[1].split(" ")[0] for fault in faults] == [name for name, new in decided.items() if new]
    assert all("ground_truth.rule_ids" in fault for fault in faults)


def test_incidents_that_the_plan_drops_takes_or_moves_are_named(small, tmp_path):
    main(["--out", str(tmp_path), *small])
    path, sources = tmp_path / PATHS["invariance"], build_sets.plan("invariance")

    assert build_sets.misplaced_rows("invariance", tmp_path, sources) == []
    assert build_sets.misplaced_rows("invariance", tmp_path, sources[::-1]) == [
        f"{path}: the rows stand in another order"
    ]
    assert build_sets.misplaced_rows("invariance", tmp_path, [sources[0], sources[1]._replace(number=7)]) == [
        f"{path}: {sources[1]._replace(number=7).id} is chosen now, and the file lacks it",
        f"{path}: {sources[1].id} is not chosen any more",
    ]


def test_building_one_set_keeps_the_manifest_of_the_others(small, tmp_path):
    main(["--out", str(tmp_path), *small])
    before = load_manifest(tmp_path)
    main(["--out", str(tmp_path), "--only", "holdout"])

    assert load_manifest(tmp_path) == before


def test_a_row_that_stands_twice_is_found(small):
    built = build_sets.build("holdout")
    copies = [{**row, "id": f"other/{row['id']}"} for row in built]

    assert build_sets.repeated_rows(built) == []
    assert build_sets.repeated_rows(built + copies) == [row["id"] for row in copies]


def test_a_folder_that_cannot_be_written_is_told(small, tmp_path, capsys):
    (tmp_path / "file").write_text("")

    assert main(["--out", str(tmp_path / "file"), *small]) == 1
    assert f"{tmp_path / 'file'}: File exists; expected a folder of sets" in capsys.readouterr().err
    assert main(["--out", str(tmp_path), "--sample", "1"]) == 1
    assert "sft_train.jsonl: No such file or directory" in capsys.readouterr().err


def test_another_process_makes_the_same_bytes():
    ids = [rows(name)[0]["id"] for name in NAMES]
    code = f"import hashlib; from eval.build_sets import to_line; from eval.set_rows import make_row; print([hashlib.sha256(to_line(make_row(i))).hexdigest() for i in {ids!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )

    first = [read_text(DATA / PATHS[name]).splitlines(keepends=True)[0] for name in NAMES]
    assert done.stdout.strip() == str([hashlib.sha256(text).hexdigest() for text in first])
