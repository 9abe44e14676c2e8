"""Whatever is wrong with an input: one sentence, nothing half written, and no code of a file is run."""

import errno
import logging
import os
import re
import shutil
import socket
import time
from pathlib import Path

import datasets
import PIL.EpsImagePlugin
import pyarrow.parquet as pq
import pytest
import yaml
from bad_accepted import ACCEPTED, CELLS, FORMULA
from bad_benchmarks import BENCHMARKS
from bad_code import CODE, YAML_CODE
from bad_data import DATA
from bad_embeddings import EMBEDDINGS
from bad_images import IMAGES
from bad_inputs import EPS, RUNS, BadInput, content, ghostscript, run, write_good
from bad_inputs_page import PAGE, page
from bad_models import MODELS
from bad_options import OPTIONS
from huggingface_hub import constants
from PIL import Image

from conclip.__main__ import COMMANDS

REFUSED = [*OPTIONS, *MODELS, *DATA, *IMAGES, *EMBEDDINGS, *BENCHMARKS, *CODE]
# What the same command continues from after the input was mended.
CONTINUED = re.compile(r"(^|/)cache/|^out/\.work/|^out/settings\.json$")


def named(case: BadInput) -> str:
    return f"{case.command}: {case.wrong}"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    write_good(folder)
    return folder


@pytest.fixture
def workspace(good, tmp_path, monkeypatch):
    """The working directory, a copy of the good files."""
    folder = tmp_path / "work"
    shutil.copytree(good, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    # Pillow looks once for Ghostscript.
    monkeypatch.setattr(PIL.EpsImagePlugin, "gs_binary", None)
    return folder


@pytest.fixture
def logged():
    """Errors that `datasets` and transformers log beside what the command says."""
    handler = logging.Handler(logging.ERROR)
    records: list[str] = []
    handler.emit = lambda record: records.append(record.getMessage())
    loggers = [logging.getLogger(name) for name in ("datasets", "transformers")]
    for logger in loggers:
        logger.addHandler(handler)
    yield records
    for logger in loggers:
        logger.removeHandler(handler)


def files(folder: Path) -> dict[str, int]:
    """The files of a folder and their sizes, but for those that the same command continues from."""
    found = {path.relative_to(folder).as_posix(): path.lstat().st_size for path in folder.rglob("*") if is_file(path)}
    return {name: size for name, size in found.items() if not CONTINUED.search(name)}


def is_file(path: Path) -> bool:
    return path.is_symlink() or not path.is_dir()


@pytest.mark.parametrize("case", REFUSED, ids=named)
def test_a_bad_input_is_one_sentence(case, workspace, tmp_path, capsys, logged):
    if case.breaks:
        case.breaks(workspace)
    before = files(workspace)
    capsys.readouterr()
    assert run(case.argv) == 1
    out, err = capsys.readouterr()
    # Progress bars end their lines with carriage returns.
    lines = [line for line in re.split(r"[\r\n]", err) if line.strip()]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    assert len(errors) == 1 and lines[-1] == f"Error: {errors[0]}" and "Traceback" not in out + err
    message = errors[0].replace(f"{workspace}/", "")
    assert re.fullmatch(".*".join(map(re.escape, case.says.split("…"))), message), message
    assert files(workspace) == before
    assert not [*tmp_path.rglob("ran")], "code of the file was run"
    assert not logged


@pytest.mark.parametrize("case", ACCEPTED, ids=named)
def test_an_unusual_input_is_used(case, workspace, tmp_path, capsys):
    case.breaks(workspace)
    assert run(case.argv) == 0
    assert case.says in capsys.readouterr().out


def test_a_cell_with_a_formula_stays_a_text(workspace):
    """And no command writes CSV, in which a spreadsheet would compute it."""
    content("mine.csv", f"image;caption\n{CELLS}")(workspace)
    assert run(["negate", "--dataset_name", "mine.csv", "--output_dir", "out", "--num_proc", "1"]) == 0
    (written,) = (workspace / "out/data").iterdir()
    assert set(pq.read_table(written)["caption"].to_pylist()) == {FORMULA}
    assert {path.suffix for path in (workspace / "out").iterdir()} == {"", ".json", ".md"}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            "train --model_name_or_path someone/clip --dataset_name rows.jsonl",
            "--model_name_or_path someone/clip cannot",
        ),
        (
            "train --model_name_or_path clip --dataset_name someone/rows",
            "--dataset_name someone/rows, split 'train': ",
        ),
        ("evaluate --model_name_or_path someone/clip --output_dir out", "--model_name_or_path someone/clip cannot"),
        (
            "embed --model_name_or_path someone/clip --image_dir images --output_file out.npz",
            "--model_name_or_path some",
        ),
        (
            "embed --model_name_or_path clip --dataset_name someone/rows --output_file out.npz",
            "--dataset_name someone/r",
        ),
        (
            "convert --model_name_or_path someone/clip --to openai --output_dir out",
            "--model_name_or_path someone/clip",
        ),
        ("negate --dataset_name someone/rows --output_dir out", "--dataset_name someone/rows, split 'train': "),
        (
            "negate --dataset_name rows.jsonl --tokenizer_name someone/clip --output_dir out",
            "--tokenizer_name someone/",
        ),
    ],
    ids=lambda value: " ".join(value.split()[:4]),
)
def test_without_a_network_a_name_on_the_hub_is_refused_at_once(command, says, workspace, monkeypatch, capsys):
    def unreachable(*_args, **_options):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, unreachable)
    started = time.monotonic()
    assert run(command.split()) == 1
    assert time.monotonic() - started < 15, "without the check, the libraries try again and again"
    out, err = capsys.readouterr()
    assert f"Error: {says}" in err and "using what is in the cache" in out


def test_the_files_with_code_would_run_it(workspace):
    """Otherwise the tests above would hold for any file; for pickles see tests/models/test_untrusted_files.py."""
    for runs in (
        lambda: exec(RUNS, {}),
        lambda: os.close(yaml.unsafe_load(YAML_CODE)),
        lambda: [ghostscript(workspace), content("5.jpg", EPS)(workspace), Image.open("5.jpg").load()],
    ):
        try:
            runs()
        # The stand-in for Ghostscript makes no image.
        except OSError:
            pass
        (workspace / "ran").unlink()


def test_every_command_has_bad_inputs_and_each_is_there_once():
    assert {case.command for case in REFUSED} == set(COMMANDS)
    assert len(set(map(named, REFUSED))) > 0.97 * len(REFUSED)


def test_the_page_of_the_documents_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/helpers/bad_inputs_page.py"
