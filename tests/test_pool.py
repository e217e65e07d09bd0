"""A pool of stored incidents: episodes are the same to the byte with and without it, and a wrong one is refused before the first."""

import json
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pool as module
from app_runtime import create_app
from contract import right_answer
from env import OpenSOCEnv
from generator.incidents import GENERATOR_VERSION, generate
from pool import HEADER_BYTES, Pool, contents_of, line_of, main, write_pool
from schema import MODES, TASKS, BadRequestError, OpenSOCError
from service import begin, serve
from tasks.registry import SPLITS
from verifier.playbook import playbook_of_rules

ROOT = Path(__file__).resolve().parent.parent
START, N = 5, 4  # seeds of the pools
SALT = "a deployment's own"
TRIAGE = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "unsure"}


def make_pool(path, *, tasks=TASKS, split="train", salt=""):
    lines = (line_of(task, seed, split=split, salt=salt) for seed in range(START, START + N) for task in tasks)
    write_pool(path, contents_of(tasks, split, START, N, salt), lines)
    return path


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pools")
    return {
        (split, salt): Pool(make_pool(folder / f"{split}{len(salt)}.pool", split=split, salt=salt), salt)
        for split in SPLITS
        for salt in ("", SALT)
    }


@pytest.fixture
def path(tmp_path):
    return make_pool(tmp_path / "some.pool", tasks=("stage1_basic",))


def played(env, answer, **arguments):
    """All that an episode gives, as bytes."""
    shown = [env.reset(**arguments)]
    if arguments["mode"] == "self_play":
        incident = generate(arguments["task"], arguments["seed"], split=arguments["split"], salt=env._salt).incident
        shown.append(env.step({"craft_incident": incident.model_dump(exclude_none=True)}))
    if not env.state.done:
        content = right_answer(shown[-1].model_dump())["submit_triage"] if answer == "right" else answer
        shown.append(env.step({"submit_triage": content}))
    return [part.model_dump_json() for part in shown] + [env.state.model_dump_json(), json.dumps(env.components)]


# ---------------------------------------------------------------- the same with and without
@settings(max_examples=150, deadline=None)
@given(
    pooled=st.sampled_from(SPLITS),
    split=st.sampled_from(SPLITS),
    salt=st.sampled_from(["", SALT]),
    task=st.sampled_from(TASKS),
    mode=st.sampled_from(MODES),
    seed=st.integers(START - 3, START + N + 2),
    table=st.sampled_from(["standard", "hardened"]),
    answer=st.sampled_from(["right", TRIAGE, {**TRIAGE, "cited_log_id": "L9-9"}, {"action": "panic"}, None, 7]),
)
def test_an_episode_is_the_same_to_the_byte(pools, pooled, split, salt, task, mode, seed, table, answer):
    arguments = {"split": split, "task": task, "mode": mode, "seed": seed}
    with_pool = OpenSOCEnv(reward_table=table, salt=salt, pool=pools[pooled, salt])
    without = OpenSOCEnv(reward_table=table, salt=salt)

    assert played(with_pool, answer, **arguments) == played(without, answer, **arguments)


def test_what_the_property_plays_comes_from_the_pool_and_from_outside(pools):
    find = partial(pools["val", ""].find, "stage2_multi", split="val")

    assert [find(seed=seed) is not None for seed in (START - 1, START, START + N - 1, START + N)] == [
        False,
        True,
        True,
        False,
    ]
    assert pools["val", ""].find("stage2_multi", START, "train") is None


def test_a_stored_incident_is_neither_generated_nor_judged(pools, monkeypatch):
    monkeypatch.delattr("env.recall")
    monkeypatch.delattr("scenario.judge_rows")
    env = OpenSOCEnv(pool=pools["train", ""])

    first = env.reset(task="stage3_mixed", seed=START)

    assert env.step(right_answer(first.model_dump())).reward == 1.1


def test_a_stored_incident_names_its_playbook_as_a_fresh_one_does(pools):
    asked = {"task": "stage3_mixed", "seed": START, "episode_id": "same", "playbook": "hash"}

    assert OpenSOCEnv(pool=pools["train", ""]).reset(**asked) == OpenSOCEnv().reset(**asked)


def test_a_group_of_answers_shares_one_truth_and_one_playbook(pools, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "rules_in_play", lambda lines: asked.append(len(lines)) or 5)
    module._stored.cache_clear()
    group = [pools["train", ""].find("stage3_mixed", START, "train") for _ in range(8)]
    assert {scenario.view()["playbook"] for scenario in group} == {playbook_of_rules(5)}
    assert len(asked) == 1
    assert len({id(scenario.truth) for scenario in group}) == 1
    module._stored.cache_clear()


