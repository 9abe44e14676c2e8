"""Code blocks of Markdown files, and the commands in them run in this process: helpers, not a test."""

import importlib
import re
import shlex
import signal
from dataclasses import dataclass
from pathlib import Path

from accelerate.commands.launch import launch_command_parser
from accelerate_state import reset_accelerate
from torch.distributed.run import get_args_parser as torchrun_parser

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCRIPTS = {
    "app.py": "app",
    "train_accelerate.py": "train_accelerate",
    "evaluate/run_benchmarks.py": "conclip.evaluation.run",
}


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


def code_blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1) for match in FENCE.finditer(text)]


def commands(script: str) -> list[list[str]]:
    """The words of each command of a bash block, which has nothing but commands, comments and `&&`."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            found.append(words[: words.index("&&")])
            words = words[words.index("&&") + 1 :]
        found.append(words)
    return [words for words in found if words]


def entry_point(words: list[str]) -> tuple[str, list[str]]:
    """
    What a command runs: "conclip", or the name of a module with a `main`; and the arguments that it gets.

    Raises:
        AssertionError, SystemExit: something unknown, or an option that the launcher does not have.
    """
    if words[:2] == ["accelerate", "launch"] or words[0] == "torchrun":
        launcher, options = (
            (torchrun_parser, words[1:]) if words[0] == "torchrun" else (launch_command_parser, words[2:])
        )
        launched = launcher().parse_args(options)
        start = ["python", "-m"] if launched.module else ["python"]
        return entry_point([*start, launched.training_script, *launched.training_script_args])
    if words[0] == "conclip":
        return "conclip", words[1:]
    if words[:3] == ["python", "-m", "conclip"]:
        return "conclip", words[3:]
    assert words[0] == "python", words
    if words[1] == "-m":
        return words[2], words[3:]
    return SCRIPTS[words[1]], words[2:]


def run_command(words: list[str], extra: list[str]) -> None:
    """
    Run a command in this process, in the working directory, as the shell would start it.

    Args:
        words: words with `*` stand for the paths they match.
        extra: arguments that are added, to make it small; the last of an option that is given twice counts.
    """
    name, arguments = entry_point(words)
    expanded = []
    for argument in arguments:
        paths = sorted(map(str, Path().glob(argument))) if "*" in argument else [argument]
        assert paths, f"{argument} matches nothing"
        expanded += paths
    main = importlib.import_module("conclip.__main__" if name == "conclip" else name).main
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    reset_accelerate()
    try:
        assert main([*expanded, *extra]) in (0, None), f"{shlex.join(words)} failed"
    finally:
        reset_accelerate()
        for number, handler in handlers.items():
            signal.signal(number, handler)
