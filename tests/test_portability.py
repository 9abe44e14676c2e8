"""What runs on Linux alone is not used without a guard, so that macOS and Windows can import and run the package."""

import ast
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
# The measurements in speed/ are for Linux.
SHIPPED = ["conclip", "dataset_scripts", "modeling_conclip", "evaluate", "train_accelerate.py"]
# Modules and functions that Windows lacks, and the files that use them where they exist.
UNIX = {"fcntl", "grp", "pwd", "resource", "termios"}
UNIX_CALLS = {"fork", "getuid", "mkfifo", "pthread_sigmask", "register_at_fork", "sched_getaffinity", "killpg"}
PROCESSES = {"run", "Popen", "check_output"}
GUARDED = {
    "conclip/embedding/embedding_files.py": {"resource"},
    "conclip/folder_lock.py": {"fcntl"},
    "conclip/runtime.py": {"pthread_sigmask", "register_at_fork"},
    "conclip/embedding/tokens.py": {"register_at_fork"},
}


def files(*names: str) -> list[Path]:
    found = [path for name in names for path in ((ROOT / name).rglob("*.py") if "." not in name else [ROOT / name])]
    assert len(found) > len(names)
    return sorted(found)


def without_encoding(source: str) -> list[str]:
    """Calls that read or write text in the encoding of the machine, which on Windows is not UTF-8."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
        options = {keyword.arg: keyword.value for keyword in call.keywords}
        # Also both of "ab" if started else "wb".
        values = [
            *call.args,
            *(one for value in call.args if isinstance(value, ast.IfExp) for one in (value.body, value.orelse)),
        ]
        texts = [value.value for value in [*values, *options.values()] if isinstance(value, ast.Constant)]
        owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        if name == "read_text" and not call.args or name == "write_text" and len(call.args) < 2:
            lacks = "encoding" not in options
        elif name == "open" and not owner.endswith(("Image", "os", "archive", "zipped")):
            binary = any(isinstance(text, str) and len(text) <= 3 and "b" in text for text in texts)
            lacks = not binary and "encoding" not in options
        else:
            lacks = name in PROCESSES and "text" in options and "encoding" not in options
        if lacks:
            found.append(f"line {call.lineno}: {ast.unparse(call)[:80]}")
    return found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("path.read_text()", 1),
        ("path.write_text(text)", 1),
        ("open(path)", 1),
        ("path.open('a')", 1),
        ("path.open('a' if more else 'w'); path.open('ab' if more else 'wb')", 1),
        ("run(command, text=True)", 1),
        ("path.read_text('utf-8'); path.write_text(text, 'utf-8'); open(path, 'rb'); path.open('ab')", 0),
        ("open(path, encoding='utf-8'); PIL.Image.open(file); run(command, encoding='utf-8')", 0),
    ],
)
def test_the_search_for_encodings_finds_them(source, count):
    assert len(without_encoding(source)) == count


def test_text_files_are_read_and_written_in_utf8():
    found = {str(path): without_encoding(path.read_text("utf-8")) for path in files(*SHIPPED, "speed")}
    assert not {path: lines for path, lines in found.items() if lines}


def test_what_windows_lacks_is_used_where_it_exists():
    used = {}
    for path in files(*SHIPPED):
        names = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names} & UNIX
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module} & UNIX
            elif isinstance(node, ast.Attribute):
                names |= {node.attr} & UNIX_CALLS
        if names:
            used[path.relative_to(ROOT).as_posix()] = names
    assert used == GUARDED


def test_modules_import_without_what_windows_lacks():
    """In a process in which these modules and functions do not exist."""
    # The third one imports torch, which looks for them itself.
    modules = ["conclip.runtime", "conclip.folder_lock", "conclip.embedding.embedding_files"]
    code = f"""
import os, signal, sys
sys.modules.update(dict.fromkeys({sorted(UNIX)!r}))
del os.register_at_fork, os.fork, os.sched_getaffinity, signal.pthread_sigmask
import importlib
for name in {modules!r}:
    importlib.import_module(name)
from conclip.runtime import exit_on_sigterm
exit_on_sigterm()
from conclip.folder_lock import in_use, share, without_readers
from pathlib import Path
with in_use(Path(sys.argv[1])):
    assert share(Path(sys.argv[1])) is None
