"""The report of a run: table and verdict, from results written by hand."""

import pytest
from training_results import AFTER, BEFORE, RESULTS, metric

from conclip.training.report import format_table, results_markdown, table_rows, verdict
from conclip.training.statement_evaluator import KEPT


def test_table_says_count_chance_before_after_change_and_ties():
    lines = format_table(table_rows(BEFORE, AFTER), "title").splitlines()
    assert lines[1].split() == ["%", "count", "chance", "before", "after", "change", "ties"]
    assert lines[2].split() == ["pairs", "100", "50.00", "50.0", "90.0", "+40.0", "0"]
    assert lines[3].split() == ["object", "40", "50.00", "25.0", "75.0", "+50.0", "2"]
    assert lines[4].split() == ["recall", "100", "50.00", "30.0", "10.0", "-20.0", "0"]


def test_query_arithmetic_is_a_column_of_all_that_it_scores():
    arithmetic = {"pairs": metric(0.8, categories={"object": {"accuracy": 0.7, "count": 40, "ties": 0}})}
    lines = format_table(table_rows(BEFORE, AFTER, arithmetic), "title").splitlines()
    assert lines[1].endswith("ties  query arithmetic")
    assert [line.split()[-1] for line in lines[2:]] == ["80.0", "70.0", "–"]
    results = {
        **RESULTS,
        "query_arithmetic": arithmetic,
        "not_scored": ["No true negation accuracy: none.", "No more."],
    }
    text = results_markdown(results)
    assert (
        "| pairs | 100 | 50.00 | 50.0 | 90.0 | 80.0 |" in text and "| recall | 100 | 50.00 | 30.0 | 10.0 | – |" in text
    )
    assert "\n\nNo true negation accuracy: none. No more.\n\n" in text


def test_the_card_explains_each_metric_that_has_a_meaning_to_explain():
    names = ["negation pair accuracy", "first image true, captions", "first image true, true negations", "recall"]
    scores = {name: metric(0.5) for name in names}
    text = results_markdown({**RESULTS, "before": scores, "after": scores})
    explained = [line for line in text.splitlines() if line.startswith("- ")]
    assert explained == [
        "- *negation pair accuracy*: how often an image scores higher with its caption than with a negated caption "
        "that is false of it",
        "- *first image true*: how often a text is true of the first image found for it",
    ]
    # Another paragraph before the list, or Markdown joins it to the table.
    assert f"\n\n{explained[0]}\n{explained[1]}\n\n" in text


def test_verdict_names_each_fall_and_doubts_small_ones():
    assert (
        verdict(table_rows(BEFORE, AFTER), "the conclip loss")
        == "Lower after training with the conclip loss: recall by 20.0 points."
    )
    slight = {"pairs": metric(0.5), "recall": metric(0.29)}
    words = verdict(table_rows({"pairs": metric(0.5), "recall": metric(0.3)}, slight), "the clip loss")
    assert words == "Lower after training with the clip loss: recall by 1.0 points, within two standard errors."
    # The formula of the error is that of a share; a mean cosine is none.
    words = verdict(table_rows({KEPT: metric(1.0)}, {KEPT: metric(0.99)}), "the clip loss")
    assert words == f"Lower after training with the clip loss: {KEPT} by 1.0 points."
    assert verdict(table_rows(BEFORE, BEFORE), "the clip loss") == "No score fell with the clip loss."


@pytest.mark.parametrize(
    ("after", "points"), [(0.2996, "less than 0.1"), (0.2995001, "less than 0.1"), (0.2994, "0.1")]
)
def test_verdict_on_a_fall_of_hardly_anything(after, points):
    rows = table_rows({"recall": metric(0.3, count=10**9)}, {"recall": metric(after, count=10**9)})
    assert verdict(rows, "the clip loss") == f"Lower after training with the clip loss: recall by {points} points."
