"""The folder that is written: whether it is ours, and the settings with which it was begun."""

import importlib.metadata
import json
import shutil
from pathlib import Path

import xxhash

from conclip.atomic_write import UNFINISHED, write_atomically
from conclip.errors import UsageError
from conclip.folder_lock import LOCK_FILE
from conclip.negation.pipeline.source import Source

SETTINGS_FILE = "settings.json"
# Below the folder that is written: what is needed until it is finished.
WORK = ".work"
WRITTEN_BY = "conclip negate"


def check_folder(output: Path) -> None:
    """
    Refuse a folder with files of somebody else.

    Raises:
        UsageError: the folder holds something that this command did not write.
    """
    if output.is_dir() and _content(output) and read_settings(output) is None:
        raise UsageError(f"{output} was not written by this command and is left alone: choose another --output_dir.")


def empty_folder(output: Path) -> None:
    """Remove what this command wrote to a folder; last the settings, which say that it did."""
    for path in sorted(_content(output), key=lambda path: path.name == SETTINGS_FILE):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _content(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != LOCK_FILE]


def read_settings(output: Path) -> dict | None:
    """Return the settings with which a folder was begun; None if this command did not begin it."""
    try:
        settings = json.loads((output / SETTINGS_FILE).read_text(encoding="utf-8"))
        return settings if settings["written_by"] == WRITTEN_BY else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def begin(output: Path, source: Source, settings: dict) -> dict:
    """
    Write the settings, or compare them with those with which the folder was begun.

    Raises:
        UsageError: the settings differ.
    """
    settings = {
        "written_by": WRITTEN_BY,
        **settings,
        "captions": source.num_captions,
        "captions_digest": source.digest,
        **rules(),
    }
    before = read_settings(output)
    if before is not None and before != settings:
        name = next(name for name in {**before, **settings} if before.get(name) != settings.get(name))
        raise UsageError(
            f"{output} was begun with other settings ({name}: {before.get(name)}, now {settings.get(name)}): repeat "
            "them, choose another --output_dir, or replace the folder with --overwrite."
        )
    for folder in (output / "data", output / WORK):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"{UNFINISHED}*"):
            path.unlink()
    if before is None:
        write_json(output / SETTINGS_FILE, settings)
    return settings


def rules() -> dict[str, str]:
    """Return what negations depend on besides the settings: the version of spaCy, our code and our word lists."""
    code = xxhash.xxh3_64()
    for path in sorted(Path(__file__).parents[1].rglob("*.*")):
        if path.suffix in (".py", ".tsv", ".txt"):
            code.update(path.read_bytes())
    return {"spacy": importlib.metadata.version("spacy"), "code": code.hexdigest()}


def write_json(path: Path, content: dict) -> None:
    """Write a file of JSON, whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
