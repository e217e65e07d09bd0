"""What the hub and citation tools read: the front matter of the models' and the data set's cards, and CITATION.cff."""

import json
import os
import tomllib
from pathlib import Path

import pytest
import yaml

from tasks.sets import NAMES, PATHS, load_set
from train.nano.card import DATASET, Result, front_matter

ROOT = Path(__file__).resolve().parent.parent
pytest.importorskip("huggingface_hub")


def model_card(name):
    from huggingface_hub import ModelCard

    return ModelCard((ROOT / "models" / name / "README.md").read_text("utf-8")).data


def test_front_matter_is_read_by_the_hubs_own_class():
    from huggingface_hub import ModelCard

    results = [
        Result("accuracy", "accuracy", 0.51234, "OpenSOC, holdout", "holdout"),
        Result("wins", "Wins", 0.25, "x"),
    ]
    data = ModelCard(front_matter("A model", ["self-play"], results) + "\n# A model\n").data

    assert (data.license, data.library_name, data.pipeline_tag) == ("bsd-3-clause", "onnx", "text-generation")
    assert data.datasets == [DATASET]
    assert (data.model_name, data.metrics, data.tags[-1]) == ("A model", ["accuracy"], "self-play")
    first, second = data.eval_results
    assert (first.dataset_type, first.dataset_config, first.dataset_split) == (DATASET, "holdout", "test")
    assert (first.metric_type, first.metric_value) == ("accuracy", 0.5123)
    assert (second.metric_name, second.dataset_config, second.dataset_split) == ("Wins", None, None)


def test_a_model_that_was_not_measured_has_no_index():
    from huggingface_hub import ModelCard

    data = ModelCard(front_matter("A model", [], []) + "\n# A model\n").data
    assert (data.eval_results, data.metrics) == (None, None)


def test_the_defenders_index_says_what_the_results_say():
    stored = json.loads((ROOT / "docs" / "results.json").read_text("utf-8"))["sets"]
    index = {(row.dataset_config, row.metric_type): row.metric_value for row in model_card("defender").eval_results}

    assert {name for name, _ in index} == set(NAMES) - {"sft_train"}
    for name in ("holdout", "test_seed", "test_family", "test_tactic"):
        metrics = stored[name]["metrics"]
        assert index[name, "f1"] == pytest.approx(metrics["macro_f1"]["after"]["value"], abs=5e-5)
        assert index[name, "accuracy"] == pytest.approx(metrics["accuracy"]["after"]["value"], abs=5e-5)


def test_the_attackers_index_says_what_was_measured_at_its_export():
    measured = json.loads((ROOT / "models" / "attacker" / "attacker.json").read_text("utf-8"))["measured"]["greedy"]
    index = {row.metric_type: row.metric_value for row in model_card("attacker").eval_results}

    assert index == {key: measured[key]["value"] for key in ("admitted", "on_target")}


def test_the_data_sets_card_names_every_file_under_its_split():
    from huggingface_hub import DatasetCard

    data = DatasetCard((ROOT / "data" / "README.md").read_text("utf-8")).data
    files = {config["config_name"]: config["data_files"] for config in data.configs}

    assert files == {
        name: [{"split": "train" if name == "sft_train" else "test", "path": path}] for name, path in PATHS.items()
    }
    assert (data.license, data.size_categories) == ("bsd-3-clause", ["1K<n<10K"])
    assert 1_000 < sum(len(load_set(name).rows) for name in NAMES) < 10_000


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_datasets_loads_each_configuration_by_the_card(name, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    split = "train" if name == "sft_train" else "test"
    rows = datasets.load_dataset(str(ROOT / "data"), name, split=split, cache_dir=str(tmp_path))

    assert rows["id"] == [row["id"] for row in load_set(name).rows]


def test_the_citation_names_the_version_the_licence_and_nobody_who_does_not_exist():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the schema of CFF 1.2.0 requires
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert citation["authors"] == project["authors"] == [{"name": "OpenSOC contributors"}]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
