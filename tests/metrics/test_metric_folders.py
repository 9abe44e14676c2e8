"""Every folder of evaluate/ is complete, uploads alone, loads offline by its path and shows examples that are true."""

import doctest
import importlib
import inspect
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import evaluate
import pytest
from metric_columns import METRICS, random_columns

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "evaluate").glob("*/*.py") if path.stem == path.parent.name)
EXAMPLES = {"card": 7, "class": 3, "function": 2}

SCRIPT = """
import doctest, json, os, pathlib, re, socket, sys

def no_network(*args, **kwargs):
    raise AssertionError("the metric asked for the network")

socket.socket.connect = socket.getaddrinfo = no_network
import evaluate

outcome, root = {}, pathlib.Path.cwd()
for name, columns in json.load(sys.stdin).items():
    os.chdir(root)
    metric = evaluate.load(f"./evaluate/{name}")
    function = getattr(sys.modules[type(metric).__module__], name)
    outcome[name] = {"result": metric.compute(**columns), "examples": {}, "from": function.__module__}
    card = pathlib.Path(f"evaluate/{name}/README.md").read_text(encoding="utf-8")
    card = "\\n".join(re.findall("```python\\n(.*?)```", card, flags=re.DOTALL))
    for kind, text in {"card": card, "class": type(metric).__doc__, "function": function.__doc__}.items():
        # The example of the class is for someone in that folder.
        os.chdir(root / "evaluate" if kind == "class" else root)
        example = doctest.DocTestParser().get_doctest(text, {name: function}, f"{name}, {kind}", None, 0)
        tried = doctest.DocTestRunner().run(example, out=sys.stderr.write)
        outcome[name]["examples"][kind] = [tried.attempted, tried.failed]
print("OUTCOME", json.dumps(outcome))
"""


def plain_columns(name) -> dict:
    columns = random_columns(name, 30)
    return {key: value if isinstance(value, list) else value.tolist() for key, value in columns.items()}


def test_loads_by_path_offline_and_documented_examples_print_what_they_say(tmp_path):
    """One process for all of it, because importing `evaluate` takes seconds."""
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    for name in ("HF_MODULES_CACHE", "HF_METRICS_CACHE", "HF_EVALUATE_CACHE", "PYTHONPATH"):
        env.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=env,
        input=json.dumps({name: plain_columns(name) for name in METRICS}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.split("OUTCOME ")[1])
    assert set(outcome) == set(METRICS)
    for name, (_, function) in METRICS.items():
        assert outcome[name]["from"].startswith("evaluate_modules.")  # the copy that the library made
        assert outcome[name]["result"] == function(**plain_columns(name))
        for kind, least in EXAMPLES.items():
            tried, wrong = outcome[name]["examples"][kind]
            assert tried >= least, f"the examples of the {kind} of {name} were not found"
            assert wrong == 0, done.stderr


@pytest.mark.parametrize("name", METRICS)
def test_passes_the_checks_of_the_library_on_its_own_metrics(name, tmp_path, monkeypatch):
    """
    What `LocalModuleTest.test_load` in tests/test_metric_common.py of https://github.com/huggingface/evaluate asks of
    each folder in `metrics/`.
    """
    (tmp_path / "metrics").symlink_to(ROOT / "evaluate")
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(
        evaluate.loading.evaluation_module_factory(f"metrics/{name}", module_type="metric").module_path
    )
    metric = evaluate.loading.import_main_class(module.__name__)
    parameters = inspect.signature(metric._compute).parameters.values()
    assert all(parameter.kind != parameter.VAR_KEYWORD for parameter in parameters)
    load = evaluate.load
    monkeypatch.setattr(evaluate, "load", lambda path, *args, **options: load(f"metrics/{path}", *args, **options))
    monkeypatch.setattr(doctest, "ELLIPSIS_MARKER", "[...]")
    result = doctest.testmod(module, raise_on_error=True)
    assert result.failed == 0 and result.attempted > 1


def test_every_metric_is_tested():
    assert [folder.name for folder in FOLDERS] == sorted(METRICS)


