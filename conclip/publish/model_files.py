"""Models and LoRA adapters: whether they are complete, and their cards."""

import json
from pathlib import Path

from conclip.errors import UsageError
from conclip.model_folders import damaged_file
from conclip.publish.contents import ADAPTERS, CARD_FILE, MODEL, Contents

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
# `conclip.training.card` writes these.
RESULTS_FILE, PATH_TO_ADAPTER = "results.json", '"path/to/adapter"'


def check_model(folder: Path, contents: Contents) -> None:
    """
    Check that all files that `from_pretrained` reads are there and whole.

    Raises:
        UsageError: a file is damaged or missing.
    """
    if damage := damaged_file(str(folder)) or damaged_file(str(folder / "adapter")):
        raise UsageError(damage)
    wanted = {ADAPTER_WEIGHTS} if contents.kind == ADAPTERS else {WEIGHTS}
    if contents.kind == MODEL:
        if INDEX in contents.files:
            wanted = set(_read_json(folder / INDEX).get("weight_map", {}).values())
        wanted |= _code_files(_read_json(folder / "config.json"))
    if any(name.startswith("adapter/") for name in contents.files):
        wanted |= {f"adapter/{ADAPTER_CONFIG}", f"adapter/{ADAPTER_WEIGHTS}"}
    missing = sorted(wanted - contents.files.keys())
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise UsageError(f"{folder} is not complete: {', '.join(missing)} {are} missing: save the model again.")


def name_model(folder: Path, contents: Contents, repo_id: str) -> None:
    """Write the name of the repository into the snippets of the cards."""
    own = folder.resolve().name
    if RESULTS_FILE in contents.files:
        described = _read_json(folder / RESULTS_FILE).get("model")
        own = (described or {}).get("repository", own) if isinstance(described, dict | None) else own
    names = {PATH_TO_ADAPTER: json.dumps(repo_id)}
    # As the card's snippets have it.
    names |= {f"{start}{json.dumps(own)}": f"{start}{json.dumps(repo_id)}" for start in ("model=", "name = ")}
    names_of_part = {PATH_TO_ADAPTER: f'{json.dumps(repo_id)}, subfolder="adapter"'}
    for name, replaced in ((CARD_FILE, names), (f"adapter/{CARD_FILE}", names_of_part)):
        if name in contents.files:
            contents.edit(name, lambda text, replaced=replaced: replace_all(text, replaced))


def replace_all(text: str, replaced: dict[str, str]) -> str:
    """Return a text with each key replaced by its value."""
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


def _code_files(config: dict) -> set[str]:
    """Return the files of code beside the weights that config.json names, e.g. {"modeling_conclip.py"}."""
    named = config.get("auto_map")
    values = named.values() if isinstance(named, dict) else ()
    references = [one for value in values for one in (value if isinstance(value, list) else [value])]
    # "owner/name--file.Class" is code of another repository.
    return {f"{one.rpartition('.')[0]}.py" for one in references if isinstance(one, str) and "--" not in one}


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON: write it again.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} does not hold a JSON object: write it again.")
    return content
