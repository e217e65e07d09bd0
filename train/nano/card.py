"""The model card of the embedded defender, in the hub's format: a text from what defender.json says and what a run of eval.run measured.

The front matter is written by huggingface_hub's own classes: licence, library, task, and a `model-index` with the run's figures on the frozen sets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.metric_table import interval_text, names_in, value_text
from players.embedded import About, Calibration
from schema import BadRequestError, unread
from tasks.sets import PATHS
from train.nano.presets import PRESETS

CARD = "README.md"
DATASET = "opensoc-incidents"  # the data set's name on the hub; its owner is put before it on the way there
TASK = "security alert triage"
METRICS = {  # of a run: the hub's identifier and the name that is shown
    "accuracy": ("accuracy", "accuracy"),
    "macro_f1": ("f1", "macro-F1"),
    "dismiss_on_malicious": ("dismiss_on_malicious", "dismissed though malicious (less is better)"),
    "over_reaction": ("over_reaction", "acted on though benign (less is better)"),
    "mean_reward": ("mean_reward", "mean reward"),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One figure of a model index.

    Attributes:
        metric: the hub's identifier of the metric.
        title: the metric's name as it is shown.
        value: the figure.
        dataset: what it was measured on, in words.
        config: the data set's configuration, "" where it is none of its files.
    """

    metric: str
    title: str
    value: float
    dataset: str
    config: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run of eval.run measured: its command and commit, and by set and metric the figures."""

    command: str
    commit: str
    table: Mapping[str, Mapping[str, Mapping[str, Any]]]


def front_matter(name: str, tags: Iterable[str], results: Iterable[Result]) -> str:
    """Return a model's metadata as the hub reads them: YAML between two lines of dashes.

    The form is that of the hub's documentation, "Model Cards"; huggingface_hub writes it.
    """
    from huggingface_hub import EvalResult, ModelCardData

    rows = [
        EvalResult(
            task_type="text-generation",
            task_name=TASK,
            dataset_type=DATASET,
            dataset_name=result.dataset,
            dataset_config=result.config or None,
            dataset_split="test" if result.config else None,
            metric_type=result.metric,
            metric_name=result.title,
            metric_value=round(result.value, 4),
        )
        for result in results
    ]
    metadata = ModelCardData(
        license="bsd-3-clause",
        language="en",
        library_name="onnx",
        datasets=[DATASET],
        pipeline_tag="text-generation",
        tags=["opensoc", "openenv", "onnxruntime", "security", "soc", "alert-triage", "rlvr", *tags],
        metrics=list(dict.fromkeys(row.metric_type for row in rows if row.metric_type in ("accuracy", "f1"))) or None,
        model_name=name,
        eval_results=rows or None,
    )
    return f"---\n{metadata.to_yaml()}\n---\n"


def _results(run: Run) -> Iterator[Result]:
    """Yield what a run measured on the files of the data set, training's aside."""
    for name, row in run.table.items():
        if name in PATHS and name != "sft_train":
            for key, (metric, title) in METRICS.items():
                if key in row and row[key].get("value") is not None:
                    yield Result(metric, title, row[key]["value"], f"OpenSOC, {name}", name)


def card(about: About, run: Path | None) -> str:
    """Return the card.

    Args:
        about: of the export.
        run: a run directory of eval.run on this very export; without it the card says that nothing was measured.

    Raises:
        BadRequestError: the run cannot be read, is not complete, or is of another model.
    """
    measured = about.measured
    figures = _measured(about, run) if run else None
    return "\n".join(
        [
            front_matter("OpenSOC embedded defender", (), _results(figures) if figures else ()),
            "# The embedded defender",
            "",
            f"A causal language model of the Qwen2 architecture with {about.parameters:,} parameters, made and trained here from random weights, that triages",
            "OpenSOC's alerts on a CPU core through onnxruntime. No pretrained weights and no outside data are in it.",
            "",
            "```bash",
            ".venv/bin/python -m eval.run --defender embedded --split holdout --out out/embedded",
            "```",
            "",
            "`python -m train.nano.unpack models/defender --out out/defender` makes a float32 checkpoint of it, to train on.",
            "",
            "## How it was made",
            "",
            *made_by(about),
            "",
            "## Figures",
            "",
            *(_figures(figures) if figures else [NOT_MEASURED]),
            "",
            "## The export",
            "",
            *_export(measured, about.precision),
            "",
            "## Confidence",
            "",
            *_calibration(about.calibration),
            *_by_ladder(about),
            *_notice(about),
            *_caution(about),
            "",
            "## Limits",
            "",
            *(f"- {line}" for line in _limits(about)),
            "",
        ]
    )


