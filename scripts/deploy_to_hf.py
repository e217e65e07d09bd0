"""Push OpenSOC to Hugging Face and try what runs there: export HF_USER=your-name; bash scripts/deploy_to_hf.sh [--dry-run]

The Space is this checkout; the dataset is data/, the models are models/defender and models/attacker, and with --adapters the LoRA adapters of a
run of scripts/run_full_pipeline.sh. A second run updates what has changed. HF_TOKEN, or the token of `hf auth login`, lets it in.

Exit code: 0 done; 1 a step failed, and the last line says what to do; 2 a wrong call.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    import httpx
    from huggingface_hub import HfApi

ROOT = Path(__file__).resolve().parent.parent
HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
SPACE, DATASET, DEFENDER, ATTACKER = "opensoc-env", "opensoc-incidents", "opensoc-defender", "opensoc-attacker"
NOTEBOOKS_SPACE = (
    "https://huggingface.co/spaces/shivam2k3/opensoc-env"  # where train_grpo.ipynb looks until it is deployed
)
FINAL = "opensoc-defender-grpo"  # the adapter after the last stage
STAGES = ("stage1_basic", "stage2_multi", "stage3_mixed", "stage4_adversarial")
ADAPTERS = (
    {f"{FINAL}-sft": "sft"} | {f"{FINAL}-{stage}": f"grpo/{stage}" for stage in STAGES} | {FINAL: f"grpo/{STAGES[-1]}"}
)
WEIGHTS = "adapter_config.json"  # what makes a directory an adapter's
ADAPTER_FILES = ("adapter_*", "*token*.json", "*.jinja", "vocab.json", "merges.txt", "README.md")
SALT = "OPENSOC_SALT"
FRONT = {"sdk": "docker", "app_port": 7860, "base_path": "/web"}  # as `openenv push` writes it
LINK = re.compile(
    r"(<!-- link:([a-z]+) -->[ ]*\[(?:!\[[^\]\n]*\]\([^)\n]*\)|[^\]\n])*\]\()[^)\s]*(\))"
)  # a text or a badge is what one clicks
RELATIVE = re.compile(r"(\]\()(?!https?:|#|/|mailto:)([^)\s]+)(\))")
FAILED = {"BUILD_ERROR": "build", "CONFIG_ERROR": "build", "NO_APP_FILE": "build", "RUNTIME_ERROR": "container"}
HALTED = ("PAUSED", "STOPPED", "SLEEPING", "DELETING")
SETTLE_S = 5.0  # between two looks at the Space
LOG_LINES = 12


class DeployError(Exception):
    """A step that failed, as one sentence with the way out."""


class Step(NamedTuple):
    """What is done next, in words and as a call that returns what came of it."""

    says: str
    do: Callable[[], str]


@dataclass
class Deployment:
    """Whose repositories they are, and how to reach the hub."""

    user: str
    api: HfApi
    private: bool = False
    wait_s: float = 1800.0
    commit: str = field(default_factory=lambda: git("rev-parse", "--short", "HEAD").strip())
    pushed: str = ""  # the Space's commit on the hub

    def repo(self, name: str) -> str:
        """Return a repository's full name."""
        return f"{self.user}/{name}"

    @property
    def page(self) -> str:
        """Return the address of the Space's page on the hub."""
        return f"{HUB}/spaces/{self.repo(SPACE)}"

    @property
    def host(self) -> str:
        """Return where a Space of this name answers."""
        return f"https://{re.sub(r'[^a-z0-9]+', '-', self.repo(SPACE).lower())}.hf.space"

    def links(self) -> dict[str, str]:
        """Return what stands behind each `<!-- link:NAME -->` of the README that goes to the Space."""
        notebook = f"{self.page}/blob/main/train_grpo.ipynb"
        return {
            "space": self.page,
            "demo": f"{self.host}/demo/",
            "api": f"{self.host}/docs",
            "dataset": f"{HUB}/datasets/{self.repo(DATASET)}",
            "model": f"{HUB}/{self.repo(DEFENDER)}",
            "attacker": f"{HUB}/{self.repo(ATTACKER)}",
            "adapter": f"{HUB}/{self.repo(FINAL)}",
            "notebook": notebook,
            "colab": f"https://colab.research.google.com/#fileId={notebook}",
            "blog": f"{self.page}/blob/main/docs/blog.md",
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Do every step, or with --dry-run print each."""
    parser = argparse.ArgumentParser(description="Push OpenSOC to Hugging Face, wait until the Space runs, and try it.")
    parser.add_argument("--dry-run", action="store_true", help="print each step, and reach nothing")
    parser.add_argument(
        "--adapters",
        type=Path,
        metavar="DIR",
        help="a run of scripts/run_full_pipeline.sh with --model: push its LoRA adapters",
    )
    parser.add_argument("--private", action="store_true", help="new repositories are private (default: public)")
    parser.add_argument(
        "--wait", type=float, default=1800.0, metavar="S", help="seconds to wait for the Space (default: 1800)"
    )
    args = parser.parse_args(argv)
    place = "begin"
    try:
        plan = Deployment(user_name(os.environ), hub_api(), args.private, args.wait)
        steps = [*steps_of(plan, args.adapters)]
        for number, step in enumerate(steps, 1):
            place = step.says[0].lower() + step.says[1:]
            print(f"[{number}/{len(steps)}] {step.says}", flush=True)
            if not args.dry_run:
                print(f"      {step.do()}", flush=True)
    except DeployError as error:
        print(f"Not deployed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where this one ended.", file=sys.stderr)
        return 130
    except Exception as error:
        if (sentence := told(error, place)) is None:
            raise
        print(f"Not deployed. {sentence}", file=sys.stderr)
        return 1
    if args.dry_run:
        print("Nothing was sent: without --dry-run these steps are done.")
    else:
        print(f"The Space runs: {plan.page}, the demo is at {plan.links()['demo']}.")
    return 0


def steps_of(plan: Deployment, runs: Path | None) -> Iterator[Step]:
    """Say in order what a deployment does.

    Raises:
        DeployError: `runs` holds no adapter.
    """
    yield Step(f"Ask {HUB} whose token this is", partial(log_in, plan))
    yield from _repository(
        plan, "dataset", DATASET, "data/, the frozen sets with their card", partial(stage_part, "data")
    )
    yield from _repository(
        plan, "model", DEFENDER, "models/defender with its card", partial(stage_part, "models/defender")
    )
    yield from _repository(
        plan, "model", ATTACKER, "models/attacker with its card", partial(stage_part, "models/attacker")
    )
    found = adapters_in(runs) if runs else {}
    if not found:
        yield Step(
            "Look for LoRA adapters: none is here (--adapters DIR names a run that has some)", lambda: "nothing to push"
        )
    for name, path in found.items():
        yield from _repository(plan, "model", name, f"the adapter of {path}", partial(stage_adapter, path))
    yield Step(
        f"Make the Space {plan.repo(SPACE)} ({sdk_line()}), unless it is there",
        partial(make_repo, plan, "space", SPACE),
    )
    yield Step(
        f"Set the Space's secret {SALT}: yours if it is in the environment, else kept or made", partial(set_salt, plan)
    )
    yield Step(
        f"Push this checkout to {plan.page}, the README with your links",
        partial(push, plan, "space", SPACE, stage_space),
    )
    yield Step(
        f"Wait until the Space runs, {plan.wait_s:g} s at most (a first build takes about 5 minutes)",
        partial(wait, plan),
    )
    yield Step(f"Try {plan.host}: /health, /reset, /step, /grade, /web, /demo/", partial(try_it, plan))


def _repository(plan: Deployment, kind: str, name: str, what: str, stage: Callable[..., None]) -> Iterator[Step]:
    yield Step(f"Make the {kind} {plan.repo(name)}, unless it is there", partial(make_repo, plan, kind, name))
    yield Step(f"Push {what}", partial(push, plan, kind, name, stage))


# ---------------------------------------------------------------- who
def user_name(environ: Mapping[str, str]) -> str:
    """Read HF_USER.

    Raises:
        DeployError: it is missing, or no name of the hub.
    """
    user = environ.get("HF_USER", "").strip()
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?", user):
        got = f"{user!r}" if user else "nothing"
        raise DeployError(
            f"Expected your name on Hugging Face in HF_USER and got {got}; run `export HF_USER=your-name` and try again."
        )
    return user


def hub_api() -> HfApi:
    """Return the hub's client, quiet and with the token of this machine.

    Raises:
        DeployError: the library is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars, logging
    except ImportError as error:
        raise DeployError(
            "The package huggingface_hub is missing here; run `make .venv/.server` (or `pip install huggingface_hub`) first."
        ) from error
    disable_progress_bars()
    logging.set_verbosity_error()
    return HfApi(endpoint=HUB)


def log_in(plan: Deployment) -> str:
    """Check that the token is valid, may write, and belongs to HF_USER or to a member of it.

    Raises:
        DeployError: it does not.
    """
    me = plan.api.whoami()
    names = [me["name"], *(org["name"] for org in me.get("orgs", []))]
    if plan.user not in names:
        raise DeployError(
            f"Expected HF_USER to be one of yours ({', '.join(names)}) and got {plan.user!r}; correct HF_USER, or log in as {plan.user}."
        )
    if me.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise DeployError(
            f"This token of {me['name']} only reads; make one with the role `write` at {HUB}/settings/tokens and run `.venv/bin/hf auth login`."
        )
    return f"logged in as {me['name']}"


# ---------------------------------------------------------------- what goes there
def git(*args: str) -> str:
    """Ask git about this checkout.

    Raises:
        DeployError: this is no checkout of git, or git is not installed.
    """
    try:
        return subprocess.run(["git", *args], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise DeployError(
            f"Expected a git checkout in {ROOT}, as its files are what is pushed; clone the repository and try again."
        ) from error


def copy_tracked(part: Path, place: Path) -> None:
    """Copy the files that git knows below a part of the checkout."""
    for name in git("ls-files", "-z", str(part)).split("\0"):
        if name and (ROOT / name).is_file():
            target = place / Path(name).relative_to(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)


def stage_space(plan: Deployment, place: Path) -> None:
    """Copy the files that git knows, and fill the README's links and the notebook's Space.

    Raises:
        DeployError: the README's front matter is not that of this Space, or a link has an unknown name.
    """
    copy_tracked(Path(), place)
    readme = place / "README.md"
    text = readme.read_text("utf-8")
    front = front_matter(text)
    if wrong := {name: front.get(name) for name, value in FRONT.items() if front.get(name) != value}:
        raise DeployError(f"Expected {FRONT} in the front matter of README.md and got {wrong}; put it back.")
    links = plan.links()
    if not plan.api.repo_exists(plan.repo(FINAL)):  # no adapter was pushed: how to train one
        links["adapter"] = f"{plan.page}/blob/main/TRAIN.md"
    readme.write_text(with_links(text, links), "utf-8")
    if (notebook := place / "train_grpo.ipynb").is_file():
        notebook.write_text(notebook.read_text("utf-8").replace(NOTEBOOKS_SPACE, plan.page), "utf-8")


def sdk_line() -> str:
    """Return what the Space's front matter says of how it runs."""
    return ", ".join(f"{name}: {value}" for name, value in FRONT.items())


def front_matter(text: str) -> dict[str, Any]:
    """Return the YAML at the top of a card or README, empty where there is none."""
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return yaml.safe_load(found[1]) if found else {}


def with_links(text: str, links: Mapping[str, str]) -> str:
    """Put the address behind each Markdown link that follows `<!-- link:NAME -->` on its line.

    Raises:
        DeployError: a name stands for no link.
    """
    if unknown := {name for _, name, _ in LINK.findall(text)} - set(links):
        raise DeployError(
            f"Expected link names of {', '.join(links)} in README.md and got {', '.join(sorted(unknown))}; correct the mark."
        )
    return LINK.sub(lambda found: f"{found[1]}{links[found[2]]}{found[3]}", text)


def stage_part(part: str, plan: Deployment, place: Path) -> None:
    """Copy a directory of the checkout; its card's relative links lead to the Space's files, and a model's card names the dataset with its owner."""
    copy_tracked(Path(part), place)
    card = place / "README.md"
    text = RELATIVE.sub(partial(_in_the_space, plan, part, place), card.read_text("utf-8"))
    if part.startswith("models/"):
        text = re.sub(rf"(?m)^(- | +type: ){DATASET}$", rf"\g<1>{plan.repo(DATASET)}", text)
    card.write_text(text, "utf-8")


def _in_the_space(plan: Deployment, part: str, place: Path, link: re.Match[str]) -> str:
    path, _, anchor = link[2].partition("#")
    if (place / path).is_file():
        return link[0]
    full = os.path.normpath(f"{part}/{path}")
    return f"{link[1]}{plan.page}/blob/main/{full}{'#' * bool(anchor)}{anchor}{link[3]}"


def adapters_in(runs: Path) -> dict[str, Path]:
    """Return the adapters of a run directory by the names of their repositories.

    Raises:
        DeployError: there is none.
    """
    found = {name: runs / place for name, place in ADAPTERS.items() if (runs / place / WEIGHTS).is_file()}
    if not found:
        places = ", ".join(f"{place}/{WEIGHTS}" for place in dict.fromkeys(ADAPTERS.values()))
        raise DeployError(
            f"Expected LoRA adapters in {runs} ({places}) and found none; give --out of scripts/run_full_pipeline.sh --model MODEL."
        )
    return found


def stage_adapter(path: Path, plan: Deployment, place: Path) -> None:
    """Copy an adapter, its tokenizer and its card; one without front matter gets it."""
    for pattern in ADAPTER_FILES:
        for source in path.glob(pattern):
            shutil.copyfile(source, place / source.name)
    base = yaml.safe_load((path / WEIGHTS).read_text("utf-8")).get("base_model_name_or_path") or ""
    front = {
        "license": "bsd-3-clause",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["opensoc", "lora", "security"],
    }
    front |= {"datasets": [plan.repo(DATASET)]} | (
        {"base_model": base} if re.fullmatch(r"[\w.-]+/[\w.-]+", base) else {}
    )
    card = place / "README.md"
    text = card.read_text("utf-8") if card.is_file() else ADAPTER_CARD.format(space=plan.page, path=path.name)
    if not front_matter(text):
        text = f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n{text}"
    card.write_text(text, "utf-8")


ADAPTER_CARD = """# OpenSOC defender, LoRA adapter ({path})

This adapter answers security alerts in [OpenSOC]({space}). Measure it with `python -m eval.run --defender DIRECTORY --split holdout --out out/adapter`.
"""


# ---------------------------------------------------------------- the hub
def make_repo(plan: Deployment, kind: str, name: str) -> str:
    """Make a repository, unless it is there."""
    docker = {"space_sdk": "docker"} if kind == "space" else {}
    made = plan.api.create_repo(plan.repo(name), repo_type=kind, private=plan.private, exist_ok=True, **docker)
    return str(made)


def push(plan: Deployment, kind: str, name: str, stage: Callable[[Deployment, Path], None]) -> str:
    """Make the repository's files those that `stage` writes; what has not changed is not sent."""
    with tempfile.TemporaryDirectory() as home:
        stage(plan, Path(home))
        sent = plan.api.upload_folder(
            repo_id=plan.repo(name),
            repo_type=kind,
            folder_path=home,
            delete_patterns="*",
            commit_message=f"OpenSOC at {plan.commit}",
        )
        files = sum(path.is_file() for path in Path(home).rglob("*"))
    if kind == "space":
        plan.pushed = sent.oid
    return f"{files} files at commit {sent.oid[:12]}"


def set_salt(plan: Deployment) -> str:
    """Set the salt that makes this Space's incidents its own; it is never printed, and one that is there stays."""
    given = os.environ.get(SALT)
    if not given and SALT in plan.api.get_space_secrets(plan.repo(SPACE)):
        return "the Space has one, and it stays"
    plan.api.add_space_secret(plan.repo(SPACE), SALT, given or secrets.token_urlsafe(32))
    return "yours is set" if given else "one is made and set"


def wait(plan: Deployment) -> str:
    """Wait until the Space runs what was pushed, and tell each of its stages.

    Raises:
        DeployError: it fails, is halted, or takes too long.
    """
    begun, stage = time.monotonic(), ""
    while True:
        runtime = plan.api.get_space_runtime(plan.repo(SPACE))
        if runtime.stage != stage:
            stage = str(runtime.stage)
            print(f"      {time.monotonic() - begun:5.0f} s  {stage}", flush=True)
        current = runtime.raw.get("sha") in (None, plan.pushed)  # else it still tells of the version before
        if stage == "RUNNING" and current:
            return "it runs"
        if stage in FAILED and current:
            log = FAILED[stage]
            lines = "\n".join(f"      | {line.rstrip()}" for line in log_of(plan, log))
            raise DeployError(
                f"The Space ended in {stage}; its log ends as below, and all of it is at {plan.page}?logs={log}\n{lines}"
            )
        if stage in HALTED and current:
            raise DeployError(f"The Space is {stage}; wake it with Restart at {plan.page}/settings and run this again.")
        if time.monotonic() - begun > plan.wait_s:
            raise DeployError(
                f"The Space is still {stage} after {plan.wait_s:g} s; look at {plan.page}?logs=build, or give a longer --wait."
            )
        time.sleep(SETTLE_S)


def log_of(plan: Deployment, which: str) -> list[str]:
    """Return the last lines of the Space's log of its build or its container."""
    lines = [
        line
        for event in plan.api.fetch_space_logs(plan.repo(SPACE), build=which == "build")
        for line in event.splitlines()
    ]
    return lines[-LOG_LINES:] or ["(empty)"]


# ---------------------------------------------------------------- the Space
def try_it(plan: Deployment) -> str:
    """Play an episode on the Space and open its demo.

    Raises:
        DeployError: an answer is not what it should be.
    """
    import httpx

    url = plan.api.space_info(plan.repo(SPACE)).host or plan.host
    token = {"Authorization": f"Bearer {plan.api.token or _token()}"} if plan.private else {}
    try:
        with httpx.Client(
            base_url=url, headers=token, timeout=60, follow_redirects=True, trust_env=not _on_loopback(url)
        ) as client:
            reward = _play(client)
            for path in ("/web", "/demo/"):
                page = _asked(client, "GET", path)
                if "text/html" not in page.headers.get("content-type", ""):
                    raise DeployError(
                        f"Expected a page at {page.url} and got {page.headers.get('content-type')!r}; look at {plan.page}?logs=container."
                    )
    except httpx.HTTPError as error:
        raise DeployError(
            f"The Space runs, and {url} does not answer ({error}); look at {plan.page}?logs=container."
        ) from error
    return f"{url} answers: one episode played (reward {reward:+.2f}), the demo opens"


def _play(client: httpx.Client) -> float:
    episode = f"deploy-{secrets.token_hex(6)}"
    _asked(client, "GET", "/health")
    asked = {"task": "stage1_basic", "mode": "defender_only", "seed": 1, "episode_id": episode}
    first = _asked(client, "POST", "/reset", params=asked).json()
    answer = {
        "action": "monitor",
        "cited_log_id": first["observation"]["alert"]["log_id"],
        "rationale": "A try after the deployment.",
    }
    last = _asked(client, "POST", "/step", params={"episode_id": episode}, json={"submit_triage": answer}).json()
    _asked(client, "GET", "/grade", params={"episode_id": episode})
    return float(last["reward"])


def _asked(client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
    reply = client.request(method, path, **more)
    if reply.status_code != 200:
        raise DeployError(
            f"Expected 200 from {method} {reply.url} and got {reply.status_code} ({reply.text[:200]!r}); look at the Space's container log."
        )
    return reply


def _on_loopback(url: str) -> bool:
    return url.startswith(("http://127.0.0.1", "http://localhost"))


def _token() -> str:
    from huggingface_hub import get_token

    return get_token() or ""


# ---------------------------------------------------------------- errors
def told(error: Exception, place: str) -> str | None:
    """Return a library's error as a sentence with the way out, or None where it is a fault of ours."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    # An upload that fails in a thread of the library.
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    login = f"run `.venv/bin/hf auth login` with a token that may write ({HUB}/settings/tokens), or set HF_TOKEN."
    if isinstance(error, LocalTokenNotFoundError):
        return f"No token of Hugging Face is here; {login}"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = (error.server_message or "").strip().rstrip(".") or f"status {status}"
        ways = {
            401: f"The token is not valid; {login}",
            402: f"The hub asks for a paid plan to {place}: {said}; look at {HUB}/settings/billing.",
            403: f"The token may not {place}: {said}; make one with the role `write` at {HUB}/settings/tokens.",
            429: f"The hub takes no more calls just now ({said}); wait some minutes and run this again.",
        }
        return ways.get(
            status,
            f"The hub refused to {place}: {said}; run this again, and look at https://status.huggingface.co if it stays so.",
        )
    if isinstance(error, httpx.HTTPError | OSError):
        return f"{HUB} did not answer to `{place}` ({error}); check the network and HF_ENDPOINT, and run this again."
    return None


if __name__ == "__main__":
    sys.exit(main())
