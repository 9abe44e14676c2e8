"""Who may import whom, held over the source text; and the folder evaluate/ never hides the library of that name."""

import ast
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = {"build", "dist", "outputs", "site-packages"}
STDLIB = sys.stdlib_module_names
PACKAGES = {"modeling_conclip", "dataset_scripts", "conclip_training", "conclip_evaluation", "conclip.metrics"}
# The entry scripts stand on top of everything: only tests look into them.
TOP = {"train_accelerate", "run_benchmarks"}
PROJECT = PACKAGES | TOP | {"tests", "benchmarks"}


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


def allowed(path, level, module):
    folder, root = path.parts[0], module.split(".")[0]
    if folder == "tests":
        return True
    if TOP & set(module.split(".")) or root == "tests":
        return False
    # A folder whose files are uploaded one by one knows no packages: `from .x import y`, where x is a file beside it.
    flat = level == 1 and module.isidentifier()
    if path == PurePosixPath("modeling_conclip/loss_conclip.py"):
        return level == 0 and root in STDLIB | {"torch"}
    if folder == "modeling_conclip":
        return flat if level else root not in PROJECT
    if folder == "dataset_scripts":
        return level < len(path.parts) if level else root not in PROJECT - {"dataset_scripts"}
    if folder in ("conclip_training", "train_accelerate.py"):
        return root not in {"conclip_evaluation", "benchmarks"}
    if folder == "evaluate" and len(path.parts) > 2:
        return flat if level else root in STDLIB | {"evaluate", "datasets", "numpy"}
    return True


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
        ("dataset_scripts/ccneg.py", "from dataset_scripts.schema import FEATURES\nimport datasets", True),
        ("conclip/negation/grammar/parse.py", "from ..schema import FEATURES", True),
        ("dataset_scripts/ccneg.py", "from ..modeling_conclip import x", False),
        ("dataset_scripts/ccneg.py", "import modeling_conclip", False),
        ("dataset_scripts/ccneg.py", "import conclip.metrics.pair_accuracy", False),
        ("evaluate/some_metric/some_metric.py", "import json\nimport evaluate, datasets, numpy.linalg", True),
        ("evaluate/some_metric/some_metric.py", "from .helper import f", True),
        ("evaluate/some_metric/some_metric.py", "import torch", False),
        ("evaluate/some_metric/some_metric.py", "from ..pair_accuracy.pair_accuracy import f", False),
        ("evaluate/run_benchmarks.py", "import torch, modeling_conclip, dataset_scripts", True),
        ("evaluate/run_benchmarks.py", "from train_accelerate import main", False),
        ("conclip/training/loop.py", "import modeling_conclip, dataset_scripts, conclip.metrics", True),
        ("conclip/training/loop.py", "from conclip.evaluation.card import main", False),
        ("conclip/evaluation/card.py", "import conclip_training, conclip.metrics, dataset_scripts", True),
        ("conclip/training/loop.py", "import importlib\nimportlib.import_module('train_accelerate')", False),
        ("conclip/training/loop.py", "from conclip.metrics import run_benchmarks", False),
        ("train_accelerate.py", "import conclip_training, modeling_conclip, dataset_scripts", True),
        ("benchmarks/step.py", "import train_accelerate", False),
        ("tests/test_train.py", "import train_accelerate", True),
    ],
)
def test_each_rule_tells_good_from_bad(path, source, good):
    assert (faults(PurePosixPath(path), source) == []) is good


def test_setup_names_every_package():
    """Packages are listed by name, so a new folder that is forgotten there would be missing from the wheel."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    listed = set(next(ast.literal_eval(node.value) for node in keywords if node.arg == "packages"))
    folders = {".".join(path.parent.parts) for path in source_files() if path.parent.parts}
    folders = {re.sub(r"^evaluate\b", "conclip.metrics", folder) for folder in folders}
    assert {folder for folder in folders if folder.split(".")[0] in PACKAGES} <= listed


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
