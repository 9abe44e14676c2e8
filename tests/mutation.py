"""
Mutation testing of the model, the losses, the metrics, checkpoints, batches and the schedule:

    pip install cosmic-ray
    python tests/mutation.py --output_file mutants.json

Changes one operator, number or keyword at a time, by the operators of cosmic-ray, and runs the tests of that module. A
change that no test notices has survived: it needs a test, or a line in `mutation_equivalents.tsv` with the reason why
it changes nothing that anybody could notice. Everything runs in a copy of the tracked files. Exits with 1 if the
tests of a module find less than 90 % of its mutants.

cosmic-ray's own runner starts Python and torch anew for each mutant, which takes longer than the tests; here each
mutant is put in place in a process forked after collection, and only the tests that run the changed line are run, the
quickest first. What cannot be put in place, such as a field of a dataclass, is then imported anew. mutmut forks too,
but leaves out functions with decorators, such as `ConCLIPModel.forward`, and takes the name of a module from its path,
by which the metrics are not imported.
"""

import argparse
import ast
import contextlib
import difflib
import gc
import importlib
import inspect
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENTS = ROOT / "tests" / "mutation_equivalents.tsv"
SCORE = 0.9
# Relative to the copy, in which everything runs.
IMPORTED, RUNS = Path("imported.txt"), Path("runs.json")
LIBRARIES = "torch torch._dynamo transformers.models.clip.modeling_clip accelerate datasets evaluate peft".split()
# Seconds since 1970, of files.
TIMES = itertools.count(1)
METRICS = ("choice_accuracy", "group_score", "itt_tot", "pair_accuracy", "retrieval_recall")
METRIC_TESTS = ["tests/metrics/test_metric_inputs.py", *(f"tests/metrics/test_{name}.py" for name in METRICS)]


def model_tests(names: str) -> list[str]:
    return [f"tests/modeling/test_{name}.py" for name in names.split()]


# Module -> its tests.
TESTS = {
    "modeling_conclip/configuration_conclip.py": model_tests("modeling_refuses freezing loss modeling text_targets"),
    "modeling_conclip/encoders_conclip.py": model_tests("packing modeling_precision"),
    "modeling_conclip/loss_conclip.py": model_tests("loss text_targets"),
    "modeling_conclip/modeling_conclip.py": model_tests(
        "modeling modeling_refuses text_targets freezing packing modeling_precision"
    ),
    "modeling_conclip/packing_conclip.py": model_tests("packing"),
    **{
        f"evaluate/{name}/{name}.py": [f"tests/metrics/test_{name}.py", "tests/metrics/test_metric_inputs.py"]
        for name in METRICS
    },
    "evaluate/pair_accuracy/checks.py": METRIC_TESTS,
    "conclip/training/batches.py": ["tests/training/test_batches.py"],
    "conclip/training/schedule.py": ["tests/training/test_schedule.py"],
    "conclip/training/checkpoints.py": ["tests/training/test_checkpoints.py", "tests/training/test_full_disk.py"],
}


def copies(module: str) -> list[str]:
    """List the files that must stay equal to the module: the metrics share `checks.py`."""
    if module.endswith("/checks.py"):
        return [f"evaluate/{name}/checks.py" for name in METRICS]
    return [module]


def without_annotations(code: str) -> str:
    """Return the code in one spelling, without the annotations that Python does not look at."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.unparse(tree)


def blocks(code: str) -> list[str]:
    """Cut code into functions, classes and other statements, which together are the code: each is parsed alone."""
    from cosmic_ray.ast import get_ast

    return [node.get_code() for node in get_ast(code).children]


def places(code: str) -> list[tuple[int, str, int]]:
    """List what cosmic-ray can change: the block, the name of an operator, and where in the block, by number."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    nodes, found = [list(ast_nodes(get_ast(block))) for block in blocks(code)], []
    for name in sorted(operator_names()):
        # Those with arguments replace variables that are named by hand. Whether equal numbers are identical is up to
        # the interpreter.
        if get_operator(name).arguments() or re.search("_(Eq|NotEq|Lt|LtE|Gt|GtE)_(Is|IsNot)$", name):
            continue
        operator = get_operator(name)()
        for block, inside in enumerate(nodes):
            count = sum(len(list(operator.mutation_positions(node))) for node in inside)
            found += [(block, name, number) for number in range(count)]
    return found


