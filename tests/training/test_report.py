"""The report of a run: table, verdict and model card, from results written by hand."""

import json
from pathlib import Path

import pytest
import yaml
from training_results import AFTER, BEFORE, RESULTS, metric

from conclip.training.report import (
    RESULTS_END,
    RESULTS_START,
    TEMPLATE,
    fill_card,
    format_table,
    refill_card,
    table_rows,
    verdict,
)

ROOT = Path(__file__).parents[2]


def test_table_says_count_chance_before_after_change_and_ties():
    lines = format_table(table_rows(BEFORE, AFTER), "title").splitlines()
    assert lines[1].split() == ["%", "count", "chance", "before", "after", "change", "ties"]
    assert lines[2].split() == ["pairs", "100", "50.00", "50.0", "90.0", "+40.0", "0"]
    assert lines[3].split() == ["object", "40", "50.00", "25.0", "75.0", "+50.0", "2"]
    assert lines[4].split() == ["recall", "100", "50.00", "30.0", "10.0", "-20.0", "0"]


def test_verdict_names_each_fall_and_doubts_small_ones():
    assert (
        verdict(table_rows(BEFORE, AFTER), "conclip")
        == "Lower after training with the conclip loss: recall by 20.0 points."
    )
    slight = {"pairs": metric(0.5), "recall": metric(0.29)}
    words = verdict(table_rows({"pairs": metric(0.5), "recall": metric(0.3)}, slight), "clip")
    assert words == "Lower after training with the clip loss: recall by 1.0 points, within two standard errors."
    assert verdict(table_rows(BEFORE, BEFORE), "clip") == "No score fell with the clip loss."


@pytest.mark.parametrize("card", [TEMPLATE, ROOT / "model_card.md"], ids=["template", "model_card.md"])
def test_card_is_filled_again_and_again_and_carries_the_hubs_metadata(card):
    text = card.read_text("utf-8")
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


def test_card_is_filled_from_a_runs_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/results.json").write_text(json.dumps(RESULTS))
    (tmp_path / "card.md").write_text((ROOT / "model_card.md").read_text("utf-8"))
    refill_card(tmp_path / "run", tmp_path / "card.md")
    assert "name: run" in (tmp_path / "card.md").read_text("utf-8")


def test_the_projects_card_is_the_template_filled_with_the_default_run():
    def without_section(text: str) -> str:
        before, _, rest = text.partition(RESULTS_START)
        return before + rest.partition(RESULTS_END)[2]

    card = (ROOT / "model_card.md").read_text("utf-8")
    filled = fill_card(TEMPLATE.read_text("utf-8"), RESULTS, "conclip-scenes")
    (_, metadata, text), (_, filled_metadata, filled_text) = (part.split("---\n", 2) for part in (card, filled))
    assert without_section(text) == without_section(filled_text)
    metadata, filled_metadata = yaml.safe_load(metadata), yaml.safe_load(filled_metadata)
    assert metadata.pop("model-index")[0]["name"] == filled_metadata.pop("model-index")[0]["name"] == "conclip-scenes"
    assert metadata == filled_metadata