NOT_MEASURED = (
    "Not measured: no run was given when this card was written (`python -m train.nano.export --metrics RUN`)."
)


def _limits(about: About) -> Iterator[str]:
    yield (
        f"It reads prompts of the density `{about.density}`, version {about.text_version} of its text, prompt and answer together at most {about.context:,} tokens; "
        "a longer one is answered with a fault, never cut."
    )
    yield "It knows the event types, rules and families of OpenSOC's generator, and nothing else: on telemetry of another form its answers mean nothing."
    yield "It has learned the playbook as it stood in training; another playbook needs another training."
    follows = (
        "the action follows from it by the ladder, right or wrong"
        if about.by_ladder
        else "the action need not follow from it"
    )
    yield f"Its rationale is the chain of reasons that it gives before its action. A reason can be wrong, and {follows}."
    yield _confidence(about.calibration)
    yield "It triages for an exercise. Nobody should let it act on real systems."


def _confidence(calibration: Calibration | None) -> str:
    if calibration is None or not calibration.stated:
        return "It states no confidence: none was found that agrees well enough with what is right."
    return "Its confidence is the probability that its action is right, fitted on incidents of the generator; elsewhere it means nothing."


CONFIDENCES = {
    "action": "the action's probability among the five",
    "reply": "the probability of the whole reply up to its action",
    "weakest": "the probability of the reply's least likely token up to its action",
    "mean": "the mean probability (geometric) of the reply's tokens up to its action",
}


def _calibration(calibration: Calibration | None) -> Iterator[str]:
    """Yield what a confidence is and how it agrees with what is right."""
    if calibration is None:
        yield "No confidence could be fitted: too few answers name an action."
        return
    yield (
        f"Of four figures the one with the best Brier score on `val`: {CONFIDENCES[calibration.of]}, its logarithm divided by a temperature of "
        f"{calibration.temperature:.3f} (fitted on `val` by likelihood). Answers {'state it' if calibration.stated else 'do not state it'}: the "
        "bound is an expected calibration error (ECE) of .05 on `test_seed`."
    )
    yield ""
    yield "| set | answers | ECE | Brier | ECE of the action's probability as it is | Brier of it |"
    yield "|---|---|---|---|---|---|"
    for name, of in (("val", calibration.val), ("test_seed", calibration.test_seed)):
        yield f"| `{name}` | {of.n} | {of.ece:.3f} | {of.brier:.3f} | {of.ece_before:.3f} | {of.brier_before:.3f} |"


def _by_ladder(about: About) -> Iterator[str]:
    """Yield what the ladder says in place of the model."""
    if about.by_ladder:
        yield ""
        yield (
            "The model says what it found; the ladder says what follows. The end of a chain and the action are those that its own reasons lead to "
            "(`players.reasons.rungs_of`), so no answer contradicts its chain."
        )


def _notice(about: About) -> Iterator[str]:
    """Yield what it notices at the lines, how it learned to, and what that earns."""
    tried, made = about.measured.get("notice", []), about.measured.get("noticing")
    if about.notice_from is None or not tried or not made:
        return
    told = ", ".join(f"{of['val']:.3f} and {of['val_family']:.3f} {_from(of['from'])}" for of in tried)
    precisions = ", ".join(f"{figure:.3f} on `{name}`" for name, figure in made["average_precision"].items())
    yield ""
    yield (
        f"Small layers say of each rule that a line names whether it finds something there (`python -m train.nano.noticing`, {made['incidents']:,} incidents of `train` and {made['drilled']:,} drilled ones); "
        f"their average precision is {precisions}. What is at least {about.notice_from:g} likely and not in the chain is added to it. Mean reward (hardened) on `val` and `val_family`: {told}."
    )


def _from(bound: float | None) -> str:
    return "without" if bound is None else f"from {bound:g} on"


def _caution(about: About) -> Iterator[str]:
    """Yield how likely "nothing was found" must be, and what that earns."""
    rewards = about.measured.get("caution", {})
    if about.nothing_from and rewards:
        told = ", ".join(
            f"`{name}` {of['reward']:.3f} ({of['reward_without']:.3f} without)" for name, of in rewards.items()
        )
        yield ""
        yield (
            f"It says that nothing was found only where that is at least {about.nothing_from:g} likely; else the likeliest rule begins its reply. The bound is the one "
            f"with the best mean reward (hardened) of these: {told}."
        )