@pytest.mark.parametrize("has_pool", [False, True])
def test_a_running_episode_keeps_no_text_of_its_playbook(pools, has_pool):
    env = OpenSOCEnv(pool=pools["train", ""] if has_pool else None)
    env.reset(seed=START)

    assert [name for name, value in vars(env._scenario).items() if isinstance(value, str)] == []


def test_all_fields_of_the_ground_truth_are_stored(pools):
    for seed in range(START, START + N):
        for task in TASKS:
            fresh = OpenSOCEnv()
            fresh.reset(task=task, seed=seed)
            assert pools["train", ""].find(task, seed, "train").truth == fresh._scenario.truth


def test_numbered_tasks_are_read_too(pools, monkeypatch):
    fresh = OpenSOCEnv().reset(index=4 * START + 2).model_dump_json()
    monkeypatch.delattr("env.recall")

    assert OpenSOCEnv(pool=pools["train", ""]).reset(index=4 * START + 2).model_dump_json() == fresh


def test_a_player_who_changes_what_he_sees_changes_nobody_elses_episode(pools):
    env = OpenSOCEnv(pool=pools["train", ""])
    first = env.reset(task="stage2_multi", seed=START)
    text = first.model_dump_json()
    for part in (first.log_window[0]["fields"], first.log_window, first.context, first.alert):
        part.clear()
    closing = env.step({"submit_triage": TRIAGE})
    graded = json.dumps(closing.grade["ground_truth"])
    closing.grade["ground_truth"]["findings"].append("mine")

    assert closing.reward is not None
    assert "not in the log window" not in closing.feedback
    assert env.reset(task="stage2_multi", seed=START).model_dump_json() == text
    assert json.dumps(env.step({"submit_triage": TRIAGE}).grade["ground_truth"]) == graded


@pytest.mark.parametrize("path", ["pool.jsonl", Path("pool.jsonl")])
def test_a_path_in_place_of_a_pool_is_refused_in_words(path):
    with pytest.raises(
        BadRequestError, match=r"Expected a pool, as `pool.Pool\(PATH\)` opens one, and got .*pool.jsonl"
    ):
        OpenSOCEnv(pool=path)


def test_a_pool_goes_to_another_process(pools):
    again = pickle.loads(pickle.dumps(pools["val", SALT]))

    assert (
        again.find("stage1_basic", START, "val").view() == pools["val", SALT].find("stage1_basic", START, "val").view()
    )


# ---------------------------------------------------------------- the file
def test_the_command_writes_the_pool_of_its_flags(tmp_path, capfd):
    path = tmp_path / "new" / "two.pool"
    flags = ["--task", "stage2_multi", "stage1_basic", "--split", "val", "--start", "5", "--n", "2", "--workers", "1"]

    code = main(["--pool", str(path), *flags, "--salt", SALT])

    assert code == 0
    assert "4 of 4 incidents" in capfd.readouterr().err
    assert [file.name for file in path.parent.iterdir()] == ["two.pool"]
    assert SALT.encode() not in path.read_bytes()
    header = Pool(path, SALT).header
    assert (header.generator, header.split, header.tasks, header.start, header.n) == (
        GENERATOR_VERSION,
        "val",
        ("stage2_multi", "stage1_basic"),
        5,
        2,
    )
    lines = path.read_bytes()[HEADER_BYTES:].split(b"\n")[:4]
    places = [("stage2_multi", 5), ("stage1_basic", 5), ("stage2_multi", 6), ("stage1_basic", 6)]
    assert [line + b"\n" for line in lines] == [line_of(task, seed, split="val", salt=SALT) for task, seed in places]


