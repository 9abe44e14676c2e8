"""Names of models, data and commands that may be published: without the paths of this machine."""

import os
from pathlib import Path


def is_local(name_or_path: str) -> bool:
    """Return whether a name is that of a local file or folder, or can be nothing else, and not an id on the Hub."""
    path = Path(name_or_path).expanduser()
    return path.is_absolute() or name_or_path.startswith((".", "~")) or path.exists()


def public_name(name_or_path: str) -> str:
    """Return a name that may be published: an id on the Hub as it is, of a local path the last part."""
    return Path(name_or_path).expanduser().resolve().name if is_local(name_or_path) else name_or_path


def public_command(words: list[str]) -> list[str]:
    """Return a command without local paths: of each path, also one in `--option=path`, the last part."""
    shortened = []
    for word in words:
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
