"""Every command and every Python snippet of the documents is run, with small local models and files in their names."""

import importlib
import json
import re
import runpy
import shlex
import shutil
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from accelerate.commands.launch import launch_command_parser
from accelerate_state import reset_accelerate
from chat_server import chat_server, task
from datasets import concatenate_datasets, load_dataset
from documents import FENCE, Block, code_blocks, commands, entry_point, run_command
from stand_ins import ROOT, write_negations, write_workspace

import app
from conclip.__main__ import COMMANDS, main
from conclip.distractors.caption_filter import mentions
from conclip.models import convert_command, export_command
from conclip.training.arguments import ConCLIPTrainingArguments, parse_arguments
from dataset_scripts import scenes
from dataset_scripts.benchmarks.registry import choose_benchmarks
from speed import models

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "model_card.md"]
PAGES += [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]

# Of the shell, not of this project: their options and extras are looked at, they are not run.
SHELL = "shell"
# Needs several devices, the Hub, or minutes: read by the launcher's and the command's own parser, not run.
PARSE = "parse"
SHORT = "--max_steps 2 --per_device_train_batch_size 4 --logging_steps 1 --report_to jsonl"
CCNEG = "--test_size 4 --overwrite"
SEARCH = "--embedding_cache_dir cache"
NEGATE = "--test_size 8 --num_proc 1"
# Page -> the beginning of each command, in the page's order, and how it is run: with which arguments added.
HOW = {
    "README.md": [
        ("python -m venv", SHELL),
        (". .venv/bin/activate", SHELL),
        ("pip install -e .", SHELL),
        ("accelerate launch --config_file", PARSE),
        ("python -m venv", SHELL),
        (". .venv/bin/activate", SHELL),
        ("pip install -e .[test]", SHELL),
        ("pytest", SHELL),
        ("conclip ccneg", CCNEG),
        ("accelerate launch train_accelerate.py --model_name_or_path", SHORT),
        ("conclip train", SHORT),
        ("conclip negate", NEGATE),
        ("conclip train", SHORT),
        ("conclip evaluate", "--benchmarks sugarcrepe cifar10"),
        ("conclip search", SEARCH),
    ],
    "CONTRIBUTING.md": [
        ("python -m venv", SHELL),
        (". .venv/bin/activate", SHELL),
        ("pip install -e .[dev]", SHELL),
        ("pre-commit install", SHELL),
        ("pytest", SHELL),
        ("pytest -m slow", SHELL),
        ("ruff check", SHELL),
        ("ruff format --check", SHELL),
        ("pip install cosmic-ray", SHELL),
        ("python tests/mutation.py", SHELL),
    ],
    "CHANGELOG.md": [],
    "model_card.md": [("accelerate launch train_accelerate.py", PARSE)],
    "docs/architecture.md": [],
    "docs/index.md": [],
    "docs/bad_inputs.md": [],
    "docs/benchmarks.md": [
        ("conclip evaluate --model_name_or_path outputs", "--benchmarks scenes-pairs"),
        ("conclip evaluate --model_name_or_path openai", "--benchmarks sugarcrepe sugarcrepe-pp cifar10"),
        ("conclip evaluate --model_name_or_path openai", ""),
        ("conclip card", ""),
        ("conclip evaluate --benchmarks list", ""),
        ("conclip ccneg", CCNEG),
        ("conclip reproduce", "--tables sugarcrepe --check --clip_l14 openai/clip-vit-base-patch32"),
    ],
    "docs/clusters.md": [
        ("pip install", SHELL),
        ("ray job", SHELL),
        ("spark-submit", SHELL),
        ("sbatch", SHELL),
        ("accelerate launch --multi_gpu", ""),
    ],
    # The first needs the extra `onnx`, the third a model of OpenAI's sizes: tests/docs/test_clients.py runs them.
    "docs/clients.md": [
        ("conclip export", PARSE),
        ("conclip convert", ""),
        ("conclip convert", PARSE),
        ("conclip embed", ""),
    ],
    "docs/convert.md": [("conclip convert", ""), ("conclip convert", "")],
    "docs/default_run.md": [("accelerate launch train_accelerate.py", PARSE)],
    "docs/demo.md": [
        ("pip install .[demo]", SHELL),
        ("python app.py", PARSE),
        ("python app.py --model_name_or_path", PARSE),
    ],
    "docs/distillation.md": [
        ("conclip train --model_name_or_path", SHORT),
        ("conclip train --loss negation_distillation", f"{SHORT} --image_dir images"),
        ("conclip train --loss negation_distillation --model_name_or_path google", f"{SHORT} --image_dir images"),
    ],
    "docs/distractors.md": [
        ("conclip embed", ""),
        ("conclip embed", ""),
        ("conclip distractors", ""),
        ("conclip negate", NEGATE),
        ("conclip negate", ""),
        ("conclip distractors", ""),
        ("conclip negate", NEGATE),
        ("conclip train", SHORT),
    ],
    "docs/large_data.md": [
        ("conclip train --model_name_or_path", f"{SHORT} --shuffle_buffer_size 8"),
        ("conclip train --model_name_or_path", PARSE),
        ("conclip embed", ""),
        ("conclip negate", "--num_proc 1"),
        ("conclip train", SHORT),
        ("conclip distractors", ""),
        ("conclip train", SHORT),
        ("conclip train --model_name_or_path", PARSE),
        ("conclip cache", ""),
        ("conclip cache --older_than", ""),
        ("conclip cache --delete", ""),
    ],
    "docs/negation.md": [
        ("conclip negate", NEGATE),
        ("conclip train", SHORT),
        ("conclip shortcut", ""),
        ("conclip negate", "--base_url {server} --num_proc 1 --negation_types false"),
    ],
    "docs/publish.md": [
        ("conclip push outputs/mine", ""),
        ("conclip push outputs/mine", "--dry_run public-2"),
        ("conclip push ccneg", "--dry_run public-3"),
        ("conclip push evaluate", "--dry_run public-4"),
    ],
    "docs/python.md": [],
    "docs/results.md": [],
    "docs/search.md": [("conclip search", SEARCH)] * 4 + [("conclip embed", SEARCH)],
    "docs/speed.md": [
        ("python -m speed.training_step", "--batch_size 4 --rounds 1"),
        ("python -m speed.joint_loss", PARSE),
        ("python -m speed.distillation_step", "--pairs 4 --statements 8 --rounds 1"),
        ("python -m speed.sugarcrepe", "--loop_items 2 --rounds 1"),
        ("python -m speed.gpu_recipe", PARSE),
    ],
    "docs/training.md": [
        ("conclip train --model_name_or_path", SHORT),
        ("conclip train --model_name_or_path", SHORT),
        ("conclip train --config recipes/negclip.yaml", SHORT),
        ("accelerate launch train_accelerate.py --model_name_or_path", SHORT),
        ("conclip train --config recipes/conclip.yaml", SHORT),
        ("conclip ccneg", CCNEG),
        ("conclip ccneg", CCNEG),
        ("conclip evaluate", ""),
        ("accelerate launch --config_file", PARSE),
        ("torchrun", PARSE),
    ],
}
# Submit a script to a cluster.
CLUSTERS = {"ray", "spark-submit", "sbatch"}
LANGUAGES = {"bash", "python", "js", "text", "bibtex"}
# Snippets that import one of these are run by a slow test: they need the extra "indexes".
INDEXES = re.compile(r"^(?:import|from) (?:faiss|qdrant_client|lancedb)\b", re.MULTILINE)
# What reads the options of a command that is not run, and is not `conclip train`.
PARSERS = {"app": app.PARSER, "export": export_command.PARSER, "convert": convert_command.PARSER}


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    return write_workspace(tmp_path_factory.mktemp("stand_ins"))


