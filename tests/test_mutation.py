"""The list of mutants that change nothing is about the code as it is."""

import sys
import types
from pathlib import Path

import mutation
import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_each_equivalent_mutant_is_of_a_line_that_exists():
    equivalents = mutation.known_equivalents()
    assert equivalents and all(len(reason) > 10 for reason in equivalents.values())
    for module, line, changed in equivalents:
        assert module in mutation.TESTS and line != changed
        assert line in " ".join((ROOT / module).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("module", mutation.TESTS)
def test_each_module_and_its_tests_exist(module):
    assert (ROOT / module).is_file() and all((ROOT / path).is_file() for path in mutation.TESTS[module])


def test_annotations_are_no_difference():
    code = "def f(x: int | None = 1) -> int:\n    y: str = x\n    return y\n"
    same, other = "def f(x=1):\n    y: int = x\n    return y\n", code.replace("= 1", "= 2")
    assert mutation.without_annotations(code) == mutation.without_annotations(same)
    assert mutation.without_annotations(code) != mutation.without_annotations(other)


CODE = """
LIMIT = 2**22

@decorated
def f(x, by=1,
      to=2):
    total = (x
             + by)
    for row in range(
        to
    ):
        total += row
    def inner():
        return total + 7
    return inner

class A:
    size = 3
    def g(self):
        if self.size:
            return 4
        return 5
"""


@pytest.mark.parametrize(
    "before, after, lines",
    [
        ("22", "21", set()),
        ("@decorated", "", set()),
        ("to=2", "to=3", set()),
        ("+ by", "- by", {7, 8}),
        ("        to\n", "        [ ]\n", {9, 10, 11}),
        ("+= row", "-= row", {12}),
        ("+ 7", "- 7", {14}),
        ("return inner", "return None", {15}),
        ("size = 3", "size = 4", set()),
        ("g(self)", "g(this)", set()),
        ("inner()", "inner(by=2)", {13}),
        ("if self", "if not self", {20}),
        ("return 4", "return 3", {21}),
    ],
)
def test_who_could_notice_a_change_runs_its_statement(before, after, lines):
    assert CODE.count(before) == 1
    assert mutation.lines_to_run(CODE, CODE.replace(before, after)) == lines


def test_tests_that_could_notice_a_change(monkeypatch):
    runs = [
        {"test": "runs it", "lines": [7, 8], "starts": False},
        {"test": "runs another line", "lines": [12], "starts": False},
        {"test": "starts a process", "lines": [], "starts": True},
    ]
    monkeypatch.setattr(mutation, "runs", lambda: runs)
    inside, outside = CODE.replace("+ by", "- by"), CODE.replace("22", "21")
    assert mutation.tests_to_run(CODE, inside) == ["runs it"]
    assert mutation.tests_to_run(CODE, inside, anew=True) == ["starts a process"]
    assert mutation.tests_to_run(CODE, outside) == mutation.tests_to_run(CODE, outside, anew=True)
    assert mutation.tests_to_run(CODE, outside) == [run["test"] for run in runs]


def test_a_change_is_its_lines():
    assert mutation.change("a = 1\nb  =  2\nc = 3\n", "a = 1\nb = -2\nc = 3\n") == ("b = 2", "b = -2")


def test_changed_code_reaches_whoever_has_imported_the_function(monkeypatch):
    code = "LIMIT = 1\ndef f(x, by=1):\n    return x + by + LIMIT\nclass A:\n    def g(self):\n        return f(1)\n"
    module = types.ModuleType("conclip.changed")
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, "conclip.changed", module)
    imported, made = module.f, module.A()
    mutation.put_in_place("conclip/changed.py", code.replace("x + by", "x - by").replace("by=1", "by=2"))
    assert imported(5) == 5 - 2 + 1 and made.g() == 1 - 2 + 1
    mutation.put_in_place("conclip/changed.py", code.replace("LIMIT = 1", "LIMIT = 7").replace("f(1)", "f(3)"))
    assert imported(5) == 5 + 1 + 7 and made.g() == 3 + 1 + 7
