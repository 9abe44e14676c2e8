"""docs/clients.md says what its script found, with the snippets as they are on the page."""

import json
from importlib.metadata import PackageNotFoundError, version

import clients_page
import pytest
from clients_page import CLIENTS, PAGE, difference, mark, outcome, snippets, table
from tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def found():
    return json.loads(clients_page.FOUND.read_text(encoding="utf-8"))


def test_the_table_is_what_the_script_writes(text, found):
    assert text == clients_page.page(text, found)


def test_the_snippets_are_those_that_were_tried(text, found):
    codes = snippets(text)
    assert [row["client"] for row in found["rows"]] == [client.name for client in CLIENTS]
    assert {client.section for client in CLIENTS} == codes.keys()
    for row, client in zip(found["rows"], CLIENTS, strict=True):
        assert row["snippet"] == mark(codes[client.section]), f"repeat it: --only {client.name!r}"
        assert row["error"] or set(row["versions"]) == set(client.shown)


def test_a_cell_says_what_was_found():
    row = {"client": "a", "versions": {"x": "1.0", "y": "2"}, "tried": "loading", "difference": 2e-7, "error": None}
    assert table({"rows": [row]}).splitlines()[2] == "| a | x 1.0, y 2 | loading | ok, differs by 2e-07 |"
    assert outcome(row | {"difference": 0.0}) == "ok, equal"
    assert outcome(row | {"difference": None}) == "ok"
    assert outcome(row | {"error": "KeyError: <x>"}) == "KeyError: &lt;x>"


def test_differences_are_those_of_the_worst_number():
    expected = {"a": [1.0, [2.0, 3.0]], "b": "word"}
    assert difference(expected, expected) == 0
    assert difference({"a": [1.0, [2.5, 3.25]], "b": "word"}, expected) == 0.5
    for other in ({"a": [1.0, [2.0]], "b": "word"}, {"a": [1.0, [2.0, 3.0]]}, expected | {"b": "other"}, 1.0):
        assert difference(other, expected) == float("inf")


def is_installed(client) -> bool:
    try:
        return not any("==" in package for package in client.packages) and all(map(version, client.shown))
    except PackageNotFoundError:
        return False


@pytest.mark.slow
def test_snippets_of_installed_clients_run(text, tmp_path, monkeypatch):
    """Those of the script's clients that are in this environment, at least transformers' and onnxruntime."""
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "work").mkdir()
    expected = clients_page.write_workspace(tmp_path / "work", str(tmp_path / "tokenizer"))
    monkeypatch.chdir(tmp_path / "work")
    installed = [client for client in CLIENTS if is_installed(client)]
    assert {"transformers", "Trainer", "AutoPeftModel", "onnxruntime", "evaluate"} <= {one.name for one in installed}
    for client in installed:
        namespace = {"__name__": client.name}
        exec(compile(snippets(text)[client.section], client.name, "exec"), namespace)
        if client.expected:
            value = namespace[client.result]
            value = value.detach() if hasattr(value, "detach") else value
            value = value.tolist() if hasattr(value, "tolist") else value
            assert difference(value, expected[client.expected]) <= clients_page.LARGEST_DIFFERENCE, client.name