def test_the_generators_command_stores_pools(tmp_path):
    command = [sys.executable, "-m", "generator", f"--pool={tmp_path / 'a.pool'}", "--n", "1", "--workers", "1"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stderr[-2000:]
    assert Pool(tmp_path / "a.pool").header.tasks == TASKS


def test_chunks_come_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    lines = module.make_lines(contents_of(("stage1_basic",), "train", 3, 5, ""), "", 2)

    assert list(lines) == [line_of("stage1_basic", seed, split="train", salt="") for seed in range(3, 8)]


def test_a_pool_that_is_stopped_leaves_what_was_there(path):
    before = path.read_bytes()

    def torn():
        yield line_of("stage1_basic", 0, split="train", salt="")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pool(path, contents_of(("stage1_basic",), "train", 0, 2, ""), torn())

    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_no_pool_is_not_written_over(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")

    assert main(["--pool", str(tmp_path / "thesis.txt"), "--n", "1"]) == 2

    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert "Expected nothing or a pool at" in capsys.readouterr().err


# ---------------------------------------------------------------- what is refused
def with_header(path, **changes):
    """Write other fields into a pool's header."""
    content = path.read_bytes()
    header = json.loads(content[:HEADER_BYTES]) | changes
    path.write_bytes(json.dumps(header).encode().ljust(HEADER_BYTES) + content[HEADER_BYTES:])


def cut(size, path):
    path.write_bytes(path.read_bytes()[:size])


def replaced(path):
    content = bytearray(path.read_bytes())
    content[HEADER_BYTES + 40] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (partial(with_header, generator="3"), f"Expected incidents of generator {GENERATOR_VERSION} in the pool "),
        (partial(with_header, generator="3"), "and they are of '3'; make it again: python -m generator --pool "),
        (partial(with_header, generator="3"), " --task stage1_basic --split train --start 5 --n 4"),
        (partial(with_header, playbook="0" * 64), "and they are of '000000000000'; make it again"),
        (partial(with_header, code="0" * 64), "and they are of '000000000000'; make it again"),
        (partial(with_header, start=6), "its bytes were changed; copy it again, or make it again"),
        (partial(with_header, split="val"), "its bytes were changed; copy it again"),
        (partial(with_header, sha256="0" * 64), "Expected the sha256 000000000000 of the pool "),
        (
            partial(with_header, n=0),
            "its first line is no header of one (n: Input should be greater than or equal to 1)",
        ),
        (partial(with_header, opensoc_pool=2), "its first line is no header of one (opensoc_pool: Input should be 1)"),
        (replaced, "its bytes were changed"),
        (partial(cut, -1), "it was cut off or added to"),
        (partial(cut, HEADER_BYTES), "it was cut off or added to"),
        (partial(cut, 100), "its first line is no header of one"),
        (partial(cut, 0), "its first line is no header of one"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\n"), "it was cut off or added to"),
        (lambda path: path.write_bytes(b"\x80\x04K\x01."), "its first line is no header of one"),
        (lambda path: path.unlink(), "could not open it (there is nothing); make one with python -m generator --pool "),
    ],
)
def test_a_wrong_pool_is_refused_in_one_sentence(path, spoil, sentence):
    spoil(path)

    with pytest.raises(BadRequestError) as refused:
        Pool(path)

    assert sentence in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_directory_is_no_pool(tmp_path):
    with pytest.raises(BadRequestError, match=r"could not open it \(there is something else\)"):
        Pool(tmp_path)


@pytest.mark.parametrize(
    ("made", "asked", "words"),
    [
        ("", SALT, "Expected incidents of this salt in the pool .*, and they are of none"),
        (SALT, "", "Expected incidents of no salt in the pool .*, and they are of another"),
        (SALT, "b", "Expected incidents of this salt in the pool .*, and they are of another"),
    ],
)
def test_a_pool_of_another_salt_is_refused_before_the_first_episode(pools, made, asked, words):
    with pytest.raises(BadRequestError, match=words) as by_pool:
        Pool(pools["train", made].path, asked)
    with pytest.raises(BadRequestError, match=words):
        OpenSOCEnv(salt=asked, pool=pools["train", made])

    assert SALT not in str(by_pool.value)


def test_a_pool_that_is_cut_off_while_it_is_open_is_told(path):
    pool = Pool(path)
    cut(HEADER_BYTES + 10, path)

    with pytest.raises(
        OpenSOCError, match=r"to stay as it was opened, and it was changed; start again with a whole one\."
    ):
        pool.find("stage1_basic", START, "train")


# ---------------------------------------------------------------- the service
def test_the_service_plays_from_its_pool(pools, monkeypatch):
    texts = []
    for options in ({}, {"pool": pools["train", ""].path}):
        with serve(**options) as client, client.websocket_connect("/ws") as socket:
            if options:
                monkeypatch.delattr("env.recall")
            first = begin(client, seed=START, task="stage3_mixed")
            action = {"episode_id": first["episode_id"], "action": {"submit_triage": TRIAGE}}
            last = client.post("/step", json=action).json()
            socket.send_json({"type": "reset", "data": {"seed": START, "task": "stage3_mixed"}})
            texts.append(json.dumps([first, last]).replace(first["episode_id"], "-") + socket.receive_text())

    assert texts[0] == texts[1]


def test_the_service_does_not_start_with_a_wrong_pool(pools, monkeypatch):
    monkeypatch.setenv("OPENSOC_POOL", str(pools["train", SALT].path))

    with pytest.raises(BadRequestError, match="Expected incidents of no salt in the pool"):
        create_app()
