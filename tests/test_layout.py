"""Who may import whom, held over the source text; and the folder evaluate/ never hides the library of that name."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = {"build", "dist", "outputs", "site-packages"}
STDLIB = sys.stdlib_module_names
FOUNDATION = {
    f"conclip.{name}"
    for name in "errors cli runtime atomic_write folder_lock data text_files hub model_cards model_folders "
    "public_names stream".split()
}
# What each folder may import of the project, from the ground up; a module may always import its own folder.
GROUND = {"modeling_conclip", *FOUNDATION}
DATA = {*GROUND, "dataset_scripts", "conclip.metrics"}
LAYERS = {
    "dataset_scripts": {*FOUNDATION},
    "conclip.metrics": set(),
    "conclip.publish": {*FOUNDATION},
    "conclip.embedding": DATA,
    "conclip.models": {*DATA, "conclip.embedding"},
    "conclip.distractors": {*DATA, "conclip.embedding"},
    "conclip.negation": {*DATA, "conclip.embedding"},
    "conclip.training": {
        *DATA,
        *("conclip.publish", "conclip.embedding", "conclip.models", "conclip.distractors", "conclip.negation"),
    },
    "conclip.evaluation": {*DATA, "conclip.embedding", "conclip.models", "conclip.negation"},
    "conclip.search": {*DATA, "conclip.embedding", "conclip.models", "conclip.negation", "conclip.evaluation"},
}
# The files that `datasets` 3.6 copies when it runs dataset_scripts/ccneg.py as a loading script.
LOADING_SCRIPTS = {f"dataset_scripts/{name}.py" for name in "ccneg ccneg_source ccneg_images schema".split()}
# The entry scripts are on top of everything: only tests and the command line look into them.
TOP = {"app", "train_accelerate", "run_benchmarks"}
PROJECT = {"modeling_conclip", "dataset_scripts", "conclip", "speed", "tests", *TOP}


def source_files():
    paths = (path.relative_to(ROOT) for path in sorted(ROOT.rglob("*.py")))
    return [path for path in paths if not any(part in NOT_OURS or part.startswith(".") for part in path.parts)]


def imports(source):
    """(line, level, module) of every import, also those inside functions; level counts the leading dots."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.level, node.module
            # `from conclip.metrics import run_benchmarks` names a module after the word import.
            yield from ((node.lineno, node.level, alias.name) for alias in node.names if alias.name in TOP)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.level, ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
            if node.args and isinstance(node.args[0], ast.Constant):
                yield node.lineno, 0, str(node.args[0].value)


def layer_of(module):
    """The entry of `LAYERS`, or the module itself where it has none: "conclip.training.loop" -> "conclip.training"."""
    return next((layer for layer in LAYERS if module == layer or module.startswith(f"{layer}.")), module)


def allowed(path, level, module):
    folder, root = path.parts[0], module.split(".")[0]
    own = ".".join(path.with_suffix("").parts)
    if folder in ("tests", "setup.py"):
        return True
    if root == "tests" or (TOP & set(module.split(".")) and own != "conclip.__main__"):
        return False
    # A folder whose files are uploaded one by one knows no packages: `from .x import y`, where x is a file beside it.
    flat = level == 1 and module.isidentifier()
    if path == PurePosixPath("modeling_conclip/loss_conclip.py"):
        return level == 0 and root in STDLIB | {"torch"}
    if folder == "modeling_conclip":
        return flat if level else root not in PROJECT
    if str(path) in LOADING_SCRIPTS:
        return flat if level else root not in PROJECT
    if folder == "evaluate" and len(path.parts) > 2:
        of_space = {"gradio"} if path.name == "app.py" else set()
        return flat if level else root in STDLIB | {"evaluate", "datasets", "numpy"} | of_space
    if level:
        return level < len(path.parts) and folder == "dataset_scripts"
    if root not in PROJECT:
        return True
    if own in FOUNDATION:
        return module in FOUNDATION
    layer = layer_of(own)
    if layer in LAYERS:
        return layer_of(module) in {layer, *LAYERS[layer]} or root in LAYERS[layer]
    return root != "speed" or folder == "speed"


