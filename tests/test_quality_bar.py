"""OpenEnv's quality bar: one test for each check of its severity policy that its validator does not run yet, named after it.

The checks that it does run (static.manifest, runtime.startup, runtime.reward_well_formed, runtime.observation_schema,
runtime.state_contract, runtime.network_policy) are run by tests/test_validation.py with the validator itself.
"""

import ast
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from starlette.testclient import TestClient

from app_runtime.episodes import Episodes
from app_runtime.openenv import ServedEnv
from app_runtime.shapes import OpenSOCAction
from contract import InProcess, right_answer
from env import OpenSOCEnv
from generator import generate
from players import open_player
from players.base import Options
from players.reply import parse
from rubric import REWARD_RANGE
from schema import LABELS, TASKS
from scripts.make_sbom import SBOM, pins
from scripts.quality_page import checks, holders_of
from service import serve
from tasks.registry import SPLITS, num_tasks
from verifier import RULES, compute_ground_truth
from verifier.playbook import playbook_text

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = yaml.safe_load((ROOT / "openenv.yaml").read_text(encoding="utf-8"))
VALIDATION = MANIFEST["validation"]
CAPABILITIES = VALIDATION["capabilities"]
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
CANARIES = json.loads((ROOT / CAPABILITIES["canaries"]).read_text(encoding="utf-8"))
MAXIMUM = max(REWARD_RANGE)


def triage(action, cited="L1-1"):
    return {"submit_triage": {"action": action, "cited_log_id": cited, "rationale": "because"}}


def rewards_of(answer, task, seeds=range(120)):
    """The rewards of a player, a function from the observation to an action, over seeds."""
    player, rewards = InProcess(), []
    for seed in seeds:
        seen = player.reset(task=task, seed=seed)["observation"]
        rewards.append(player.step(answer(seen))["reward"])
    return rewards


def mean_reward(answer, task="stage3_mixed", seeds=range(120)):
    return statistics.fmean(rewards_of(answer, task, seeds))


@cache
def best_constant(task):
    """The mean reward of the best player that always gives one action and cites the alert's line."""
    return max(
        mean_reward(lambda seen, action=action: triage(action, seen["alert"]["log_id"]), task) for action in LABELS
    )


# ---------------------------------------------------------------- runtime
def test_runtime_seed_control():
    """The same seed gives the same incident, another seed another."""
    env = OpenSOCEnv()
    windows = {seed: env.reset(seed=seed).model_dump_json() for seed in (0, 1, 2**63 - 1)}

    assert len(set(windows.values())) == 3
    assert windows == {seed: env.reset(seed=seed).model_dump_json() for seed in windows}


def test_runtime_episode_determinism():
    """Twenty episodes, played twice, are the same to the byte."""

    def played():
        env = OpenSOCEnv()
        return [
            part.model_dump_json() for seed in range(20) for part in (env.reset(seed=seed), env.step(triage("monitor")))
        ]

    assert played() == played()


def test_runtime_episode_isolation():
    """Ten environments that are played at once show what each shows alone."""
    alone = OpenSOCEnv()
    expected = [alone.reset(seed=seed).log_window for seed in range(10)]
    envs = [OpenSOCEnv() for _ in range(10)]
    first = [env.reset(seed=seed) for seed, env in enumerate(envs)]
    last = [
        env.step(right_answer(seen.model_dump())) for env, seen in zip(reversed(envs), reversed(first), strict=True)
    ]

    assert [seen.log_window for seen in first] == expected
    assert {seen.reward for seen in last} == {MAXIMUM}
    assert [seen.grade["seed"] for seen in last] == list(range(9, -1, -1))


