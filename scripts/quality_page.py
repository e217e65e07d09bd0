"""Render docs/quality.md: the checks of OpenEnv's severity policy, and the test that holds each here."""

import ast
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
POLICY = "policies/severity-v2.json"
BAR = "tests/test_quality_bar.py"
# These checks the SDK's own validator runs, which tests/test_validation.py calls on the checkout and on a running server.
BY_VALIDATOR = {
    "static.manifest": "test_static_validation_passes",
    "runtime.startup": "test_every_implemented_runtime_check_passes",
    "runtime.reward_well_formed": "test_every_implemented_runtime_check_passes",
    "runtime.observation_schema": "test_every_implemented_runtime_check_passes",
    "runtime.state_contract": "test_every_implemented_runtime_check_passes",
    "runtime.network_policy": "test_every_implemented_runtime_check_passes",
}
HEAD = """# The quality bar

<!-- Made by `python scripts/make_docs.py`; do not edit. -->

This page helps whoever asks how far OpenSOC meets OpenEnv's quality bar: the checks of its severity policy {version}, and the test that holds each here. The SDK's validator runs six of them; the others are
tests of ours, named after the check. {held} of {total} checks have a test.

| check | severity | test | what it shows |
|---|---|---|---|
"""
TAIL = """
What a test here cannot show: a registry of images and a second machine. The base image's digest is pinned by `scripts/image pin`, which asks the registry once; until somebody runs and commits it, the base is a tag
([deployment](deployment.md#the-image)). `hub.cross_host_determinism` compares with hashes that are stored in the repository, so every machine that runs the tests is the second host.
"""


class Held(NamedTuple):
    """One test that holds a check."""

    name: str
    summary: str


def checks() -> tuple[str, list[tuple[str, str]]]:
    """Return the policy's version, and id and severity of each check."""
    package = find_spec("openenv")  # found and not imported: openenv.validation brings gradio, which takes seconds
    assert package is not None, "openenv is not installed"
    assert package.origin is not None
    policy = json.loads(Path(package.origin).with_name("validation").joinpath(POLICY).read_text("utf-8"))
    return policy["policy_version"], [(entry["check_id"], entry["severity"]) for entry in policy["entries"]]


def holders_of(check: str) -> list[Held]:
    """Return the tests that hold a check."""
    if check in BY_VALIDATOR:
        return [Held(BY_VALIDATOR[check], "The SDK's validator passes.")]
    name = "test_" + check.replace(".", "_")
    return [held for held in _tests() if held.name == name or held.name.startswith(f"{name}_over")]


def _tests() -> Iterator[Held]:
    for node in ast.parse((ROOT / BAR).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield Held(node.name, (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " "))


def quality_page() -> str:
    """Render the page."""
    version, listed = checks()
    rows, held = [], 0
    for check, severity in listed:
        found = holders_of(check)
        held += bool(found)
        names = ", ".join(f"`{test.name}`" for test in found) or "none"
        rows.append(f"| `{check}` | {severity} | {names} | {' '.join(test.summary for test in found)} |\n")
    return HEAD.format(version=version, held=held, total=len(listed)) + "".join(rows) + TAIL
