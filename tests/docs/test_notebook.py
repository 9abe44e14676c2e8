"""The notebook docs/conclip.ipynb: its command has known options, and all its cells run."""

import json
import re
import shlex

import pytest
from stand_ins import ROOT

from conclip.training.arguments import parse_arguments

NOTEBOOK = ROOT / "docs" / "conclip.ipynb"


def test_it_is_short_and_has_no_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert len(cells) == 15
    assert not any(cell.get("outputs") for cell in cells)


def test_the_command_has_known_options():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells)
    (command,) = re.findall(r"^!conclip train (.*)$", source, re.MULTILINE)
    parse_arguments(shlex.split(command))


@pytest.mark.slow
def test_all_cells_run(tmp_path, monkeypatch):
    """As on Colab, from the data to the scores; trains the base and a model, which takes minutes."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # `%pip install` has no package to find: the environment has this one.
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = {
        number: "".join(output.get("text", "") for output in cell.get("outputs", []))
        for number, cell in enumerate(notebook.cells)
    }
    pairs = re.search(r"negation pair accuracy +([\d.]+)% -> +([\d.]+)%", printed[7])
    assert float(pairs[1]) < 60 and float(pairs[2]) > 80, printed[7]
    assert printed[9].count("the first images of") == 2
    assert "no" in printed[11] and printed[11].count("|") == 6
    scored = re.search(r"pair accuracy \* +2,000 +50\.00 +([\d.]+)", printed[13])
    assert float(scored[1]) == pytest.approx(float(pairs[2]), abs=0.06)
