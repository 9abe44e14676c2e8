"""The table of benchmarks, read back from what is printed; and the file of results."""

import json
import re
from dataclasses import replace

import pytest
from benchmark_rows import LABELS, ROWS, report, row

from conclip.evaluation import results
from conclip.evaluation.results import read_report
from conclip.evaluation.run import write_report
from conclip.evaluation.table import format_table, markdown_table, model_labels


def parsed(table):
    """name of a row (below its benchmark) -> columns in order as (header, cell), found by where a cell ends."""
    header, *lines = table.partition("\n\n")[0].splitlines()
    ends = {match.end(): match.group() for match in re.finditer(r"\S+( \S+)*", header)}
    rows, benchmark = {}, None
    for text in lines:
        name, *cells = re.finditer(r"\S+( \S+)*", text)
        if not text.startswith(" "):
            assert not cells
            benchmark = name.group()
        else:
            rows[benchmark, name.group()] = [(ends[cell.end()], cell.group()) for cell in cells]
    return rows


@pytest.fixture(scope="module")
def rows():
    return parsed(format_table(ROWS, LABELS))


def test_a_row_says_count_chance_values_differences_and_ties(rows):
    assert rows["Pairs, val", "pair accuracy *"] == [
        ("count", "2,000"),
        ("skipped", "0"),
        ("chance", "50.00"),
        ("base", "50.00"),
        ("tuned", "91.23"),
        ("+/-", "+41.23"),
        ("cross", "50.00"),
        ("+/-", "+0.00"),
        ("ties", "0/3/1,200"),
    ]
    cells = [cell for _, cell in rows["Pairs, val", "add_obj"]]
    assert cells == ["692", "0", "50.00", "25.00", "12.34", "-12.66", "100.00", "+75.00", "0"]
    assert [cell for _, cell in rows["Pairs, val", "macro"]][2] == "-"


def test_the_table_holds_every_value_of_every_row(rows):
    names = ["pair accuracy *", "add_obj", "macro", "TOT *", *(f"recall@5, {p} *" for p in ("plain", "negated"))]
    names += ["recall@1, plain", "recall@1, negated"]
    for of_line, name in zip(ROWS, names, strict=True):
        cells = rows[f"{of_line.title}, val", name]
        shown = {header: cell for header, cell in cells if header != "+/-"}
        assert int(shown["count"].replace(",", "")) == of_line.count
        assert int(shown["skipped"].replace(",", "")) == of_line.skipped
        for label, value in of_line.values.items():
            assert (shown[label] == "-") if value is None else abs(float(shown[label]) - 100 * value) < 0.0051
        changes = [cell for header, cell in cells if header == "+/-"]
        for label, change in zip(LABELS[1:], changes, strict=True):
            first, value = of_line.values["base"], of_line.values[label]
            assert (change == "-") if value is None else abs(float(change) - 100 * (value - first)) < 0.0051


def test_the_difference_of_a_condition_follows_its_scores(rows):
    cells = [("base", "-10.00"), ("tuned", "+5.00"), ("+/-", "+15.00"), ("cross", "-"), ("+/-", "-")]
    assert rows["Search, val", "recall@5, negated - plain"] == cells
    cells = [("base", "-10.00"), ("tuned", "+0.00"), ("+/-", "+10.00"), ("cross", "+1.00"), ("+/-", "+11.00")]
    assert rows["Search, val", "recall@1, negated - plain"] == cells
    assert [name for _, name in rows][-3:] == ["recall@1, plain", "recall@1, negated", "recall@1, negated - plain"]
    assert not any("-" in name for title, name in rows if title != "Search, val")


def test_columns_without_content_are_omitted():
    table = format_table([row("pairs", "pair accuracy")], LABELS[:1])
    assert table.splitlines()[0].split() == ["%", "count", "chance", "base"]
    assert "Ties count as errors; there are none." in table and "+/-" not in table and "Skipped" not in table
    table = format_table(ROWS, LABELS)
    assert "difference to base in percentage points" in table and "last column" in table and "Skipped" in table


def test_a_small_decrease_is_not_printed_as_minus_zero():
    table = format_table([row("pairs", "pair accuracy", values=(0.5, 0.49999))], LABELS[:2])
    assert "-0.00" not in table and "+0.00" in table


def test_markdown_has_the_same_cells(rows):
    table = markdown_table(ROWS, LABELS).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    assert {len(row) for row in cells} == {10} and set("".join(cells[1])) == {"-", ":"}
    assert cells[0] == ["benchmark, %", "count", "skipped", "chance", "base", "tuned", "+/-", "cross", "+/-", "ties"]
    shown = [row for row in cells[2:] if any(row[1:])]
    assert [[cell for cell in row[1:] if cell] for row in shown] == [
        [cell for _, cell in row] for row in rows.values()
    ]
    assert shown[0][0] == "&nbsp;&nbsp;**pair accuracy**" and shown[1][0] == "&nbsp;&nbsp;&nbsp;&nbsp;add_obj"
    assert markdown_table([row("a|b", "accuracy")], LABELS).splitlines()[2].startswith("| **A\\|B, val** |")


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["openai/clip", "outputs/conclip/"], ["clip", "conclip"]),
        (["a/clip", "b/clip", "b/other"], ["a/clip", "b/clip", "other"]),
        (["x/run/last", "y/run/last", "last"], ["x/run/last", "y/run/last", "last"]),
        (["clip", "clip", "clip"], ["clip", "clip (2)", "clip (3)"]),
        (["clip (2)", "x/clip", "x/clip"], ["clip (2)", "clip", "clip (3)"]),
        (["/m/clip", "m/clip"], ["/m/clip", "m/clip"]),
        ([".", ".."], [".", ".."]),
    ],
)
def test_labels_are_short_and_distinct(names, labels):
    assert model_labels(names) == labels and len(set(labels)) == len(names)


def test_results_are_read_back_as_they_were(tmp_path):
    written = report(ROWS)
    write_report(written, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["benchmarks.json", "benchmarks.png"]
    assert read_report(tmp_path / "new/benchmarks.json") == written
    stored = json.loads((tmp_path / "new/benchmarks.json").read_text("utf-8"))
    assert stored["seed"] == 7 and stored["models"]["tuned"]["hidden_act"] == "quick_gelu"
    assert stored["rows"][3]["values"] == {"base": 0.4, "tuned": 0.3, "cross": None}
    assert stored["rows"][0]["ties"]["cross"] == 1200 and stored["rows"][3]["skipped"] == 1234


def test_a_value_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError):
        write_report(report([row("pairs", "pair accuracy", values=(0.5, float("nan"), 0.5))]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_figure_that_fails_leaves_the_scores(tmp_path, monkeypatch):
    def fail(report, path):
        raise MemoryError

    monkeypatch.setattr("conclip.evaluation.plots.plot_benchmarks", fail)
    with pytest.raises(MemoryError):
        write_report(report(ROWS), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [results.RESULTS_FILE]


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), ("{", "holds no results"), ("[]", "holds no results"), ('{"rows": [{}]}', "no results")],
)
def test_a_file_without_results_is_refused(tmp_path, content, why):
    path = tmp_path / "benchmarks.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=why) as caught:
        read_report(path)
    assert str(path) in str(caught.value) and "conclip evaluate" in str(caught.value)


def test_a_report_needs_a_headline_and_the_values_of_its_models():
    with pytest.raises(ValueError, match="headline"):
        report([replace(ROWS[0], headline=False)])
    with pytest.raises(ValueError, match="Pairs, pair accuracy has values of .*but the models are"):
        report([ROWS[0]], num_models=2)
