"""Save a model with its processor, as all versions of transformers and other programs read them."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from peft import PeftModel
from transformers import CLIPModel, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.utils import cached_file

from conclip.atomic_write import UNFINISHED, remove, reporting_write_errors, require_room
from conclip.models.clip import tokenizer_of, unwrap_lora
from conclip.public_names import public_name, without_paths
from modeling_conclip import ConCLIPModel

# What the tokenizers and image processors of transformers read.
PROCESSOR_FILES = (
    "*token*.json",
    "*processor_config.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.bpe",
    "*.spm",
)


def save_model(
    model: PreTrainedModel | PeftModel,
    processor: ProcessorMixin | PreTrainedTokenizerBase,
    output_dir: Path,
    stale: Iterable[str] = (),
    base_model: str | None = None,
    adapter_card: str | None = None,
) -> PreTrainedModel:
    """
    Write a folder that `from_pretrained` loads; other files in it stay, and each new file is renamed into place.

    A model with LoRA adapters is written twice: `adapter/` for peft, and the merged weights as a plain model. What an
    earlier model left in the folder (`adapter/`, parts of weights, `stale`) is removed before the first new file is
    in its place, and after all new files are written: a full disk leaves the earlier model as it was.

    Args:
        model: a ConCLIP, or a model of another family, which is saved in its own class; the files of its processor are
            copied from where it was loaded, as they are.
        stale: names of files that describe the weights of an earlier run.
        base_model: name of the base model, for the adapters.
        adapter_card: text of adapter/README.md.

    Returns:
        The model that was saved, with adapters merged.

    Raises:
        WriteError: the folder cannot be written to, or the disk is full.
    """
    unfinished, needed = output_dir / f"{UNFINISHED}model", weights_bytes(model)
    remove(unfinished)
    require_room(output_dir, needed)
    try:
        with reporting_write_errors(output_dir, needed):
            if isinstance(model, PeftModel):
                _save_adapter(model, unfinished / "adapter", base_model, adapter_card)
                model = model.merge_and_unload()
            model.save_pretrained(unfinished)
            # transformers 4 wrote where a base model was loaded from into its config, and the configs of its encoders.
            config = unfinished / "config.json"
            _write_json(config, without_paths(json.loads(config.read_text("utf-8"))))
            if isinstance(model, ConCLIPModel):
                save_processor(processor, unfinished)
            else:
                _keep_processor(model, processor, unfinished)
            shutil.rmtree(output_dir / "adapter", ignore_errors=True)
            for path in (*(output_dir / name for name in stale), *output_dir.glob("model-*-of-*.safetensors")):
                path.unlink(missing_ok=True)
            (output_dir / "model.safetensors.index.json").unlink(missing_ok=True)
            for path in sorted(unfinished.iterdir()):
                os.replace(path, output_dir / path.name)
    finally:
        remove(unfinished)
    return model


def weights_bytes(model: torch.nn.Module) -> int:
    """Return how many bytes the weights of a model take on disk; shared ones are written once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in model.state_dict().values()}.values())


def _save_adapter(model: PeftModel, folder: Path, base_model: str | None, card: str | None) -> None:
    model.save_pretrained(folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text("utf-8"))
    # peft writes the path of a local base, and our class, which `AutoPeftModel` cannot import without this package.
    config["base_model_name_or_path"] = base_model or public_name(config["base_model_name_or_path"] or "")
    base = unwrap_lora(model)
    own = CLIPModel if isinstance(base, CLIPModel) else type(base)
    config["auto_mapping"] = {"base_model_class": own.__name__, "parent_library": own.__module__}
    _write_json(path, config)
    if card:
        (folder / "README.md").write_text(card, "utf-8")
    else:
        (folder / "README.md").unlink(missing_ok=True)


def save_processor(processor: ProcessorMixin | PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the files of a processor or tokenizer as transformers 4 and 5 and Transformers.js read them."""
    processor.save_pretrained(folder)
    if hasattr(processor, "image_processor"):
        # transformers 5 writes all into processor_config.json, with which transformers 4 cannot make a processor. Both
        # versions, Transformers.js and others read the image processor from this file.
        path = folder / "processor_config.json"
        settings = json.loads(path.read_text("utf-8"))
        name = {"processor_class": type(processor).__name__}
        _write_json(folder / "preprocessor_config.json", settings["image_processor"] | name)
        _write_json(path, name)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8"))
    # How this run found the tokenizer.
    for name in ("is_local", "local_files_only", "name_or_path"):
        settings.pop(name, None)
    _write_json(path, settings)
    # The tokenizers of transformers 4 that are written in Python read these two.
    tokens = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]
    _write_json(folder / "vocab.json", tokens["vocab"])
    merges = "\n".join(" ".join(pair) if isinstance(pair, list) else pair for pair in tokens["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", "utf-8")


def _keep_processor(model: PreTrainedModel, processor: ProcessorMixin | PreTrainedTokenizerBase, folder: Path) -> None:
    """Copy the files of a processor from where it was loaded with its model; save one that is in memory alone."""
    name = model.config.name_or_path
    if not name or tokenizer_of(processor).name_or_path != name:
        processor.save_pretrained(folder)
        return
    revision = getattr(model.config, "_commit_hash", None)
    source = Path(cached_file(name, "config.json", revision=revision, local_files_only=True)).parent
    for path in {path for pattern in PROCESSOR_FILES for path in source.glob(pattern)}:
        shutil.copyfile(path, folder / path.name)


def _write_json(path: Path, values: dict) -> None:
    path.write_text(f"{json.dumps(values, indent=2, sort_keys=True)}\n", "utf-8")