from conclip.embedding.embedding_files import allow_open_files
allow_open_files(10_000)
"""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    folder = str(Path(os.environ["HF_HOME"]) / "portable")
    subprocess.run([sys.executable, "-c", code, folder], env={**os.environ, "PYTHONPATH": path}, check=True)


def test_the_oldest_versions_are_those_of_setup_py(monkeypatch):
    """Each requirement has a lower bound, but for tools that no result depends on."""
    found = {}
    monkeypatch.setattr(setuptools, "setup", found.update)
    runpy.run_path(str(ROOT / "setup.py"))
    lines = [*found["install_requires"], *found["extras_require"]["test"]]
    bounds = {}
    for requirement in map(Requirement, lines):
        for bound in requirement.specifier:
            assert bound.operator in (">=", "==")
            bounds[requirement.name] = Version(bound.version)
    assert {Requirement(line).name for line in lines} - bounds.keys() == {"ruff"}
    oldest = [line for line in (ROOT / ".ci/oldest.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert {name: Version(version) for name, version in (line.split("==") for line in oldest)} == bounds


def test_the_workflow_runs_every_python_that_setup_py_names():
    text = (ROOT / "setup.py").read_text("utf-8")
    named = {f"3.{minor}" for minor in range(8, 20) if f'Python :: 3.{minor}"' in text}
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    assert named <= set(workflow["jobs"]["check"]["strategy"]["matrix"]["python"])
    assert workflow["jobs"]["oldest"]["steps"][-1]["run"] == "bash .ci/oldest"


# A Python whose environments only say which command is run, with the constraints of the caller.
PYTHON = """#!/usr/bin/env bash
if [ "$1" = -m ]; then
    mkdir "$3/bin"
    for name in pip pytest; do
        cat > "$3/bin/$name" << END
#!/usr/bin/env bash
echo $0 $name "\\$@" "\\${PIP_CONSTRAINT-none}"
END
        chmod +x "$3/bin/$name"
    done
    echo 'PATH="'"$3"'/bin:$PATH"' > "$3/bin/activate"
elif [ "$2" != "" ]; then
    echo VERSION
fi
"""


def command(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def oldest(folder: Path, gigabytes: int = 11, **variables: str) -> subprocess.CompletedProcess:
    """Run .ci/oldest with the Pythons in the folder and this much free disk space. No package is installed."""
    command(folder / "bin/df", f"#!/usr/bin/env bash\necho\necho disk 1 1 {gigabytes * 1024**2} 1% /\n")
    variables = {"PATH": f"{folder / 'bin'}:{os.defpath}", "HOME": str(folder), "TMPDIR": str(folder), **variables}
    script = ["bash", str(ROOT / ".ci/oldest")]
    return subprocess.run(script, env=variables, capture_output=True, encoding="utf-8", timeout=60)


def test_the_oldest_python_that_starts_runs_the_tests(tmp_path):
    pyenv, chosen = tmp_path / ".pyenv/versions/3.10.2/bin/python", tmp_path / "chosen/python"
    command(tmp_path / "bin/python3.10", "#!/usr/bin/env bash\necho not switched on >&2; exit 127\n")
    command(tmp_path / "bin/python3", PYTHON.replace("VERSION", "3.12"))
    ran = oldest(tmp_path, PIP_CONSTRAINT="others.txt")
    arguments = "install --quiet --no-cache-dir -c .ci/oldest.txt -e .[test] none"
    python3 = tmp_path / "bin/python3"
    assert ran.stdout.splitlines() == [
        "The oldest packages are tested with Python 3.12: Python 3.10 was not found.",
        f"{python3} pip {arguments}",
        f"{python3} pytest none",
    ]
    command(pyenv, PYTHON.replace("VERSION", "3.10"))
    assert oldest(tmp_path).stdout.splitlines() == [f"{pyenv} pip {arguments}", f"{pyenv} pytest none"]
    command(chosen, PYTHON.replace("VERSION", "3.10"))
    assert f"{chosen} pytest none" in oldest(tmp_path, PYTHON=str(chosen)).stdout
    # The environment is removed, and a disk on which it has no room is named before anything is installed.
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "chosen", ".pyenv"}
    ran = oldest(tmp_path, gigabytes=9)
    assert (ran.returncode, ran.stdout) == (1, "")
    need = f"{tmp_path} has 9 GB of free disk space, and .ci/oldest needs 10: set TMPDIR to another folder."
    assert ran.stderr.splitlines() == [need]


def test_a_whole_run_ends_with_the_oldest_packages():
    last = (ROOT / ".ci/run").read_text("utf-8").splitlines()[-1]
    assert last.endswith("|| bash .ci/oldest")
