"""The playbook says every rule, every threshold and every list that the code compares with."""

import inspect
import os
import subprocess
import sys

import pytest

from generator import generate
from incidents import ACCOUNTS
from rule_literals import SHARED, Literals, missing, module_of, untold
from scenario import Scenario
from schema import LABELS, TASKS, UNNAMED_PROGRAM_WORK
from tasks.registry import SPLITS
from verifier import RULES, compute_ground_truth, playbook_for, playbook_text
from verifier.playbook import LADDER, playbook_hash_for, playbook_of

LITERALS = Literals()
THRESHOLDS = {
    "application-spawns-shell": "300 s",
    "download-cradle": "20 or more|300 s",
    "signed-proxy-execution": "300 s",
    "dropped-program-runs": "600 s|300 s",
    "remote-service-execution": "type 3|300 s before|300 s after",
    "task-runs-foreign-program": "300 s",
    "lsass-memory-read": "0x10",
    "password-guessing": "at least 5 |300 s|5th failure",
    "password-spraying": "at least 5 |300 s",
    "kerberoasting": "0x17, 0x18|at least 5 |600 s",
    "new-privileged-account": "3600 s",
    "account-spread": "at least 4 |types 3 and 10|600 s",
    "beaconing": "at least 5 |20%|10 s",
    "dns-tunnel": "at least 6 |30 or more characters",
    "service-probing": "at least 10 |300 s",
    "web-attack": "at least 3 |600 s",
    "bulk-upload": "500 MB|at least 5 |3600 s",
    "log-cleared": "600 s",
    "defence-disabled": "600 s",
    "mass-encryption": "at least 8 |600 s",
    "cloud-trail-stopped": "3600 s",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule_id)
def test_the_playbook_says_every_rule_with_its_thresholds(rule):
    (line,) = [line for line in playbook_text().splitlines() if line.startswith(f"- {rule.rule_id}: ")]

    for threshold in filter(None, THRESHOLDS.get(rule.rule_id, "").split("|")):
        assert threshold.lower() in line.lower()


def test_the_playbook_says_the_ladder_s_numbers_and_leaves_no_list_open():
    assert "3 or more hosts" in LADDER
    assert "for 60 s or more" in LADDER
    assert "Programs are installed in \\Windows\\ or \\Program Files\\" in LADDER
    assert "and not user-writable." in LADDER
    assert all(label in LADDER for label in LABELS)
    assert "..." not in playbook_text()
    assert all(f'"{account["name"]}"' not in playbook_text() for account in ACCOUNTS)


@pytest.mark.parametrize(
    "name",
    [
        "mspub.exe",
        "apache2",
        "msbuild.exe",
        "dnsadmins",
        "DeleteDetector",
        "\\PerfLogs\\",
        "installutil.exe",
        "remote logon",
    ],
)
def test_the_playbook_names_everything_that_the_rules_compare_with(name):
    assert name.removesuffix(".exe") in playbook_text()


@pytest.mark.parametrize("task", TASKS)
def test_a_window_s_playbook_holds_every_rule_that_finds_anything_in_it(task):
    found = 0
    for index in range(200):
        for split in SPLITS:
            case = generate(task, index, split=split)
            text = Scenario(case).view()["playbook"]
            for finding in compute_ground_truth(case.incident, case.world).findings:
                found += 1
                assert f"\n- {finding.rule_id}: " in text

    assert found > 500


def test_a_window_s_playbook_depends_on_its_kinds_of_lines_alone():
    """Where nothing calls a cloud: there the operations count too."""
    cases = (generate("stage3_mixed", index).lines for index in range(100))
    lines = next(lines for lines in cases if all(line["event_type"] != "cloud_api" for line in lines))
    bare = [{"event_type": line["event_type"], "fields": {"activity": line["fields"]["activity"]}} for line in lines]

    assert playbook_for(lines) == playbook_for(reversed(bare))
    assert len(playbook_for(bare[:1])) < len(playbook_for(bare)) < len(playbook_text())


def is_program(tool, case):
    """Whether a line names a program of this name, as Linux names its own without a dot."""
    paths = (line["fields"].get("process_path", "") for line in case.lines)
    return any(path.rpartition("/")[2].lower() == tool for path in paths)


