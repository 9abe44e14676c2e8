"""evaluate/run_benchmarks.py on small files in the real formats, against plain loops over the same files."""

import json

import numpy as np
import pytest
from benchmark_runs import evaluate_models, refusal, report_of, samples_of
from PIL import Image
from small_benchmarks import CATEGORIES, plain_scores

from modeling_conclip import ConCLIPModel


def test_sugarcrepe_equals_a_plain_loop_item_by_item(data, models, tmp_path):
    evaluate_models([models["one"]], ["sugarcrepe"], data, tmp_path, log_samples=True)
    model = ConCLIPModel.from_pretrained(models["one"]).eval()
    found, correct, ties = samples_of(tmp_path, "one", "sugarcrepe"), {}, 0
    for category in CATEGORIES:
        rows = json.loads((data / "sugarcrepe" / f"{category}.json").read_text())
        for key, row in rows.items():
            image = Image.open(data / "coco" / "val2017" / row["filename"])
            expected = plain_scores(model, image, [row["caption"], row["negative_caption"]])
            item = found.pop(0)
            assert (item["id"], item["category"]) == (f"{category}/{key}", category)
            assert item["scores"][0] == pytest.approx(expected, abs=1e-5)
            true, false = item["scores"][0]
            assert (true == false) == (key == "3")
            ties += key == "3"
            correct.setdefault(category, []).append(key != "3" and expected[0] > expected[1])
    assert not found
    values = report_of(tmp_path)
    assert values["sugarcrepe", "pair accuracy", ""] == np.mean([*correct.values()])
    assert values["sugarcrepe", "pair accuracy", "macro"] == np.mean([np.mean(own) for own in correct.values()])
    for category in CATEGORIES:
        assert values["sugarcrepe", "pair accuracy", category] == np.mean(correct[category])
    for group in ("add", "replace", "swap"):
        own = [value for name, values in correct.items() if name.startswith(group) for value in values]
        assert values["sugarcrepe", "pair accuracy", group] == pytest.approx(np.mean(own))
    line = report_of(tmp_path, whole_rows=True)["sugarcrepe", "pair accuracy", ""]
    assert (line["count"], line["chance"], line["ties"], line["skipped"]) == (70, 0.5, {"one": ties}, 0)


def test_two_models_side_by_side_and_the_second_run_embeds_nothing(data, models, tmp_path, capsys, monkeypatch):
    cache = tmp_path / "cache"
    evaluate_models([*models.values()], ["sugarcrepe"], data, tmp_path / "both", embedding_cache_dir=cache)
    table = capsys.readouterr().out
    assert "one" in table and "two" in table and "SugarCrepe" in table
    evaluate_models([models["two"]], ["sugarcrepe"], data, tmp_path / "alone")
    both = report_of(tmp_path / "both", label="two")
    assert both == report_of(tmp_path / "alone") and both != report_of(tmp_path / "both", label="one")
    assert (tmp_path / "both" / "benchmarks.png").stat().st_size > 10_000

    def fails(*_args, **_options):
        raise AssertionError("embedded again")

    monkeypatch.setattr(ConCLIPModel, "embed_images", fails)
    monkeypatch.setattr(ConCLIPModel, "embed_packed_texts", fails)
    evaluate_models([*models.values()], ["sugarcrepe"], data, tmp_path / "again", embedding_cache_dir=cache)
    assert report_of(tmp_path / "again", label="two") == both


def test_an_image_that_is_missing_is_an_error_or_counted(data, models, tmp_path, capsys):
    names = sorted((data / "coco" / "val2017").iterdir())
    part = tmp_path / "part"
    (part / "val2017").mkdir(parents=True)
    (part / "sugarcrepe").symlink_to(data / "sugarcrepe")
    for name in names[:5]:
        (part / "val2017" / name.name).symlink_to(name)
    message = refusal([models["one"]], ["sugarcrepe"], part, tmp_path / "no", capsys)
    for part_of_message in (f"there is no image {part / 'val2017'}", "--allow_missing_images", "val2017.zip"):
        assert part_of_message in message
    evaluate_models([models["one"]], ["sugarcrepe"], part, tmp_path / "yes", allow_missing_images=True)
    line = report_of(tmp_path / "yes", whole_rows=True)["sugarcrepe", "pair accuracy", ""]
    rows = [
        row for file in (data / "sugarcrepe").iterdir() for row in json.loads(file.read_text()).values()
    ]  # fmt: skip
    there = sum(row["filename"] in {name.name for name in names[:5]} for row in rows)
    assert 0 < there < 70 and (line["count"], line["skipped"]) == (there, 70 - there)
    for name in names[:5]:
        (part / "val2017" / name.name).unlink()
    message = refusal([models["one"]], ["sugarcrepe"], part, tmp_path / "none", capsys, allow_missing_images=True)
    assert "none of the 70 items has its images" in message