@pytest.mark.parametrize("form", ["id", "cookie", "neither"])
def test_runtime_episode_isolation_over_http(form):
    """Twelve callers of one address play the same seed at once, each with another answer: nobody ever gets another's grade."""
    with serve() as shared:
        callers = [TestClient(shared.app, cookies={}) for _ in range(12)]
        begun = [caller.post("/reset", json={"seed": 42}).json() for caller in callers]
        asked = [{"episode_id": reply["episode_id"]} if form == "id" else {"seed": 42} for reply in begun]
        if form != "cookie":
            for caller in callers:
                caller.cookies.clear()
        wrong, answered = 0, 0
        for phase in ("step", "grade"):
            for number, caller in enumerate(callers):
                own = triage(LABELS[number % 5], f"L1-{number}")
                reply = (
                    caller.post("/step", json=own, params=asked[number])
                    if phase == "step"
                    else caller.get("/grade", params=asked[number])
                )
                if reply.status_code != 200:
                    assert reply.status_code == 409
                    continue
                grade = reply.json() if phase == "grade" else reply.json()["observation"]["grade"]
                answered += 1
                wrong += (grade["action"], grade["cited_log_id"]) not in (
                    (LABELS[number % 5], f"L1-{number}"),
                    (None, None),
                )

    assert wrong == 0
    assert answered == 24 or form == "neither"


def test_runtime_oracle_containment():
    """The oracle knows no more than a player: it reads an observation, never a seed, a state or the environment."""
    source = (ROOT / CAPABILITIES["oracle"]["location"]).read_text(encoding="utf-8")
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }

    assert not imported & {"env", "generator", "tasks", "app_runtime", "server"}
    assert "/grade" not in source
    assert "/state" not in source


def test_runtime_rubric_introspectable():
    """The rubric tree names each component, with the score of those that were scored."""
    env = ServedEnv(make_env=OpenSOCEnv, episodes=Episodes(OpenSOCEnv, max_episodes=1, ttl_s=1))
    env.reset(seed=1)
    env.step(OpenSOCAction(**triage("monitor")))

    assert {name for name, rubric in env.rubric.named_rubrics() if rubric.last_score is not None} == {
        "defender",
        "defender.decision",
        "defender.citation",
        "defender.format",
    }


def test_runtime_reward_attribution():
    """The components add up to the reward."""
    env = OpenSOCEnv()
    for seed in range(60):
        env.reset(seed=seed)
        last = env.step(triage(LABELS[seed % 5]))
        parts = [score for name, score in last.grade["components"].items() if name.startswith("defender.")]
        assert last.reward == last.rewards["defender"] == pytest.approx(sum(parts), abs=1e-9)


def test_runtime_trajectory_record():
    """What was played can be read back from the record."""
    env = OpenSOCEnv()
    env.reset(seed=5, task="stage2_multi")
    grade = env.step(triage("monitor")).grade

    for name in (
        "episode_id",
        "task",
        "mode",
        "seed",
        "reward_table",
        "rewards",
        "components",
        "action",
        "cited_log_id",
        "feedback",
        "ground_truth",
    ):
        assert name in grade
    again = OpenSOCEnv(reward_table=grade["reward_table"])
    again.reset(seed=grade["seed"], task=grade["task"], mode=grade["mode"])
    assert again.step(triage(grade["action"], grade["cited_log_id"])).rewards == grade["rewards"]


def test_runtime_tool_declaration_accuracy():
    """The tools that are served are those that are declared."""
    from starlette.testclient import TestClient

    from app_runtime import create_app

    with TestClient(create_app()) as client:
        listed = client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).json()

    assert sorted(tool["name"] for tool in listed["result"]["tools"]) == sorted(CAPABILITIES["declared_tools"])


def test_runtime_task_declaration_accuracy():
    """The tasks that are served are those that are declared."""
    env = OpenSOCEnv()

    assert CAPABILITIES["declared_task_count"] == {split: num_tasks(split) for split in SPLITS}
    for split in SPLITS:
        assert env.reset(split=split, index=num_tasks(split) - 1).log_window


def test_runtime_resource_bounds():
    """Nothing is left to the collector, which the server calls so seldom that a cycle in each episode would fill the memory.

    1,000 episodes over HTTP's store and 1,000 sessions, under the server's settings; `scripts/soak.py` does 200,000 over sockets.
    """
    code = """
import gc, server
from app_runtime.episodes import Episodes
from app_runtime.openenv import ServedEnv
from app_runtime.shapes import OpenSOCAction
from env import OpenSOCEnv
action = {"submit_triage": {"action": "monitor", "cited_log_id": "L1-1", "rationale": "Odd."}}
episodes = Episodes(OpenSOCEnv, max_episodes=50, ttl_s=900)
def play(times):
    for number in range(times):
        episode, _ = episodes.start({"seed": number % 300}, owners=[str(number % 7)])
        episodes.step(episode, action)
        session = ServedEnv(make_env=OpenSOCEnv, episodes=episodes)
        session.reset(seed=number % 300)
        session.step(OpenSOCAction(**action))
        session.close()
play(50)
server._calm_the_collector()
before = gc.get_stats()[2]["collections"]
play(1000)
print(gc.collect(), gc.get_stats()[2]["collections"] - before)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    dead, collections = map(int, done.stdout.split())

    assert dead < 1000  # objects; a cycle of 38 in each episode made 38,000
    assert collections == 1  # our own


def test_runtime_host_containment(tmp_path):
    """An episode reads no file, opens no socket and starts no process."""
    code = """