@pytest.mark.parametrize("file", ["checks.py", "app.py"])
def test_shared_files_are_the_same_in_every_folder(file):
    """A folder uploads alone, so that each has a copy; a change goes into all of them."""
    copies = {folder.name: (folder / file).read_bytes() for folder in FOLDERS}
    first = copies["pair_accuracy"]
    assert [name for name, copy in copies.items() if copy != first] == []


@pytest.mark.parametrize("name", METRICS)
def test_the_space_computes_the_first_example_of_the_card(name, tmp_path):
    """In a folder of another name than the metric's, as a Space has it."""
    shutil.copytree(ROOT / "evaluate" / name, tmp_path / "app")
    app = runpy.run_path(str(tmp_path / "app" / "app.py"))
    columns = app["example"]()
    assert app["NAME"] == name and set(columns) & set(random_columns(name, 3))
    assert app["compute"](json.dumps(columns)) == METRICS[name][1](**columns)
    assert "---" not in app["CARD"][:10]


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_the_page_of_the_space_answers(name, tmp_path, monkeypatch):
    """Needs the extra `demo`."""
    from gradio_client import Client

    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    shutil.copytree(ROOT / "evaluate" / name, tmp_path / "app")
    app = runpy.run_path(str(tmp_path / "app" / "app.py"))
    page = app["interface"]()
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True)
    try:
        columns = app["example"]()
        found = Client(address, verbose=False).predict(json.dumps(columns), api_name="/compute")
    finally:
        page.close()
    assert found == METRICS[name][1](**columns)


def test_the_space_says_what_is_wrong():
    compute = runpy.run_path(str(ROOT / "evaluate" / "pair_accuracy" / "app.py"))["compute"]
    assert "Expecting value" in compute("")["error"]
    assert compute("[1]")["error"].startswith("the columns must be a JSON object")
    assert compute('{"true_scores": [1], "false_scores": [0, 1]}')["error"].startswith("Every pair needs one value")
    assert "unexpected keyword" in compute('{"true_scores": [1], "false_scores": [0], "other": 1}')["error"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_folder_holds_what_a_metric_needs(folder):
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "README.md",
        "app.py",
        "checks.py",
        "requirements.txt",
        f"{folder.name}.py",
    }
    requirements = {
        re.match(r"\w+", line).group() for line in (folder / "requirements.txt").read_text().splitlines() if line
    }
    imported = re.findall(r"^import (\w+)", (folder / f"{folder.name}.py").read_text(encoding="utf-8"), re.MULTILINE)
    imported += re.findall(r"^import (\w+)", (folder / "checks.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert requirements == set(imported) - sys.stdlib_module_names


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_card_is_that_of_a_metric(folder):
    _, front_matter, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert "- evaluate\n- metric\n" in front_matter
    assert "license: mit\n" in front_matter
    assert "sdk: gradio\n" in front_matter and "app_file: app.py\n" in front_matter
    title = re.search("^title: (.+)$", front_matter, re.MULTILINE).group(1)
    assert body.lstrip().startswith(f"# Metric Card for {title}\n")
    headings = re.findall("^##+ (.+)$", body, re.MULTILINE)
    assert headings == [
        "Metric Description",
        "How to Use",
        "Inputs",
        "Output Values",
        "Limitations and Bias",
        "Citation",
    ]
    assert "**Ties.**" in body and "**Chance level.**" in body


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_card_names_every_input_and_output(folder):
    """The card, the description in the module and what the metric takes and gives must not drift apart."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    columns = random_columns(folder.name, 20)
    result = METRICS[folder.name][1](**columns, return_items=True)
    named = {name for line in re.findall(r"^- (\*\*.+?) \(", card, re.MULTILINE) for name in re.findall(r"\w+", line)}
    keys = {re.sub(r"_at_\d+", "_at_k", key) for key in result} | set(columns) | {"return_items"}
    assert keys <= named


def test_wheel_takes_cards_and_requirements(monkeypatch):
    keywords = {}
    monkeypatch.setattr("setuptools.setup", lambda **given: keywords.update(given))
    runpy.run_path(str(ROOT / "setup.py"))
    for name in METRICS:
        assert keywords["package_data"][f"conclip.metrics.{name}"] == ["requirements.txt"]
        # Cards of all packages.
        assert "*.md" in keywords["package_data"][""]
        assert keywords["package_dir"][f"conclip.metrics.{name}"] == f"evaluate/{name}"