def made_by(about: About) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    yield f"| checkpoint | `{_cell(about.checkpoint)}` |"
    yield f"| exported at commit | `{_cell(about.commit)}` |"
    yield f"| version of the text | {about.text_version} |"
    runs = about.made.get("runs") or []
    for name, value in about.made.items():
        if name != "runs" and not (runs and name in ("command", "commit", "text_version")):
            yield f"| {_cell(name)} | {_cell(value)} |"
    if not about.made:
        yield "| training | the checkpoint does not say |"
    if runs:
        yield ""
        first = str(runs[0].get("command"))
        whole = "train.nano.pretrain" in first or any(f"--model {preset} " in f"{first} " for preset in PRESETS)
        yield f"{'From random weights' if whole else 'After what train/LOG.md tells'}, one command after the other:"
        yield ""
        yield "| command | learns from | steps | incidents | time | commit |"
        yield "|---|---|---|---|---|---|"
        for step in runs:
            command = str(step.get("command"))
            yield (
                f"| `{_cell(command)}` | {_data(command)} | {step.get('steps')} | {_incidents(step)} | {_time(step)} "
                f"| `{_cell(str(step.get('commit')))[:12]}` |"
            )


def _incidents(step: Mapping[str, Any]) -> str:
    """Say how many incidents a command saw, and how many of each stage where its run says so."""
    by_task = step.get("by_task") or {}
    shares = "; ".join(f"{_cell(task)} {number:,}" for task, number in by_task.items() if number)
    return f"{step.get('incidents') or 0:,}{f' ({shares})' if len(by_task) > 1 else ''}"


def _time(step: Mapping[str, Any]) -> str:
    """Say what a command cost: minutes of a GPU, or hours of a core."""
    if not (seconds := step.get("seconds")):
        return "-"
    if (step.get("device") or "cpu") != "cpu":
        return f"{seconds / 60:.1f} GPU minutes"
    return f"{seconds * (step.get('threads') or 1) / 3600:.2f} core hours"


def _data(command: str) -> str:
    """Say what a training command learns from."""
    if "train.nano.pretrain" in command:
        return "fresh prompts of the `train` families, without labels"
    if "train.grpo" in command:
        return "fresh incidents of the `train` families and the verifier's reward; beside them the labelled rows of `--anchor`"
    if "--generate" in command:
        return "fresh labelled incidents of the `train` families"
    return "the 600 labelled rows of `sft_train`" if "--data" not in command else "the labelled rows of `--data`"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "&#124;").replace("\n", " ")


def _export(measured: Mapping[str, Any], precision: str) -> Iterator[str]:
    yield (
        f"Compared on {measured['items']} incidents of the split `{measured['set']}`, greedy; `{precision}` is what lies here. "
        "A decision's time is that of one core."
    )
    yield ""
    yield "| | accuracy | macro-F1 | action and line as the checkpoint | ms a decision, median | 99 % within | longest | MB |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in ("checkpoint", "float32", "int8"):
        if figures := measured.get(name):
            times = [_of(figures, f"latency_{which}_s", 1000, 0) for which in ("median", "p99", "max")]
            yield (
                f"| {name} | {figures['accuracy']:.3f} | {_of(figures, 'macro_f1', 1, 3)} | {figures['same_decisions']} of {measured['items']} "
                f"| {' | '.join(times)} | {_of(figures, 'bytes', 1e-6, 2)} |"
            )


def _of(figures: Mapping[str, Any], name: str, times: float, digits: int) -> str:
    return f"{figures[name] * times:.{digits}f}" if name in figures else "-"


def _measured(about: About, run: Path) -> Run:
    """Read the figures of a run of this very export."""
    try:
        stored = json.loads((run / "metrics.json").read_text("utf-8"))
        info, metrics = stored["run"], stored["metrics"]
        fingerprint = info["defender"].get("fingerprint")
        table = {name: {key: row[key] for key in names_in("card") if key in row} for name, row in metrics.items()}
        measured = Run(info["command"], info["commit"], table)
        list(_figures(measured))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequestError(
            f"Expected a complete run of eval.run with metrics.json in {str(run)!r}, and got {unread(error)}."
        ) from error
    if fingerprint != about.fingerprint:
        raise BadRequestError(
            f"Expected a run of this very export ({about.fingerprint}), and the one in {str(run)!r} is of {fingerprint!r}; "
            "run eval.run with --defender embedded again."
        )
    return measured


def _figures(run: Run) -> Iterator[str]:
    """Yield a table of a run's metrics with their intervals."""
    yield f"`{_cell(run.command)}`, commit `{_cell(run.commit)}`; 95 % intervals, docs/evaluation.md says how each is made."
    yield ""
    yield "| metric | set | value (interval) | items |"
    yield "|---|---|---|---|"
    for name, row in run.table.items():
        for key, metric in row.items():
            yield f"| {key} | {name} | {_value(metric)} | {metric.get('n', '')} |"


def _value(metric: Mapping[str, Any]) -> str:
    interval = interval_text(metric)
    return value_text(metric) + (f" ({interval})" if interval else "")
