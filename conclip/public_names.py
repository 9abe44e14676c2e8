"""Names of models, data and commands that may be published: without the paths of this machine."""

import os
import re
from pathlib import Path

# Where systems keep what belongs to their users.
USERS_FOLDERS = set("home Users root mnt media data scratch tmp var private opt srv Volumes workspace".split())
SYSTEM_FOLDERS = set("bin dev etc lib lib64 proc sbin sys usr".split())
# Not in an address, and not after a word, as in "and/or".
_ABSOLUTE = re.compile(r"(?<![\w.:/~-])(?:~/|/)[^\s\"'`<>()\[\]{}|,;:*?\\]+")
# The options that hold a token.
_TOKENS = re.compile(r"--(?:hub[_-])?token")


def is_local(name_or_path: str) -> bool:
    """Return whether a name is that of a local file or folder, or can be nothing else, and not an id on the Hub."""
    path = Path(name_or_path).expanduser()
    return path.is_absolute() or name_or_path.startswith((".", "~")) or path.exists()


def public_name(name_or_path: str) -> str:
    """Return a name that may be published: an id on the Hub as it is, of a local path the last part."""
    return Path(name_or_path).expanduser().resolve().name if is_local(name_or_path) else name_or_path


def public_command(words: list[str]) -> list[str]:
    """Return a command without tokens and local paths: of each path, also one in `--option=path`, the last part."""
    shortened = []
    for before, word in zip(["", *words], words, strict=False):
        if _TOKENS.fullmatch(before):
            word = "TOKEN"
        elif _TOKENS.fullmatch(word.partition("=")[0]) and "=" in word:
            word = f"{word.partition('=')[0]}=TOKEN"
        option, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
        is_path = os.sep in value and is_local(value)
        shortened.append(f"{option}{equals}{public_name(value) if is_path else value}")
    return shortened


def without_paths(values):
    """Return the same values, at any depth of dicts and lists, with the names of local files and folders alone."""
    if isinstance(values, dict):
        return {name: without_paths(value) for name, value in values.items()}
    if isinstance(values, list):
        return [without_paths(value) for value in values]
    return public_name(values) if isinstance(values, str) and os.sep in values else values


def without_local_paths(text: str) -> str:
    """Return a text in which each absolute path of this machine, or of somebody's home, is its last part."""

    def shorten(match: re.Match) -> str:
        path = match.group()
        parts = path.strip("/").split("/")
        is_of_user = path.startswith("~/") or parts[0] in USERS_FOLDERS
        is_of_user = is_of_user or (parts[0] not in SYSTEM_FOLDERS and Path(path.rstrip(".")).exists())
        return parts[-1] if is_of_user and len(parts) > 1 else path

    return _ABSOLUTE.sub(shorten, text)