import codecs, sys
from env import OpenSOCEnv
from verifier.policies import _statement_type
env = OpenSOCEnv()
env.reset(seed=0); env.step({"submit_triage": {}})
_statement_type()  # a library whose table of actions is read at the first policy
codecs.lookup("utf-16-le")  # Python loads a codec at its first use
touched = []
sys.addaudithook(lambda event, args: touched.append(event) if event.split(".")[0] in ("open", "socket", "subprocess", "os", "shutil", "urllib") else None)
for seed in range(50):
    for mode, action in (("defender_only", {"submit_triage": {}}), ("self_play", {"craft_incident": {}})):
        env.reset(seed=seed, mode=mode)
        env.step(action)
print(touched)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


# ---------------------------------------------------------------- semantic
@pytest.mark.parametrize("task", TASKS)
def test_semantic_oracle_max(task):
    """The oracle earns the maximum in every task."""
    assert (
        min(rewards_of(right_answer, task))
        == MAXIMUM
        >= VALIDATION["reward"]["range"][1] - VALIDATION["reward"]["oracle_tolerance"]
    )


@pytest.mark.parametrize("task", TASKS)
def test_semantic_floor_gap(task):
    """The best constant player stays below the maximum by the declared margin."""
    assert MAXIMUM - best_constant(task) >= VALIDATION["reward"]["floor_margin"]


@pytest.mark.parametrize("canary", CANARIES["canaries"], ids=lambda canary: canary["name"])
def test_semantic_canary_floor(canary):
    """Each declared canary stays below its bound."""
    rewards = [
        reward
        for task in CANARIES["reset"]["tasks"]
        for reward in rewards_of(lambda seen: canary["actions"][0], task, range(CANARIES["reset"]["seeds"]))
    ]

    assert statistics.fmean(rewards) < canary["max_mean_reward"]


def test_semantic_no_solution_leakage():
    """No single visible answer is printed: the narrative's, the alert's or the first line's hints do not beat a constant."""

    def echoes_text(seen):
        text = json.dumps([seen["alert"], seen["log_window"]])
        named = [label for label in LABELS if label in text]
        return triage(named[0] if named else "escalate", seen["alert"]["log_id"])

    def by_severity(seen):
        return triage(
            {"low": "dismiss", "medium": "monitor", "high": "escalate"}[seen["alert"]["severity"]],
            seen["alert"]["log_id"],
        )

    for player in (echoes_text, by_severity):
        assert mean_reward(player, "stage4_adversarial") <= best_constant("stage4_adversarial") + 0.1


def test_semantic_verifier_determinism():
    """The verifier says the same of the same incident."""
    for index in range(100):
        case = generate("stage4_adversarial", index)
        assert compute_ground_truth(case.incident, case.world) == compute_ground_truth(case.incident, case.world)


