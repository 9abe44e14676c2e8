"""`evaluate_model`: models in memory get the scores that the command gives their folders, digit for digit."""

import pytest
import torch
from accelerate_state import reset_accelerate
from benchmark_runs import evaluate_models as run_command
from benchmark_runs import report_of, samples_of
from other_models import save_other
from tiny import tiny_processor
from transformers import AutoModel, AutoProcessor, CLIPModel

import conclip.evaluation
from conclip.errors import UsageError
from conclip.evaluation import evaluate_model, evaluate_models
from modeling_conclip import ConCLIPModel


@pytest.fixture(autouse=True)
def fresh_accelerator():
    reset_accelerate()
    yield
    reset_accelerate()


def values(report, label="model"):
    return {(row.benchmark, row.metric, row.part): row.values[label] for row in report.rows}


@pytest.mark.parametrize("cls", [ConCLIPModel, CLIPModel])
def test_a_model_in_memory_has_the_scores_of_the_command(cls, data, models, tmp_path):
    run_command([models["one"]], ["sugarcrepe"], data, tmp_path / "command", log_samples=True)
    model = cls.from_pretrained(models["one"]).train()
    report = evaluate_model(
        model,
        tiny_processor(),
        ["sugarcrepe"],
        str(data),
        name="one",
        cache_dir=str(tmp_path / "cache"),
        samples_dir=tmp_path / "samples",
    )
    assert values(report, "one") == report_of(tmp_path / "command")
    expected = report_of(tmp_path / "command", whole_rows=True)
    assert {(row.benchmark, row.metric, row.part): row.ties for row in report.rows} == {
        key: row["ties"] for key, row in expected.items()
    }
    assert samples_of(tmp_path, "one", "sugarcrepe") == samples_of(tmp_path / "command", "one", "sugarcrepe")
    assert str(report) == report.table() and "SugarCrepe, test" in report.table()
    assert report.to_dict()["models"]["one"]["model_type"] == "clip" and model.training


def test_a_model_in_half_precision_is_scored_in_float32(data, models, tmp_path):
    half = ConCLIPModel.from_pretrained(models["one"]).to(torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    tiny_processor().save_pretrained(tmp_path / "half")
    settings = {"benchmarks": ["sugarcrepe"], "data_dir": str(data), "cache_dir": str(tmp_path / "cache")}
    assert values(evaluate_model(half, tiny_processor(), **settings)) == values(
        evaluate_model(str(tmp_path / "half"), **settings)
    )
    assert half.dtype == torch.bfloat16


def test_a_folder_and_a_model_side_by_side(data, models, tmp_path):
    two = ConCLIPModel.from_pretrained(models["two"])
    report = evaluate_models(
        {"first": str(models["one"]), "second": (two, tiny_processor())},
        ["sugarcrepe"],
        str(data),
        cache_dir=str(tmp_path / "cache"),
    )
    assert report.labels == ["first", "second"] and values(report, "first") != values(report, "second")
    alone = evaluate_model(str(models["one"]), None, ["sugarcrepe"], str(data), cache_dir=str(tmp_path / "cache"))
    assert values(alone) == values(report, "first")


def test_other_families_in_memory(data, tmp_path):
    for family in ("siglip", "blip"):
        saved = save_other(tmp_path / family, family)
        processor = AutoProcessor.from_pretrained(tmp_path / family)
        model = saved if family == "blip" else AutoModel.from_pretrained(tmp_path / family)
        settings = {"benchmarks": ["sugarcrepe"], "data_dir": str(data), "cache_dir": str(tmp_path / "cache")}
        found = evaluate_model(model, processor, **settings)
        expected = evaluate_model(str(tmp_path / family), **settings)
        assert [row.values for row in found.rows] == [row.values for row in expected.rows], family


def test_what_cannot_be_evaluated(data):
    model = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match="needs its processor"):
        evaluate_model(model)
    with pytest.raises(UsageError, match="no such benchmark"):
        evaluate_model("some/model", benchmarks=["sugarcrap"])
    with pytest.raises(AttributeError):
        conclip.evaluation.nothing  # noqa: B018
