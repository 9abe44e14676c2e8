"""The wheel and the source archive: what is in them, and that an installed package works outside the repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from runs import command, results, write_inputs

from conclip.__main__ import COMMANDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "outputs", "ccneg")


def run(*words, cwd: Path, **environment) -> subprocess.CompletedProcess:
    """Without the repository's code on the path."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    done = subprocess.run([*map(str, words)], cwd=cwd, env={**own, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    return done


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> dict[str, Path]:
    """ ".whl" and ".gz" -> path; the wheel is built from the source archive, so nothing is missing from that."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCE)
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", "source", cwd=folder)
    found = {path.suffix: path for path in (folder / "dist").iterdir()}
    assert sorted(found) == [".gz", ".whl"]
    return found


@pytest.fixture(scope="module")
def python(archives, tmp_path_factory) -> Path:
    """The interpreter of a fresh environment with the wheel; the libraries it needs are those of this one."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", archives[".whl"], cwd=folder)
    here = sysconfig.get_path("purelib")
    (site_packages,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file is only a path: an editable install of the repository in there does not come along.
    (site_packages / "libraries.pth").write_text(f"{here}\n")
    return python


def test_the_index_would_accept_and_show_them(archives):
    run(sys.executable, "-m", "twine", "check", "--strict", *archives.values(), cwd=ROOT)


def test_the_wheel_holds_what_is_read_at_run_time(archives):
    names = set(zipfile.ZipFile(archives[".whl"]).namelist())
    packages = ("conclip", "dataset_scripts", "modeling_conclip")
    assert {f"{package}/py.typed" for package in packages} <= names
    tracked = {path for package in packages for path in (ROOT / package).rglob("*") if path.is_file()}
    data = {path.relative_to(ROOT).as_posix() for path in tracked if path.suffix in (".md", ".json")}
    assert data and data <= names
    assert not [name for name in names if name.startswith(("tests", "speed", "evaluate", "recipes"))]


def test_the_tests_of_the_source_archive_are_found(archives, tmp_path):
    with tarfile.open(archives[".gz"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert {"README.md", "docs", "recipes", "model_card.md"} <= {path.name for path in folder.iterdir()}
    run(sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", cwd=folder)


def test_the_installed_package_is_not_the_repository(python, tmp_path):
    code = "import conclip; from conclip.metrics.itt_tot import itt_tot; print(conclip.__file__, itt_tot.__file__)"
    for path in run(python, "-c", code, cwd=tmp_path).stdout.split():
        assert Path(path).is_relative_to(python.parents[1])


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does(name, python, tmp_path):
    assert f"usage: conclip {name}" in run(python.with_name("conclip"), name, "--help", cwd=tmp_path).stdout
    assert f"usage: conclip {name}" in run(python, "-m", "conclip", name, "--help", cwd=tmp_path).stdout


def test_accelerate_launches_it(python, tmp_path):
    launcher = ("-m", "accelerate.commands.launch", "--num_processes", 1, "--cpu")
    assert "usage: conclip train" in run(python, *launcher, "-m", "conclip", "train", "--help", cwd=tmp_path).stdout


def test_it_trains(python, tmp_path):
    arguments = command(write_inputs(tmp_path / "inputs"), tmp_path / "out", max_steps=2)
    run(python.with_name("conclip"), "train", *arguments, cwd=tmp_path)
    assert results(tmp_path / "out")["training"]
    assert "model.safetensors" in os.listdir(tmp_path / "out")
    assert "## Limits" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