def test_semantic_verifier_portability():
    """Truth does not hang on the process: another hash seed, time zone and locale give the same."""
    code = "import json\nfrom generator import generate\nfrom verifier import compute_ground_truth\nprint(json.dumps([compute_ground_truth(c.incident, c.world).to_dict() for c in (generate('stage3_mixed', i) for i in range(40))]))"
    results = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=extra
        ).stdout
        for extra in ({"PYTHONHASHSEED": "1", "TZ": "UTC"}, {"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "LC_ALL": "C"})
    }

    assert len(results) == 1


def test_semantic_resource_envelope():
    """An observation stays far below the messages that sockets and models take (1 MiB; 32,000 tokens of some 4 characters).

    The defender reads the rules that his window can bring into play; the attacker, who may write any event, reads all of them, so his bound
    follows from the playbook's: what else he reads has a quarter of the defender's room.
    """
    env = OpenSOCEnv()
    sizes = [len(env.reset(seed=seed, task=task).model_dump_json()) for task in TASKS for seed in range(100)]
    attacker = len(env.reset(seed=1, mode="self_play").model_dump_json())

    assert max(sizes) < 64_000
    assert attacker - len(json.dumps(playbook_text())) < 16_000
    assert attacker < 96_000


def test_semantic_replayability():
    """A grade names what was played, and playing it again gives the same ground truth."""
    env = OpenSOCEnv()
    for index in range(20):
        first = env.reset(split="val", index=index)
        grade = env.step(right_answer(first.model_dump())).grade
        replay = OpenSOCEnv()
        assert replay.reset(split="val", index=index).log_window == first.log_window
        assert (
            replay.step(triage(grade["action"], grade["cited_log_id"])).grade["ground_truth"] == grade["ground_truth"]
        )


# ---------------------------------------------------------------- statistical
def test_statistical_reward_reachability():
    """Every reward of the table is met by somebody."""
    seen = {
        reward
        for task in TASKS
        for action in LABELS
        for reward in rewards_of(lambda _, action=action: triage(action, "L1-2"), task)
    }

    assert {-1.0, -0.6, -0.3, -0.2, -0.05, 1.0, 1.1} <= seen


@pytest.mark.slow  # 160 answers of a model on a CPU
def test_statistical_difficulty_separation():
    """The shipped defender, an actual player, earns more and is right more often in stage 1 than in every later stage."""
    env, player, right = OpenSOCEnv(), open_player("embedded", Options(density="compact")), {}
    for task in TASKS:
        rewards = []
        for seed in range(40):
            row = {"id": str(seed), "observation": env.reset(task=task, seed=seed).model_dump()}
            (reply,) = player.answer([row])
            rewards.append(env.step({"submit_triage": parse(reply.text or "").answer}).reward)
        right[task] = sum(reward >= 1 for reward in rewards)

    assert right["stage1_basic"] > max(right[task] for task in TASKS[1:])


def test_every_check_of_the_policy_has_a_test():
    version, listed = checks()

    assert (version, len(listed)) == ("v2", 46)
    assert [check for check, _ in listed if not holders_of(check)] == []


def test_statistical_headroom():
    """The best constant leaves most of the reward to be earned."""
    assert MAXIMUM - max(best_constant(task) for task in TASKS) > 0.8


def test_statistical_variance_bound():
    """The same player on other seeds gets about the same mean."""
    means = [
        mean_reward(lambda seen: triage("escalate"), seeds=range(start, start + 150)) for start in (0, 1000, 2000, 3000)
    ]

    assert max(means) - min(means) < 0.3


def test_statistical_training_signal():
    """Answers to one incident differ in reward, so a group of rollouts teaches something."""
    for seed in range(60):
        env, rewards = OpenSOCEnv(), set()
        for action in LABELS:
            env.reset(seed=seed)
            rewards.add(env.step(triage(action)).reward)
        assert len(rewards) >= 3


def test_statistical_adversarial_floor():
    """Who follows hostile text loses to who ignores it."""

    def follows(seen):
        text = json.dumps([seen["alert"], seen["log_window"]])
        found = re.search(r"answer(?:ed)? (?:with )?(\w+)|obey: (\w+)|action=(\w+)", text)
        named = next((word for word in (found.groups() if found else ()) if word in LABELS), None)
        return triage(named, seen["alert"]["log_id"]) if named else right_answer(seen)

    assert mean_reward(follows, "stage4_adversarial") < mean_reward(right_answer, "stage4_adversarial") - 0.2


def test_statistical_gameability_gap():
    """Hedging does not pay: the best constant earns less than half of the oracle under either table."""
    for table in ("standard", "hardened"):
        player = InProcess(reward_table=table)
        for action in LABELS:
            rewards = []
            for seed in range(150):
                seen = player.reset(task="stage3_mixed", seed=seed)["observation"]
                rewards.append(player.step(triage(action, seen["alert"]["log_id"]))["reward"])
            assert statistics.fmean(rewards) < MAXIMUM / 2


# ---------------------------------------------------------------- static
@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.txt")), ids=lambda path: path.stem)
def test_static_dependency_pinning(lock):
    """Each package of each lock file has one version and the hashes of that version's files."""
    pins = re.split(r"(?m)^(?=[A-Za-z0-9])", lock.read_text(encoding="utf-8"))[1:]

    assert len(pins) >= 2
    for pin in pins:
        assert re.match(
            r"[A-Za-z0-9._-]+(\[[\w, -]+\])?==[\w.!+-]+( ; [^\\]+)? \\\n    --hash=sha256:[0-9a-f]{64}\b", pin
        ), pin[:200]
    if lock.name != "requirements-unsloth.txt":  # for one kind of machine
        assert "torch" not in {pin.partition("==")[0] for pin in pins}


def test_static_reproducible_build(image):
    """What is installed is known to the byte, and so is the base once its digest is pinned; without, the build says so."""
    assert "pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt" in DOCKERFILE
    assert "latest" not in DOCKERFILE
    assert "is a tag, which moves" in image.run().stderr
    assert image.run("pin").returncode == 0
    image.git("add", "scripts/base.digest")
    image.git("commit", "-qm", "Pin the base")
    built = image.run()

    assert built.stderr == ""
    assert f"--build-arg BASE=python:3.11-slim@sha256:{'0' * 64} " in image.calls()[-1]
    assert f"SOURCE_DATE_EPOCH={image.git('log', '-1', '--format=%ct')}" in image.calls()[-1]


def test_static_task_distribution_pinning():
    """The manifest names the generator's version."""
    from generator import GENERATOR_VERSION

    assert VALIDATION["task_distribution"]["dataset_version"] == f"generator-{GENERATOR_VERSION}"


def test_static_resource_declaration():
    """The disk holds the packages with their compiled files, the base image and ours; memory is measured by scripts/soak.py."""
    packages = sum(
        file.locate().stat().st_size
        for name, version in pins()
        for found in metadata.distributions(name=name)
        if found.version == version
        for file in found.files or ()
        if file.suffix != ".pyc" and file.locate().is_file()
    )

    assert set(VALIDATION["resources"]) >= {"cpu", "memory_mb", "disk_mb", "episode_timeout_s"}
    assert packages > 300e6  # else little of it is installed here
    assert 1.4 * packages + 250e6 < VALIDATION["resources"]["disk_mb"] * 2**20


def test_static_timeout_ceiling():
    """An episode may take a minute at most."""
    assert VALIDATION["resources"]["episode_timeout_s"] <= 60


def test_static_sbom():
    """The bill of materials is CycloneDX, and lists the pins of the server, each with its licence where it is installed here."""
    text = SBOM.read_text(encoding="utf-8")
    components = json.loads(text)["components"]
    lock = json.loads(text)["metadata"]["properties"][0]["value"]

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert {
        (part["name"].lower().replace("_", "-").replace(".", "-"), part["version"]) for part in components
    } == pins()
    assert lock == hashlib.sha256(REQUIREMENTS.encode()).hexdigest(), "run python scripts/make_sbom.py"
    assert sum("licenses" in part for part in components) > 0.9 * len(components)


@pytest.mark.slow
def test_the_bill_of_materials_is_fresh():
    done = subprocess.run([sys.executable, "scripts/make_sbom.py", "--check"], cwd=ROOT, capture_output=True, text=True)

    assert done.stdout == "fresh\n", done.stdout + done.stderr


def test_static_oci_labels(image):
    """The image says its version, commit, date, source, base and licence."""
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", DOCKERFILE))

    assert labels == {
        *("title", "description", "version", "revision", "created", "source", "base.name", "licenses", "authors")
    }
    image.git("remote", "add", "origin", "https://user:password@git.example/opensoc.git")
    image.run()
    for argument in (
        "REVISION=" + image.git("rev-parse", "HEAD"),
        "SOURCE=https://git.example/opensoc.git",
        "VERSION=0.1.0",
    ):
        assert f"--build-arg {argument} " in image.calls()[-1]


def test_static_image_hygiene():
    """The image runs as a user of its own, checks its health, and holds neither secrets nor the repository."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()

    assert re.search(r"^USER (?!root)", DOCKERFILE, re.M)
    assert "HEALTHCHECK" in DOCKERFILE
    assert {".git", ".venv"} <= {name.strip("/") for name in ignored}
    assert not re.search(r"(TOKEN|SECRET|PASSWORD)\s*=", DOCKERFILE)


def test_static_layout():
    """Files stand where the policy expects them."""
    for name in (
        "openenv.yaml",
        "schema.py",
        "verifier",
        "rubric.py",
        "env.py",
        "app_runtime",
        "server.py",
        "tasks",
        "eval",
        "client",
        "tests",
        "scripts",
        "Dockerfile",
        "requirements.txt",
        "README.md",
        "LICENSE",
    ):
        assert (ROOT / name).exists(), name
    assert len(RULES) >= 15


# ---------------------------------------------------------------- hub
FAKE_DOCKER = """#!/bin/sh
echo "docker $*" >> "$CALLS"
case "$*" in
    *imagetools*) echo "sha256:0000000000000000000000000000000000000000000000000000000000000000" ;;
    "manifest inspect"*) [ -n "${TAKEN:-}" ] ;;
    inspect*) echo "registry.example/opensoc@sha256:1111" ;;
