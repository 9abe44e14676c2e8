"""Results of benchmarks in a model card, as the Hub's own library reads them; beside those of training."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from benchmark_rows import ROWS, report, row
from huggingface_hub import ModelCard
from training_results import RESULTS

from conclip.evaluation.card import fill_card_with_benchmarks
from conclip.evaluation.card_command import main
from conclip.model_cards import BENCHMARKS_END, BENCHMARKS_START
from conclip.training.card import model_card

ROOT = Path(__file__).parents[2]
CARD = """---
license: mit
tags:
- clip
model-index:
- name: mine
  results:
  - task:
      type: zero-shot-image-classification
    dataset:
      name: Toys
      type: toys
      config: small
      split: test
    metrics:
    - type: accuracy
      value: 0.9
      name: pair accuracy
  - task:
      type: zero-shot-image-classification
    dataset:
      name: Pairs
      type: pairs
      split: val
    metrics:
    - type: accuracy
      value: 0.1
      name: pair accuracy
    - type: f1
      value: 0.2
      name: pair accuracy
  - task:
      type: zero-shot-image-classification
    dataset:
      name: Pairs
      type: pairs
      split: test
    metrics:
    - type: accuracy
      value: 0.3
      name: pair accuracy
  - task:
      type: zero-shot-image-classification
    dataset:
      name: Pairs
      type: pairs
      config: hard
      split: val
    metrics:
    - type: accuracy
      value: 0.4
      name: pair accuracy
---
# Mine

Words.
"""
FULL = report(ROWS)


def entries(card):
    """(dataset, its configuration if any and split, type, name) -> value, by the library."""
    found = ModelCard(card).data.eval_results or []
    splits = [" ".join(filter(None, (entry.dataset_config, entry.dataset_split))) for entry in found]
    keys = [(e.dataset_type, split, e.metric_type, e.metric_name) for e, split in zip(found, splits, strict=True)]
    assert len(set(keys)) == len(keys)
    return {key: entry.metric_value for key, entry in zip(keys, found, strict=True)}


def test_entries_hold_the_headlines_and_leave_others_alone():
    filled = fill_card_with_benchmarks(CARD, FULL, "tuned")
    assert entries(filled) == {
        ("toys", "small test", "accuracy", "pair accuracy"): 0.9,
        ("pairs", "val", "accuracy", "pair accuracy"): 0.91234,
        ("pairs", "val", "f1", "pair accuracy"): 0.2,
        ("pairs", "test", "accuracy", "pair accuracy"): 0.3,
        ("pairs", "hard val", "accuracy", "pair accuracy"): 0.4,
        ("two true", "val", "accuracy", "TOT (2,000 of 3,234 items)"): 0.3,
        ("search", "val", "recall", "recall@5, plain"): 0.7,
        ("search", "val", "recall", "recall@5, negated"): 0.75,
    }
    data = yaml.safe_load(filled.split("---")[1])
    assert data["license"] == "mit" and data["tags"] == ["clip"] and data["model-index"][0]["name"] == "mine"
    assert data["model-index"][0]["results"][0]["dataset"]["config"] == "small"
    assert data["model-index"][0]["results"][1]["dataset"] == {"name": "Pairs", "type": "pairs", "split": "val"}


def test_what_is_not_defined_for_a_model_is_no_entry():
    found = entries(fill_card_with_benchmarks(CARD, FULL, "cross"))
    assert {name for dataset, _, _, name in found if dataset in ("two true", "search")} == set()
    assert found["pairs", "val", "accuracy", "pair accuracy"] == 0.5


def test_a_score_of_all_items_takes_the_place_of_one_of_some():
    some = fill_card_with_benchmarks(CARD, FULL, "tuned")
    whole = report([replace(ROWS[3], skipped=0, count=3234)])
    found = entries(fill_card_with_benchmarks(some, whole, "tuned"))
    assert found["two true", "val", "accuracy", "TOT"] == 0.3
    assert not any("items" in name for _, _, _, name in found)
    # Another benchmark's entries of the run before stay.
    assert found["search", "val", "recall", "recall@5, plain"] == 0.7


def test_the_section_is_made_once_and_replaced_after():
    once = fill_card_with_benchmarks(CARD, FULL, "tuned")
    assert fill_card_with_benchmarks(once, FULL, "tuned") == once
    assert once.count(BENCHMARKS_START) == once.count(BENCHMARKS_END) == once.count("## Benchmarks") == 1
    assert "Words." in once and "| 91.23 | +41.23 |" in once and "quick_gelu" in once and "Seed 7" in once
    assert "python evaluate/run_benchmarks.py --model_name_or_path base tuned" in once
    lines = [row("pairs", "pair accuracy", values=(0.1, 0.2, 0.3))]
    again = fill_card_with_benchmarks(f"{once}\n## After\n", report(lines), "tuned")
    assert "91.23" not in again and "| 20.00 | +10.00 |" in again and again.endswith("\n## After\n")


def test_a_card_without_metadata_gets_the_label_as_name():
    filled = fill_card_with_benchmarks("# Only words\n", FULL, "tuned")
    assert ModelCard(filled).data.model_name == "tuned" and len(entries(filled)) == 4


@pytest.mark.parametrize(
    ("card", "label", "why"),
    [
        (CARD, "other", "no model 'other', but 'base', 'tuned', 'cross'"),
        (f"{CARD}{BENCHMARKS_START}\n", "tuned", "no section between"),
        ("---\nlicense: [mit\n---\n", "tuned", "metadata.*damaged"),
        ("---\nmodel-index:\n- name: x\n---\n", "tuned", "metadata.*damaged"),
    ],
)
def test_a_wrong_label_or_a_damaged_card_is_refused(card, label, why):
    with pytest.raises(ValueError, match=why):
        fill_card_with_benchmarks(card, FULL, label)


def test_benchmarks_join_the_card_of_a_training_run():
    trained = model_card(RESULTS)
    both = fill_card_with_benchmarks(trained, FULL, "tuned")
    of_training = {("me/data", "test", "accuracy", "pairs"): 0.9, ("me/data", "test", "recall", "recall"): 0.1}
    assert entries(trained) == of_training
    assert {key: value for key, value in entries(both).items() if key in of_training} == of_training
    assert len(entries(both)) > 2 and "| 91.23 | +41.23 |" in both and "| pairs | 100 |" in both


def test_the_command_fills_a_card(tmp_path, capsys):
    (tmp_path / "results.json").write_text(json.dumps(FULL.to_dict()))
    (tmp_path / "card.md").write_text(CARD)
    arguments = ["--results_file", str(tmp_path / "results.json"), "--model_card", str(tmp_path / "card.md")]
    assert main(arguments) == 1
    assert capsys.readouterr().err == "Error: --model is required, one of base, tuned, cross.\n"
    assert (tmp_path / "card.md").read_text() == CARD
    command = [sys.executable, "-m", "conclip", "card", *arguments, "--model", "tuned"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=True)
    assert (tmp_path / "card.md").read_text("utf-8") == fill_card_with_benchmarks(CARD, FULL, "tuned")
    assert main([*arguments[:2], "--model_card", str(tmp_path / "absent.md"), "--model", "base"]) == 1
    assert "absent.md" in capsys.readouterr().err