@pytest.fixture
def workspace(stand_ins, tmp_path, monkeypatch):
    """The working directory, with 16 scenes in each split and small sizes for the measurements of speed."""
    few = partial(scenes.load_scenes, split_sizes={"train": 16, "test": 16}, cache_dir=str(tmp_path / "scenes-cache"))
    monkeypatch.setattr(scenes, "load_scenes", few)
    monkeypatch.setitem(models.SIZES, "vit-base-patch32", ((32, 64, 2), (32, 64, 2, 2, 112), 16))
    shutil.copytree(stand_ins, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def test_the_table_has_every_page_and_no_other():
    assert sorted(HOW) == sorted(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_snippets_run(page, workspace):
    blocks = code_blocks(ROOT / page)
    assert {block.language for block in blocks} <= LANGUAGES, "a block of a language that nothing runs"
    found = [words for block in blocks if block.language == "bash" for words in commands(block.text)]
    assert len(found) == len(HOW[page]), "the table has another number of commands"
    if page in ("docs/training.md", "docs/large_data.md"):
        # On the other pages, a command writes it.
        write_negations(Path("my-negations"))
    ways = iter(HOW[page])
    namespace = {"__name__": page}
    for block in blocks:
        # These need a library for clusters: tests/negation/test_clusters.py runs them.
        elsewhere = page == "docs/clusters.md" and "CaptionNegator" in block.text
        # tests/docs/test_clients.py runs those whose client is installed.
        elsewhere |= page == "docs/clients.md"
        if block.language == "python" and not elsewhere and not INDEXES.search(block.text):
            run_snippet(compile(block.text, f"{page}, line {block.line}", "exec"), namespace)
        if block.language == "bash":
            run_block(block, ways)
    if page == "docs/distractors.md":
        check_matching_distractors()


@pytest.mark.slow
def test_snippets_of_vector_indexes(workspace):
    """Each index finds what a product in numpy does."""
    embed = "embed --model_name_or_path openai/clip-vit-base-patch32 --image_dir photos --output_file photos.npz"
    assert main(embed.split()) == 0
    namespace = {}
    for block in code_blocks(ROOT / "docs/search.md"):
        if block.language == "python":
            exec(compile(block.text, f"docs/search.md, line {block.line}", "exec"), namespace)
    expected = [namespace["names"][row] for row in namespace["best"]]
    assert len({*expected}) == 5
    assert namespace["in_faiss"] == namespace["in_qdrant"] == namespace["in_lancedb"] == expected


def check_matching_distractors() -> None:
    """What the page says: negating twice gives the same captions, and the filter avoids what they negate."""
    texts, images = load_dataset("negated-texts"), load_dataset("my-matching-negations")
    images = concatenate_datasets([images["train"], images["test"]])
    assert texts["train"]["negated_captions"] == images["negated_captions"] and len(images) == 24
    assert images.num_rows == sum(map(len, images["distractor_images"]))
    negated = json.loads(Path("negated.json").read_text(encoding="utf-8"))
    assert [negated[row] for row in images["source_row"]] == images["negation_targets"]
    found = pq.read_table("matching.parquet").to_pydict()
    table = json.loads(Path("coco/annotations/captions_train2017.json").read_text(encoding="utf-8"))
    captions = [annotation["caption"] for annotation in table["annotations"]]
    for row, phrases in enumerate(negated):
        for index, holds in zip(
            found["distractor_indices"][row], found["distractor_negation_holds"][row], strict=True
        ):
            assert holds == (not mentions([captions[index]], phrases[0]))
    assert np.array(found["distractor_negation_holds"]).all(), "the pool has enough images that match"


def run_snippet(code, namespace: dict) -> None:
    """Trains for 2 steps on batches of 4, whatever the snippet says."""
    plain = ConCLIPTrainingArguments.__init__

    def short(self, *args, **settings):
        plain(self, *args, **{**settings, "max_steps": 2, "per_device_train_batch_size": 4})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConCLIPTrainingArguments, "__init__", short)
        exec(code, namespace)
    reset_accelerate()


def run_block(block: Block, ways) -> None:
    for words in commands(block.text):
        start, how = next(ways)
        assert " ".join(words).startswith(start)
        if how == SHELL:
            check_shell(words)
        elif how == PARSE:
            name, arguments = entry_point(words)
            if name == "conclip":
                name, *arguments = arguments
            if name.startswith("speed."):
                # tests/speed/ runs it.
                parse_alone(name, arguments)
            elif name in PARSERS:
                PARSERS[name].parse(arguments)
            else:
                assert name in ("train", "train_accelerate"), "add its parser"
                parse_arguments(arguments)
        elif "{server}" in how:
            with chat_server(negated_caption) as (url, _):
                run_command(words, how.format(server=url).split())
        else:
            check_names(words)
            run_command(words, how.split())


class Parsed(Exception):
    """The options were read."""


def parse_alone(module: str, arguments: list[str]) -> None:
    """Read the options of a measurement as it does, and stop there."""
    plain = ArgumentParser.parse_args

    def stop(self, *given):
        plain(self, *given)
        raise Parsed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
        patch.setattr(ArgumentParser, "parse_args", stop)
        importlib.import_module(module).main(arguments)


def negated_caption(number: int, payload: dict) -> str:
    """What a language model would answer: "not" before the words it is asked to negate."""
    asked = task(payload)
    negated = asked["Caption"].replace(asked["Deny"], f"not {asked['Deny']}", 1)
    return json.dumps({"negated_caption": negated})


def check_shell(words: list[str]) -> None:
    if words[:2] == ["pip", "install"]:
        listed = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("setuptools.setup", lambda **keywords: listed.update(keywords))
            runpy.run_path(str(ROOT / "setup.py"))
        extras = ",".join(re.findall(r"\[(.*)\]", words[-1]))
        assert set(filter(None, extras.split(","))) <= set(listed["extras_require"])
    elif words[0] not in CLUSTERS:
        known = {"python -m venv .venv", ". .venv/bin/activate", "pre-commit install", "pytest", "pytest -m slow"}
        known |= {"ruff check", "ruff format --check", "python tests/mutation.py"}
        assert shlex.join(words) in known


def check_names(words: list[str]) -> None:
    """The benchmarks that a command names exist, also those that the test does not run."""
    if "--benchmarks" in words and "list" not in words:
        names = words[words.index("--benchmarks") + 1 :]
        end = next((index for index, word in enumerate(names) if word.startswith("--")), len(names))
        assert choose_benchmarks(names[:end])


def test_links_lead_somewhere():
    """Files, and headings of pages, that the documents refer to."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            if target.startswith(("http://", "https://")):
                continue
            name, _, heading = target.partition("#")
            path = (ROOT / page).parent / name if name else ROOT / page
            assert path.exists(), f"{page} links to {target}"
            if heading:
                headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
                assert heading in anchors, f"{page} links to {target}"


def test_options_in_the_text_exist(capsys):
    """Those of the running text and the tables; the changelog also has the old names."""
    known = {option for action in launch_command_parser()._actions for option in action.option_strings}
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        known |= set(re.findall(r"--\w+", capsys.readouterr().out))
    known |= set(re.findall(r"--\w+", app.PARSER.format_help()))
    for path in [*(ROOT / "speed").glob("*.py"), ROOT / "tests" / "mutation.py"]:
        known |= set(re.findall(r'add_argument\("(--\w+)"', path.read_text(encoding="utf-8")))
    for page in set(PAGES) - {"CHANGELOG.md"}:
        text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
        named = {option for code in re.findall(r"`([^`]+)`", text) for option in re.findall(r"--\w+", code)}
        assert named <= known, page


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_recipes_are_read(path: Path):
    parse_arguments(["--config", str(path)])