def test_the_playbook_names_every_kind_of_work_that_a_finding_is_given():
    cases = (generate(task, index, split=split) for task in TASKS for split in SPLITS for index in range(60))
    given = {
        finding.tool
        for case in cases
        for finding in compute_ground_truth(case.incident, case.world).findings
        if finding.tool and "." not in finding.tool and not is_program(finding.tool, case)
    }

    assert given
    assert given <= set(UNNAMED_PROGRAM_WORK)


# ---------------------------------------------------------------- words and code
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule_id)
def test_a_rule_s_words_say_everything_that_it_compares_with(rule):
    assert untold(rule, LITERALS) == []


@pytest.mark.parametrize("name", ["is_user_writable", "is_installed", "is_person_or_service"])
def test_the_playbook_spells_out_what_a_path_or_a_name_says(name):
    assert missing(LADDER, LITERALS.of_name(name)) == []


@pytest.mark.parametrize("name", SHARED)
def test_the_playbook_spells_out_what_rules_call_by_one_word(name):
    words = summary_of("download-cradle") if name == "fetches_code" else LADDER

    assert missing(words, LITERALS.of_name(name)) == []
    assert SHARED[name] in words.lower()


@pytest.mark.parametrize(
    ("rule_id", "old", "new", "word"),
    [
        ("startup-folder", '"powerpnt.exe"', '"powerpnt.exe", "teams.exe"', "teams"),
        (
            "class-hijack",
            'if setting.act != "set"',
            'if "hidden.dll" in setting.data or setting.act != "set"',
            "hidden.dll",
        ),
        ("share-sweep", "line.fields.dst_port in SHARE_PORTS", "line.fields.dst_port in (*SHARE_PORTS, 3260)", "3260"),
        ("share-sweep", "at_least=MIN_SWEPT", "at_least=77", "77"),
        ("secrets-over-share", "cookies", "cookies|webdata", "webdata"),
        ("sign-in-screen-shell", '"rundll32.exe")', '"rundll32.exe" and name != "wt.exe")', "wt"),
    ],
)
def test_a_literal_that_the_words_do_not_say_is_found(rule_id, old, new, word):
    rule = next(rule for rule in RULES if rule.rule_id == rule_id)
    source = inspect.getsource(sys.modules[module_of(rule)])
    assert old in source

    assert untold(rule, Literals({module_of(rule): source.replace(old, new)})) == [word]


def test_the_words_of_the_playbook_do_not_hang_on_the_order_of_sets():
    command = [sys.executable, "-c", "from verifier import playbook_text; print(playbook_text())"]
    texts = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True
        ).stdout
        for seed in ("1", "2")
    }

    assert len(texts) == 1


def summary_of(rule_id):
    return next(rule.summary for rule in RULES if rule.rule_id == rule_id)


def call(operation, service):
    return {
        "event_type": "cloud_api",
        "fields": {"activity": "call", "api_operation": operation, "api_service": service},
    }


def test_rules_on_calls_come_in_by_the_operation_and_not_by_any_call():
    harmless = playbook_for([call("ListBuckets", "s3.amazonaws.com")])
    entered = playbook_for([call("create pods/exec", "kubernetes")])
    by_google = playbook_for([call("google.iam.admin.v1.CreateServiceAccountKey", "iam.googleapis.com")])

    assert "- kube-shell-in-pod:" not in harmless
    assert "- kube-shell-in-pod:" in entered
    assert "- cloud-calls-refused:" in harmless  # it speaks of any call
    assert "- kube-pod-on-host:" not in entered
    assert len(by_google) > len(harmless)


# ---------------------------------------------------------------- by its hash
@pytest.mark.parametrize("task", TASKS)
def test_the_hash_of_a_window_gives_its_playbook(task):
    for seed in range(20):
        lines = generate(task, seed).lines
        assert playbook_of(playbook_hash_for(lines)) == playbook_for(lines)


def test_what_is_no_hash_of_these_rules_gives_nothing():
    rules, _, digest = playbook_hash_for(generate("stage1_basic", 1).lines).partition(".")
    other = f"{1 << len(RULES):x}"  # one rule more than there are

    for name in (
        "",
        ".",
        rules,
        f"{rules}.",
        f".{digest}",
        f"{rules}.{'0' * 16}",
        f"0{rules}.{digest}",
        f"{other}.{digest}",
    ):
        assert playbook_of(name) is None
    assert playbook_of(f"{rules}.{digest}\n") is None