def faults(path, source):
    return [
        f"{path}:{line} imports {'.' * level}{module}"
        for line, level, module in imports(source)
        if not allowed(path, level, module)
    ]


def test_imports_go_one_way():
    files = source_files()
    assert Path("evaluate/pair_accuracy/pair_accuracy.py") in files
    found = [faults(PurePosixPath(path.as_posix()), (ROOT / path).read_text(encoding="utf-8")) for path in files]
    assert sum(found, []) == []


def modules_imported(path):
    """Modules of the project that a file imports, as dotted names of files."""
    package = path.with_suffix("").parts[:-1]
    for _, level, module in imports((ROOT / path).read_text(encoding="utf-8")):
        if level:
            module = ".".join([*package[: len(package) - level + 1], *filter(None, [module])])
        yield module


def test_no_file_imports_itself_in_a_circle():
    """Also by imports inside functions: the two could not be understood, or moved, one without the other."""
    files = {".".join(path.with_suffix("").parts): path for path in source_files() if path.parts[0] != "tests"}
    graph = {name: {module for module in modules_imported(path) if module in files} for name, path in files.items()}
    circles = []
    for start in graph:
        reached, waiting = set(), list(graph[start])
        while waiting:
            module = waiting.pop()
            if module not in reached:
                reached.add(module)
                waiting += graph[module]
        if start in reached:
            circles.append(start)
    assert circles == []


@pytest.mark.parametrize(
    ("path", "source", "good"),
    [
        ("modeling_conclip/loss_conclip.py", "import torch.nn.functional as F\nimport math", True),
        ("modeling_conclip/loss_conclip.py", "from transformers import CLIPModel", False),
        ("modeling_conclip/loss_conclip.py", "from .configuration_conclip import ConCLIPConfig", False),
        ("modeling_conclip/modeling_conclip.py", "from .loss_conclip import conclip_loss", True),
        ("modeling_conclip/modeling_conclip.py", "from modeling_conclip.loss_conclip import conclip_loss", False),
        ("modeling_conclip/modeling_conclip.py", "from . import loss_conclip", False),
        ("modeling_conclip/modeling_conclip.py", "from .parts.loss import conclip_loss", False),
        ("modeling_conclip/modeling_conclip.py", "from ..dataset_scripts import schema", False),
        ("modeling_conclip/modeling_conclip.py", "def f():\n    import dataset_scripts.schema", False),
        ("dataset_scripts/ccneg.py", "from .schema import FEATURES\nimport datasets", True),
        ("dataset_scripts/ccneg.py", "from dataset_scripts.schema import FEATURES", False),
        ("dataset_scripts/ccneg.py", "from conclip.errors import UsageError", False),
        ("dataset_scripts/ccneg.py", "from ..modeling_conclip import x", False),
        ("dataset_scripts/ccneg_folder.py", "from conclip.cli import Parser\nfrom .ccneg import CCNeg", True),
        ("dataset_scripts/benchmarks/aro.py", "from dataset_scripts.benchmarks.schema import Benchmark", True),
        ("dataset_scripts/benchmarks/aro.py", "from conclip.evaluation.items import Chunk", False),
        ("dataset_scripts/benchmarks/aro.py", "import modeling_conclip", False),
        ("dataset_scripts/scenes.py", "import conclip.metrics.pair_accuracy", False),
        ("evaluate/some_metric/some_metric.py", "import json\nimport evaluate, datasets, numpy.linalg", True),
        ("evaluate/some_metric/some_metric.py", "from .helper import f", True),
        ("evaluate/some_metric/some_metric.py", "import torch", False),
        ("evaluate/some_metric/some_metric.py", "import gradio", False),
        ("evaluate/some_metric/app.py", "import evaluate, gradio", True),
        ("evaluate/some_metric/some_metric.py", "from ..pair_accuracy.pair_accuracy import f", False),
        ("evaluate/run_benchmarks.py", "from conclip.evaluation.run import main", True),
        ("evaluate/run_benchmarks.py", "from train_accelerate import main", False),
        ("conclip/errors.py", "import os", True),
        ("conclip/hub.py", "from conclip.errors import UsageError", True),
        ("conclip/data.py", "from dataset_scripts.scenes import load_scenes", False),
        ("conclip/data.py", "from conclip.training.arguments import x", False),
        ("conclip/embedding/images.py", "from conclip.errors import UsageError\nimport modeling_conclip", True),
        ("conclip/embedding/images.py", "from conclip.models.clip import load_model", False),
        ("conclip/embedding/images.py", "from conclip.training.collator import PairCollator", False),
        ("conclip/models/clip.py", "from conclip.embedding.tokens import TextTokenizer", True),
        ("conclip/models/clip.py", "from conclip.training.arguments import ModelArguments", False),
        ("conclip/negation/grammar/parse.py", "from conclip.negation.lexicon import words", True),
        ("conclip/negation/grammar/parse.py", "from conclip.distractors.search import nearest", False),
        ("conclip/distractors/search.py", "from conclip.negation import parse", False),
        ("conclip/training/loop.py", "import modeling_conclip, dataset_scripts.scenes, conclip.metrics", True),
        ("conclip/training/loop.py", "from conclip.evaluation.card import main", False),
        ("conclip/evaluation/run.py", "from conclip.training.report import fill_card", False),
        ("conclip/evaluation/run.py", "from conclip.models.clip import load_model", True),
        ("conclip/training/loop.py", "import importlib\nimportlib.import_module('train_accelerate')", False),
        ("conclip/training/loop.py", "from evaluate import run_benchmarks", False),
        ("conclip/training/loop.py", "import speed.models", False),
        ("conclip/__main__.py", "import train_accelerate", True),
        ("train_accelerate.py", "import conclip.training.loop, modeling_conclip, dataset_scripts.scenes", True),
        ("speed/step.py", "import conclip.training.loop, conclip.evaluation.run, speed.models", True),
        ("speed/step.py", "import train_accelerate", False),
        ("tests/test_train.py", "import train_accelerate", True),
    ],
)
def test_each_rule_tells_good_from_bad(path, source, good):
    assert (faults(PurePosixPath(path), source) == []) is good


