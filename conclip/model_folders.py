"""Folders of models that somebody sent: which file is damaged, and which asks for code."""

import json
from pathlib import Path

from conclip.errors import MORE_THAN_DATA, UsageError, one_line, refuses_pickle
from conclip.public_names import is_local

# Each holds a JSON object.
JSON_FILES = (
    *("config.json", "generation_config.json", "adapter_config.json", "model.safetensors.index.json"),
    *("preprocessor_config.json", "processor_config.json", "tokenizer_config.json", "tokenizer.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json"),
)


def require_folder(model_name_or_path: str, subject: str) -> None:
    """
    Check that a model is not named by the file of a checkpoint.

    Raises:
        UsageError: it is; the message begins with `subject` and names the command that converts it.
    """
    if Path(model_name_or_path).is_file():
        raise UsageError(
            f"{subject} is a file: convert it to a folder first, with conclip convert --model_name_or_path "
            f"{model_name_or_path} --output_dir FOLDER."
        )


def why_not_loaded(model_name_or_path: str, error: Exception) -> str:
    """
    Return why a model could not be loaded: the damaged file and what to do, or else what the library says.

    Args:
        model_name_or_path: folder or Hub id; only the files of a folder are looked at.
        error: what the library raised.
    """
    folder = Path(model_name_or_path)
    if refuses_pickle(error):
        for path in sorted(folder.glob("*.bin")):
            return f"{path} {MORE_THAN_DATA}; ask for weights in .safetensors format."
    if damage := damaged_file(model_name_or_path):
        return damage
    if "PytorchStreamReader" in str(error):
        for path in sorted(folder.glob("*.bin")):
            return f"{path} is cut short or damaged; download it again."
    # A name with one slash may be that of a repository, or of a folder that was mistyped.
    if folder.parent != Path() and folder.parent.is_dir() and not folder.is_dir():
        return f"there is no folder {folder}, and on the Hub: {one_line(error)}"
    return one_line(error)


def is_missing(model_name_or_path: str) -> bool:
    """Return whether a name can only be that of a folder, and there is none."""
    return is_local(model_name_or_path) and not Path(model_name_or_path).is_dir()


def refuse_hub_code(config: dict, subject: str) -> None:
    """
    Check that a model does not have the `kernels` package fetch and run code of another repository for its attention.

    Args:
        config: the content of config.json.

    Raises:
        UsageError: it does; the message begins with `subject`.
    """
    for name, value in config.items():
        if name.endswith("attn_implementation") and "/" in str(value):
            raise UsageError(
                f"{subject} cannot be loaded: {name} in config.json names code on the Hub, {value}, which is not run; "
                "remove this line."
            )
        if isinstance(value, dict):
            refuse_hub_code(value, subject)


def damaged_file(model_name_or_path: str) -> str | None:
    """Return which JSON or safetensors file of a folder is damaged, and what to do; `None` if none is."""
    from safetensors import SafetensorError, safe_open

    folder = Path(model_name_or_path)
    for path in filter(Path.is_file, map(folder.joinpath, JSON_FILES)):
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return f"{path} is not valid JSON; download it again."
        if not isinstance(content, dict):
            return f"{path} does not hold a JSON object; download it again."
    for path in filter(Path.is_file, sorted(folder.glob("*.safetensors"))):
        try:
            with safe_open(path, framework="numpy"):
                pass
        except SafetensorError as error:
            return f"{path} is cut short or damaged ({one_line(error)}); download it again."
    return None
