"""How a run begins: whether the folder can be used, what is needed is there, and the settings are those it has."""

import importlib.metadata
import importlib.util
import json
import shutil
from pathlib import Path

import xxhash

from conclip.negation.grammar.maker import SPACY_MODEL
from conclip.negation.pipeline.arguments import WORK, NegateArguments, NegateError, row_settings
from conclip.negation.pipeline.source import Source
from conclip.negation.pipeline.work import replace

SETTINGS_FILE = "settings.json"


def check_folder(output: Path, overwrite: bool) -> None:
    """Refuses a folder of the user's, and removes one of ours that is to be replaced."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if read_settings(output) is None:
        raise NegateError(f"{output} was not written by this command and is left alone: choose another --output_dir.")
    if overwrite:
        shutil.rmtree(output)


def check_maker(arguments: NegateArguments) -> None:
    """Finds out before anything is written whether what the processes load is there."""
    # Looked for, not loaded: that takes seconds, in every process.
    if not all(map(importlib.util.find_spec, ("spacy", SPACY_MODEL))):
        raise NegateError(f'the grammar maker needs spaCy and its model {SPACY_MODEL}: pip install "conclip[negate]".')
    if arguments.tokenizer_name:
        from transformers import AutoTokenizer

        try:
            AutoTokenizer.from_pretrained(arguments.tokenizer_name)
        except (OSError, ValueError) as error:
            line = str(error).strip().splitlines()[0]
            raise NegateError(f"--tokenizer_name {arguments.tokenizer_name}: {line}") from error


def read_settings(output: Path) -> dict | None:
    try:
        settings = json.loads((output / SETTINGS_FILE).read_text(encoding="utf-8"))
        return settings if settings["written_by"] == "conclip.negation" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def begin(output: Path, arguments: NegateArguments, source: Source) -> dict:
    """Writes the settings, or compares them with those the folder was begun with."""
    rules = xxhash.xxh3_64()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        rules.update(path.read_bytes())
    settings = {
        "written_by": "conclip.negation",
        **row_settings(arguments),
        "captions": source.num_captions,
        "captions_digest": source.digest,
        "spacy": importlib.metadata.version("spacy"),
        "code": rules.hexdigest(),
    }
    before = read_settings(output)
    if before is not None and before != settings:
        name = next(name for name in {**before, **settings} if before.get(name) != settings.get(name))
        raise NegateError(
            f"{output} was begun with other settings ({name}: {before.get(name)}, now {settings.get(name)}): repeat "
            "them, choose another --output_dir, or start anew with --overwrite_output_dir."
        )
    for folder in (output / "data", output / WORK):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("unfinished-*"):
            path.unlink()
    if before is None:
        write_json(output / SETTINGS_FILE, settings)
    return settings


def write_json(path: Path, content: dict) -> None:
    replace(path, (json.dumps(content, indent=2) + "\n").encode())
