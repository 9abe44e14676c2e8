"""What a run leaves to read, from numbers written by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from training_results import AFTER, BEFORE, RESULTS, metric

from conclip.training.report import RESULTS_START, fill_card, format_table, table_rows, verdict

ROOT = Path(__file__).parents[2]


def test_table_says_count_chance_before_after_change_and_ties():
    lines = format_table(table_rows(BEFORE, AFTER), "title").splitlines()
    assert lines[1].split() == ["%", "count", "chance", "before", "after", "change", "ties"]
    assert lines[2].split() == ["pairs", "100", "50.00", "50.0", "90.0", "+40.0", "0"]
    assert lines[3].split() == ["object", "40", "50.00", "25.0", "75.0", "+50.0", "2"]
    assert lines[4].split() == ["recall", "100", "50.00", "30.0", "10.0", "-20.0", "0"]


def test_verdict_names_each_fall_and_doubts_small_ones():
    assert verdict(table_rows(BEFORE, AFTER), "conclip") == "Lower after the conclip loss: recall by 20.0 points."
    slight = {"pairs": metric(0.5), "recall": metric(0.29)}
    said = verdict(table_rows({"pairs": metric(0.5), "recall": metric(0.3)}, slight), "clip")
    assert said == "Lower after the clip loss: recall by 1.0 points, within two standard errors."
    assert verdict(table_rows(BEFORE, BEFORE), "clip") == "Nothing measured here got worse under the clip loss."


@pytest.mark.parametrize("template", ["model_card.md"])
def test_card_is_filled_again_and_again_and_carries_the_hubs_metadata(template):
    text = (ROOT / template).read_text("utf-8")
    once = fill_card(text, RESULTS, "my-model")
    assert fill_card(once, RESULTS, "my-model") == once
    assert "| pairs | 100 | 50.00 | 50.0 | 90.0 |" in once and "Not measured yet" not in once
    metadata = yaml.safe_load(once.split("---")[1])
    [entry] = metadata["model-index"]
    values = {item["name"]: item["value"] for result in entry["results"] for item in result["metrics"]}
    assert entry["name"] == "my-model" and values == {"pairs": 0.9, "recall": 0.1}
    assert metadata["pipeline_tag"] == "zero-shot-image-classification"


def test_card_without_a_place_for_results_is_refused():
    with pytest.raises(ValueError, match=RESULTS_START):
        fill_card("---\nlicense: mit\n---\n# No place\n", RESULTS, "my-model")


def test_card_is_filled_from_the_command_line(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/results.json").write_text(json.dumps(RESULTS))
    (tmp_path / "card.md").write_text((ROOT / "model_card.md").read_text("utf-8"))
    command = [sys.executable, "-m", "conclip.training.report", "run/results.json", "card.md"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=True)
    assert "name: run" in (tmp_path / "card.md").read_text("utf-8")
