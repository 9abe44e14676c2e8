"""The files around the code: the site of the documents, the citation, and the workflow."""

import re
import runpy
from pathlib import Path
from unittest import mock

import yaml

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_every_page_is_in_the_menu_of_the_site():
    menu = read("mkdocs.yml")["nav"]
    assert sorted(menu) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_no_page_links_to_a_file_outside_the_site():
    for page in (ROOT / "docs").glob("*.md"):
        assert not re.findall(r"\]\((?:\.\./|/)[^)]*\)", page.read_text(encoding="utf-8")), page.name


def test_the_citation_is_of_this_version_and_names_both_papers():
    citation = read("CITATION.cff")
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    assert citation["version"] == setup.call_args.kwargs["version"]
    assert citation["license"] == setup.call_args.kwargs["license"]
    assert {"cff-version", "message", "title", "authors", "type"} <= citation.keys()
    conclip, negclip = citation["references"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (authors,) = re.findall(r"author  = \{(.*)\},", readme)
    assert authors.split(" and ") == [f"{a['family-names']}, {a['given-names']}" for a in conclip["authors"]]
    assert conclip["title"] in readme and "2210.01936" in negclip["url"]


def test_the_workflow_runs_the_same_script_as_here():
    job = read(".github/workflows/ci.yml")["jobs"]["check"]
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    assert (ROOT / ".ci/run").is_file()