def test_setup_names_every_package(monkeypatch):
    """Packages are listed by name, so a new folder that is forgotten there would be missing from the wheel."""
    listed = {}
    monkeypatch.setattr("setuptools.setup", lambda **keywords: listed.update(keywords))
    runpy.run_path(str(ROOT / "setup.py"))
    folders = {".".join(path.parent.parts) for path in source_files() if path.parent.parts}
    folders = {re.sub(r"^evaluate\b", "conclip.metrics", folder) for folder in folders}
    packages = {
        folder for folder in folders if folder.split(".")[0] in {"conclip", "dataset_scripts", "modeling_conclip"}
    }
    assert packages == set(listed["packages"])


def test_evaluate_is_the_library():
    assert not (ROOT / "evaluate" / "__init__.py").exists()
    assert not (ROOT / "evaluate" / "evaluate.py").exists()
    # Finding the module is enough and takes no time; `-c` puts the working directory first on the path.
    code = "import importlib.util; print(importlib.util.find_spec('evaluate').origin)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    origin = Path(done.stdout.strip())
    assert origin.name == "__init__.py"  # our folder, a namespace, would give None
    assert origin.parent != ROOT / "evaluate"


def test_no_tracked_file_holds_a_path_of_somebodys_home():
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    home = re.compile(r"(?<![\w.])/(?:home|Users|root)/\w")
    found = []
    for name in filter(None, listing.stdout.split("\0")):
        # Binary files decode to something harmless; a deleted file may still be in the index.
        text = (ROOT / name).read_text(encoding="utf-8", errors="ignore") if (ROOT / name).is_file() else ""
        found += [f"{name}: {match.group()}" for match in home.finditer(text)]
    assert found == []