def mutants(code: str, chosen: list[tuple[int, str, int]]) -> Iterator[str]:
    """Yield the changed form for each place where it is valid Python, and differs in more than annotations."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    parts = blocks(code)
    seen = {(block, without_annotations(part)) for block, part in enumerate(parts)}
    for block, name, number in chosen:
        changed = mutate_code(parts[block], get_operator(name)(), number)
        try:
            spelling = block, without_annotations(changed)
        except (SyntaxError, TypeError):
            continue
        if spelling not in seen:
            seen.add(spelling)
            yield "".join([*parts[:block], changed, *parts[block + 1 :]])


def change(code: str, changed: str) -> tuple[str, str]:
    """Return the lines that differ, before and after, each as one line."""
    lines = difflib.ndiff(code.splitlines(), changed.splitlines())
    sides = {"- ": [], "+ ": []}
    for line in lines:
        if line[:2] in sides:
            sides[line[:2]].append(line[2:])
    return tuple(" ".join(" ".join(side).split()) for side in sides.values())


def wait(child: int, timeout: float) -> str:
    """Return "survived" if a forked process ends with 0, else "killed", or "timeout", which counts as killed."""
    ends = time.monotonic() + timeout
    done, status = 0, 0
    while not done and time.monotonic() < ends:
        time.sleep(0.005)
        done, status = os.waitpid(child, os.WNOHANG)
    # Also what the tests have started, such as ranks that wait for one that has failed.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not done:
        os.waitpid(child, 0)
        return "timeout"
    return "killed" if status else "survived"


def run_pytest(tests: list[str], plugins: list) -> int:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    # Several processes and tracing are slower than what a test of speed allows.
    options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb", "no", "-k", "not seconds"]
    return int(pytest.main([*options, *tests], plugins=plugins))


def outcome(tests: list[str], timeout: float) -> str:
    """Run the tests in a forked process that has imported nothing of the project; return as `wait`."""
    child = os.fork()
    if not child:
        os.setsid()
        status = run_pytest(tests, [])
        IMPORTED.write_text("\n".join(sys.modules), encoding="utf-8")
        os._exit(status)
    return wait(child, timeout)


def lines_to_run(code: str, changed: str) -> set[int]:
    """
    List the lines of which a test must run one to notice a change.

    Returns:
        Those of the statement. Empty if it lies in no function, such as the line of a `def`: the import runs it.
    """
    blocks = difflib.SequenceMatcher(None, code.splitlines(), changed.splitlines(), autojunk=False).get_opcodes()
    line = 1 + next(start for tag, start, *_ in blocks if tag != "equal")
    outer, inner = None, None
    # From the outermost to the innermost.
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.stmt) and node.lineno <= line <= node.end_lineno:
            outer, inner = (inner if isinstance(inner, ast.FunctionDef) else outer), node
    if outer is None:
        return set()
    end = inner.body[0].lineno if hasattr(inner, "body") else inner.end_lineno + 1
    return set(range(inner.lineno, end))


class Recorder:
    """
    A plugin of pytest that finds out what each test runs.

    What a fixture runs counts for all tests of its file, which may share it.

    Args:
        file: the end of the module's path: its name, since `evaluate` runs a copy of a metric.
    """

    def __init__(self, file: str):
        self.file, self.now, self.seconds = file, None, {}
        # Test or file -> the lines of the module that it runs, and whether it starts processes.
        self.lines, self.starts = defaultdict(set), defaultdict(bool)
        threading.settrace(self.trace), sys.settrace(self.trace), sys.addaudithook(self.notice)

    def trace(self, frame, event, argument):
        return self.add if frame.f_code.co_filename.endswith(self.file) else None

    def add(self, frame, event, argument):
        self.lines[self.now].add(frame.f_lineno)
        return self.add

    def notice(self, event: str, arguments) -> None:
        if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"):
            self.starts[self.now] = True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.now, started = item.path, time.monotonic()
        found = yield
        self.seconds[item] = time.monotonic() - started
        return found

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item):
        self.now = item

    def runs(self) -> list[dict]:
        """Describe each test, in order; those of a file, which share fixtures, stay together, the quickest first."""
        of_file = Counter()
        for item, seconds in self.seconds.items():
            of_file[item.path] += seconds
        return [
            {
                "test": item.nodeid,
                "lines": sorted(self.lines[item] | self.lines[item.path]),
                "starts": self.starts[item] or self.starts[item.path],
            }
            for item in sorted(self.seconds, key=lambda each: (of_file[each.path], each.path, self.seconds[each]))
        ]


class AfterCollection:
    """
    A plugin of pytest that runs the collected tests for each changed code, in a forked process.

    This saves importing project and tests for each. A change that it cannot put in place, such as that of a decorator,
    seems to survive.

    Args:
        module: the file that is mutated.
        codes: its changed forms. The first two are the code as it is: the first run finds out what each test runs, the
            second shows that the tests pass in the order of `Recorder.runs`.
        timeout: seconds for each.
        output: a file that takes the outcome of each, a line.
    """

    def __init__(self, module: str, codes: list[str], timeout: float, output: Path):
        self.module, self.codes, self.timeout, self.output = module, codes, timeout, output

    def pytest_runtestloop(self, session) -> bool:
        # Not during collection: a test that cannot be collected would kill all.
        if session.testsfailed:
            os._exit(1)
        # A collection of garbage in each process would copy the memory of all that has been imported.
        gc.freeze()
        items = {item.nodeid: item for item in session.items}
        tests = list(items)
        with self.output.open("w", encoding="utf-8") as file:
            for number, code in enumerate(self.codes):
                for path in copies(self.module):
                    write_anew(path, code)
                if number == 1:
                    tests = [run["test"] for run in runs()]
                if number > 1:
                    tests = tests_to_run(self.codes[0], code)
                child = os.fork()
                if not child:
                    os.setsid()
                    self.run(session, [items[test] for test in tests], code, first=not number)
                found = wait(child, self.timeout)
                file.write(f"{found}\n")
                file.flush()
                if number < 2 and found != "survived":
                    break
        return True

    def run(self, session, items: list, code: str, first: bool) -> None:
        try:
            for path in copies(self.module):
                put_in_place(path, code)
            if first:
                recorder = Recorder(f"/{Path(self.module).name}")
                session.config.pluginmanager.register(recorder)
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    os._exit(1)
            if first:
                RUNS.write_text(json.dumps(recorder.runs()), encoding="utf-8")
        except BaseException:
            os._exit(1)
        os._exit(0)


def runs() -> list[dict]:
    return json.loads(RUNS.read_text(encoding="utf-8"))


def tests_to_run(code: str, changed: str, anew: bool = False) -> list[str]:
    """
    List the tests that could notice a change.

    Args:
        anew: in a process that imports it anew, after it has survived in place. A function's body was in place, so
            only tests that start processes could still notice it.
    """
    lines = lines_to_run(code, changed)
    return [
        run["test"] for run in runs() if not lines or (run["starts"] if anew else lines.intersection(run["lines"]))
    ]


def put_in_place(path: str, code: str) -> None:
    """Give the functions of an imported module the changed code, wherever they have been imported to."""
    parts = Path(path).with_suffix("").parts
    name = ".".join(("conclip.metrics", *parts[1:]) if parts[0] == "evaluate" else parts)
    if name not in sys.modules:
        return
    namespace = sys.modules[name].__dict__
    before = dict(namespace)
    exec(compile(code, path, "exec"), namespace)
    for key, old in before.items():
        if getattr(old, "__module__", None) == name and change_in_place(old, namespace.get(key)):
            namespace[key] = old


def change_in_place(old, new) -> bool:
    """Give a function, or the functions of a class, the code of another; return whether it was one."""
    if isinstance(old, type) and isinstance(new, type):
        for key, value in vars(new).items():
            own = vars(old).get(key)
            # torch keeps classes in classes, which refer to each other.
            if isinstance(value, type):
                continue
            if not change_in_place(own, value) and not key.startswith("__"):
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(old, key, value)
        return True
    if isinstance(old, staticmethod | classmethod) and isinstance(new, staticmethod | classmethod):
        return change_in_place(old.__func__, new.__func__)
    if isinstance(old, property) and isinstance(new, property):
        return change_in_place(old.fget, new.fget)
    old, new = inspect.unwrap(old) if callable(old) else old, inspect.unwrap(new) if callable(new) else new
    if not (inspect.isfunction(old) and inspect.isfunction(new)):
        return False
    if old.__code__.co_freevars == new.__code__.co_freevars:
        old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__
    return True


def outcomes(module: str, codes: list[str], timeout: float) -> list[str]:
    """
    Run the tests of a module for each of its changed forms.

    Returns:
        As `wait`, for each; those at the end are missing if the tests cannot be collected.
    """
    output = Path("outcomes.txt")
    for path in (output, RUNS):
        path.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        os.setsid()
        run_pytest(TESTS[module], [AfterCollection(module, codes, timeout, output.absolute())])
        os._exit(0)
    os.waitpid(child, 0)
    return output.read_text(encoding="utf-8").split() if output.exists() else []


def prepare(folder: Path) -> None:
    """Copy the tracked files, and import the libraries so that each run has them."""
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    os.chdir(folder)
    # In place of ROOT/tests, in which this script lies.
    sys.path[0] = str(folder)
    os.environ.update(PYTHONPATH=str(folder), HF_HOME=str(folder / "hf_home"), HF_HUB_OFFLINE="1")
    os.environ.update(OMP_NUM_THREADS="1", TQDM_DISABLE="1")
    os.environ["TMPDIR"] = str(folder / "tmp")
    for name in LIBRARIES:
        importlib.import_module(name)


def import_libraries(folder: Path) -> None:
    """Import what the last run has imported, except what lies in the folder, so that the next runs have it."""
    inside = {path.stem for path in folder.rglob("*.py")} | {path.parent.name for path in folder.rglob("*.py")}
    for name in IMPORTED.read_text(encoding="utf-8").split():
        if name.split(".")[0] not in inside and not name.startswith("__"):
            # Some are made by hand and are no files.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    gc.freeze()


def clear_temporary_files() -> None:
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os.makedirs(os.environ["TMPDIR"])
    tempfile.tempdir = None


def write_anew(path: str, code: str) -> None:
    """Write a file with a time that it never had, so that Python compiles it and uses no code that it has kept."""
    Path(path).write_text(code, encoding="utf-8")
    os.utime(path, (0, next(TIMES)))


def known_equivalents() -> dict[tuple[str, str, str], str]:
    """Return (module, line before, line after) -> the reason why nobody could notice."""
    rows = [line.split("\t") for line in EQUIVALENTS.read_text(encoding="utf-8").splitlines()[1:]]
    return {(module, before, after): reason for module, before, after, reason in rows}


def mutate(module: str, sample: int, seed: int) -> dict:
    """
    Mutate one module.

    Returns:
        Counts, the seconds of its tests, and the survivors as (line before, line after).
    """
    code, equivalents = Path(module).read_text(encoding="utf-8"), known_equivalents()
    every = places(code)
    random.Random(seed).shuffle(every)
    chosen = list(itertools.islice(mutants(code, every), sample or None))
    clear_temporary_files()
    started = time.monotonic()
    if outcome(TESTS[module], 600) != "survived":
        raise SystemExit(f"The tests of {module} fail without a mutation: {' '.join(TESTS[module])}")
    seconds = time.monotonic() - started
    import_libraries(Path.cwd())
    # The compiled code of tests and project is kept from this run; that of mutants must not be.
    sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
    counts, survivors = Counter(), []
    changes = [(changed, change(code, changed)) for changed in chosen]
    todo = [(changed, lines) for changed, lines in changes if (module, *lines) not in equivalents]
    counts["equivalent"] = len(chosen) - len(todo)
    timeout = 20 + 3 * seconds
    # The first two are no mutants: nothing else may fail in this way of running the tests.
    found = outcomes(module, [code, code, *(changed for changed, _ in todo)], timeout)
    quick = found[2:]
    if found[:2] != ["survived", "survived"]:
        print(f"{module}: its tests cannot be run again after they are collected; each mutant imports them anew.")
        quick = []
    for path in copies(module):
        write_anew(path, code)
    for (changed, lines), found in itertools.zip_longest(todo, quick, fillvalue="survived"):
        if found == "survived":
            for path in copies(module):
                write_anew(path, changed)
            clear_temporary_files()
            tests = tests_to_run(code, changed, anew=True) if quick else TESTS[module]
            found = outcome(tests, timeout) if tests else "survived"
        counts[found] += 1
        if found == "survived":
            survivors.append(lines)
            print(f"{module}, a mutant survived\n- {lines[0]}\n+ {lines[1]}", flush=True)
    for path in copies(module):
        write_anew(path, code)
    sys.dont_write_bytecode = False
    del os.environ["PYTHONDONTWRITEBYTECODE"]
    killed = counts["killed"] + counts["timeout"]
    return {
        "places": len(every),
        "tried": len(chosen),
        "killed": killed,
        "timeouts": counts["timeout"],
        "survived": counts["survived"],
        "equivalent": counts["equivalent"],
        "score": killed / max(1, killed + counts["survived"]),
        "tests_s": seconds,
        "survivors": survivors,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="+", default=[*TESTS], choices=TESTS, metavar="FILE")
    parser.add_argument("--sample", type=int, default=0, help="mutants of each module, drawn by the seed; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_file", default="outputs/mutants.json")
    options = parser.parse_args()
    output = Path(options.output_file).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for module in options.modules:
            results[module] = found = mutate(module, options.sample, options.seed)
            output.write_text(json.dumps(results, indent=2), encoding="utf-8")
            print(
                f"{module}: {found['tried']} mutants at {found['places']} places, {found['killed']} killed, "
                f"{found['survived']} survived, {found['equivalent']} equivalent: {found['score']:.1%}",
                flush=True,
            )
        os.chdir(ROOT)
    return int(any(found["score"] < SCORE for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
