"""Runs of evaluate/run_benchmarks.py that are interrupted, that share the work, or that cannot work."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmark_runs import command, evaluate_models, refusal, report_of, run, samples_of
from small_benchmarks import WORDS
from tiny import save_tiny

from modeling_conclip import ConCLIPModel

SCRIPT = Path(__file__).resolve().parents[2] / "evaluate" / "run_benchmarks.py"


def counted(monkeypatch, method: str, rows, fails_after: int | None = None) -> list[int]:
    """How many rows each call of the model's method had; the call after so many is Ctrl-C."""
    calls, original = [], getattr(ConCLIPModel, method)

    def counting(self, batch):
        if fails_after is not None and len(calls) == fails_after:
            raise KeyboardInterrupt
        calls.append(rows(batch))
        return original(self, batch)

    monkeypatch.setattr(ConCLIPModel, method, counting)
    return calls


def texts_of(pieces) -> int:
    return sum(len(piece["rows"]) for piece in pieces)


def test_a_run_continues_from_its_cached_embeddings(data, models, tmp_path, monkeypatch, capsys):  # noqa: F811
    evaluate_models([models["one"]], ["sugarcrepe"], data, tmp_path / "whole")
    argv = command([models["one"]], ["sugarcrepe"], data, tmp_path / "again", per_device_eval_batch_size=16)
    with monkeypatch.context() as patch:
        images = counted(patch, "embed_images", len)
        stopped = counted(patch, "embed_packed_texts", texts_of, fails_after=2)
        assert run(argv) == 130
    assert "the same command continues from them" in capsys.readouterr().err
    assert sum(images) == 9 and stopped == [16, 16]
    assert not (tmp_path / "again" / "benchmarks.json").exists()
    images, rest = counted(monkeypatch, "embed_images", len), counted(monkeypatch, "embed_packed_texts", texts_of)
    assert run(argv) == 0
    captions = {
        row[name]
        for path in (data / "sugarcrepe").iterdir()
        for row in json.loads(path.read_text()).values()
        for name in ("caption", "negative_caption")
    }
    assert not images and sum(rest) == len(captions) - 32
    assert report_of(tmp_path / "again") == report_of(tmp_path / "whole")


def test_two_processes_give_the_numbers_of_one(data, models, tmp_path):  # noqa: F811
    for folder in data.iterdir():
        (tmp_path / "data" / folder.name).mkdir(parents=True)
        for path in folder.iterdir():
            (tmp_path / "data" / folder.name / path.name).symlink_to(path)
    images = sorted(path.name for path in (data / "coco" / "val2017").iterdir())
    captions = [{"image": name, "caption": [f"a {word}", "a cat"]} for name, word in zip(images, WORDS, strict=False)]
    (tmp_path / "data" / "coco" / "coco_karpathy_test.json").write_text(json.dumps(captions))
    (tmp_path / "data" / "coco" / "val2014").symlink_to(data / "coco" / "val2017")
    inputs = [models["two"]], ["sugarcrepe", "coco-retrieval"], tmp_path / "data"
    evaluate_models(*inputs, tmp_path / "one", log_samples=True)
    argv = command(*inputs, tmp_path / "both", log_samples=True)
    path = os.pathsep.join([str(SCRIPT.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(SCRIPT), *argv],
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Written: ") == 1
    report = json.loads((tmp_path / "both" / "benchmarks.json").read_text())
    assert report["command"].startswith("accelerate launch --num_processes 2")
    # Each embedded a share: of the images, and of the texts of both benchmarks.
    shards = list((tmp_path / "both" / "cache").glob("*/shard-*.safetensors"))
    assert len(shards) == 6
    assert report_of(tmp_path / "both", whole_rows=True) == report_of(tmp_path / "one", whole_rows=True)
    both, one = (samples_of(tmp_path / folder, "two", "coco-retrieval") for folder in ("both", "one"))
    assert both == one and len(one) == 16 + 8


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"models": ["nowhere/at/all"]}, "--model_name_or_path nowhere/at/all: there is no such folder."),
        ({"benchmarks": ["sugarcrap"]}, "--benchmarks sugarcrap: no such benchmark; did you mean sugarcrepe?"),
        ({"data_dir": Path("nowhere")}, "nowhere/sugarcrepe/add_att.json: No such file or directory. The seven"),
        ({"per_device_eval_batch_size": 0}, "--per_device_eval_batch_size must be 1 or more, got 0."),
        ({"model_card": "nowhere.md"}, "--model_card nowhere.md: there is no such file."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_one_sentence_for_what_cannot_work(change, says, data, models, tmp_path, capsys):  # noqa: F811
    inputs = {"models": [models["one"]], "benchmarks": ["sugarcrepe"], "data_dir": data, **change}
    message = refusal(output_dir=tmp_path / "out", capsys=capsys, **inputs)
    assert message.startswith(says)
    assert not (tmp_path / "out" / "benchmarks.json").exists()


def test_a_damaged_image_is_named(data, models, tmp_path, capsys):  # noqa: F811
    folder = tmp_path / "data"
    (folder / "val2017").mkdir(parents=True)
    (folder / "sugarcrepe").symlink_to(data / "sugarcrepe")
    for path in (data / "coco" / "val2017").iterdir():
        (folder / "val2017" / path.name).write_bytes(path.read_bytes())
    broken = folder / "val2017" / "000000000004.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    message = refusal([models["one"]], ["sugarcrepe"], folder, tmp_path / "out", capsys)
    assert message.startswith(f"SugarCrepe: image {broken} cannot be read: ")


def test_adapters_are_scored_as_the_merged_model(data, models, tmp_path):  # noqa: F811
    from peft import LoraConfig, get_peft_model

    base = ConCLIPModel.from_pretrained(models["one"])
    config = LoraConfig(r=4, target_modules=r"text_model.*fc1", init_lora_weights=False)
    adapted = get_peft_model(base, config)
    adapted.peft_config["default"].base_model_name_or_path = str(models["one"])
    adapted.save_pretrained(tmp_path / "adapter")
    merged = tmp_path / "merged"
    save_tiny(merged)
    adapted.merge_and_unload().save_pretrained(merged)
    evaluate_models([tmp_path / "adapter", merged], ["sugarcrepe"], data, tmp_path / "out")
    found = [report_of(tmp_path / "out", label=label) for label in ("adapter", "merged")]
    assert found[0] == found[1]
    evaluate_models([models["one"]], ["sugarcrepe"], data, tmp_path / "plain")
    assert report_of(tmp_path / "plain") != found[0]


def test_the_warning_of_quick_gelu_and_the_card(data, tmp_path, capsys):  # noqa: F811
    folder = tmp_path / "openai" / "clip-vit-base-patch32"
    save_tiny(folder, text={"hidden_act": "gelu"}, vision={"hidden_act": "gelu"})
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\n# A model\n")
    evaluate_models([folder], ["sugarcrepe"], data, tmp_path / "out", model_card=card)
    printed = capsys.readouterr().out
    assert re.search(r"Warning: .*QuickGELU.*set hidden_act", printed)
    description = json.loads((tmp_path / "out" / "benchmarks.json").read_text())["models"]["clip-vit-base-patch32"]
    assert "QuickGELU" in description["warning"] and description["hidden_act"] == {"text": "gelu", "vision": "gelu"}
    assert "name: SugarCrepe" in card.read_text() and "| **SugarCrepe, test** |" in card.read_text()