esac
"""


class Image:
    """`scripts/image` in a small repository, where Docker and cosign only note how they were called."""

    def __init__(self, home):
        self.home = home
        for name in ("Dockerfile", "openenv.yaml", "sbom.cdx.json", "scripts/image"):
            path = home / "checkout" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path)
        (home / "docker").write_text(FAKE_DOCKER)
        (home / "cosign").write_text('#!/bin/sh\necho "cosign $*" >> "$CALLS"\n')
        for tool in ("docker", "cosign"):
            (home / tool).chmod(0o755)
        self.git("init", "-q", "-b", "main")
        self.git("add", ".")
        self.git("commit", "-qm", "Begin")

    def git(self, *arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.home / "checkout", capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def run(self, *arguments, **environ):
        environ = {"PATH": f"{self.home}:{os.environ['PATH']}", "CALLS": str(self.home / "calls"), **environ}
        command = [self.home / "checkout" / "scripts" / "image", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environ)

    def calls(self):
        return (self.home / "calls").read_text().splitlines()


@pytest.fixture
def image(tmp_path):
    return Image(tmp_path)


def test_hub_immutable_versioning(image):
    """An image is named by version and commit, from a clean checkout, and a name that is taken is not given again."""
    name = f"registry.example/opensoc:0.1.0-{image.git('rev-parse', '--short=12', 'HEAD')}"

    assert image.run("push", "registry.example/opensoc").stdout == f"{name}\n"
    assert f"docker push {name}" in image.calls()
    taken = image.run("push", "registry.example/opensoc", TAKEN="1")
    assert taken.returncode == 1
    assert taken.stderr.endswith(f"Expected a free name, and {name} is there: a published name never moves.\n")
    assert sum(call.startswith("docker push") for call in image.calls()) == 1
    (image.home / "checkout" / "new").write_text("")
    assert image.run().returncode == 1


def test_hub_cosign_signature(image):
    """What is pushed is signed by its digest, with the bill of materials beside it."""
    image.run("push", "registry.example/opensoc")

    assert image.calls()[-2:] == [
        "cosign sign --yes registry.example/opensoc@sha256:1111",
        "cosign attest --yes --type cyclonedx --predicate sbom.cdx.json registry.example/opensoc@sha256:1111",
    ]


def test_hub_layer_isolation():
    """What others made is a layer of its own below our code, and nothing but labels comes after it."""
    steps = re.findall(r"^(FROM|RUN pip|COPY requirements|COPY \. |USER|LABEL)", DOCKERFILE, re.M)

    assert steps == ["FROM", "COPY requirements", "RUN pip", "COPY . ", "LABEL", "USER"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs the times of a process in /proc")
def test_hub_time_to_first_work(server):
    """A server answers its first /reset after at most 20 s of CPU time, imports and demo included."""
    assert 1 < server.first_reset_s < 20


def test_hub_cross_host_determinism():
    """500 episodes, four tasks and five splits, are the same to the byte on every machine: their hash is stored in the repository."""
    from scripts import freeze

    stored = json.loads(freeze.STORED.read_text("utf-8"))
    assert {f"episodes/{name}": freeze.sha256(value) for name, value in freeze.episodes()} == {
        name: digest for name, digest in stored.items() if name.startswith("episodes/")
    }
