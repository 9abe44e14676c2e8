"""`conclip convert`: checkpoints of OpenAI, open_clip, CoN-CLIP and NegCLIP to a Hugging Face folder, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conclip.atomic_write import writable_folder, write_atomically
from conclip.cli import Parser, option
from conclip.errors import UsageError
from conclip.folder_lock import in_use
from conclip.runtime import run_command

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TARGETS = ("transformers", "openai", "open_clip")
OPENAI_FILE, OPEN_CLIP_FILE, OPEN_CLIP_CONFIG = "model.pt", "open_clip_model.safetensors", "open_clip_config.json"


@dataclass
class ConvertArguments:
    model_name_or_path: str = option(
        help="file of a checkpoint; with --to openai or open_clip, folder or Hub id of a CLIP model"
    )
    output_dir: str = option(help="folder to write")
    to: str = option("transformers", "layout of the result", choices=TARGETS)
    tokenizer: str = option(
        "openai/clip-vit-base-patch32", "folder or Hub id of the tokenizer, which checkpoint files do not hold"
    )
    hidden_act: str | None = option(
        None,
        "activation of a checkpoint, which its weights do not show; by default, that of open_clip_config.json beside "
        "the file, or else quick_gelu",
        choices=("quick_gelu", "gelu"),
    )
    dtype: str = option("float32", "type of the weights in the result", choices=("float32", "float16"))
    revision: str | None = option(None, "branch, tag or commit of the model on the Hub")
    overwrite: bool = option(False, "replace the model in --output_dir")


PARSER = Parser(
    {"Options": ConvertArguments},
    prog="conclip convert",
    description="""Convert a checkpoint of OpenAI's CLIP, open_clip, CoN-CLIP's authors or NegCLIP (.pt, .pth, .bin,
.safetensors, also TorchScript) to a folder that from_pretrained loads, or a CLIP model back:
  --to openai     model.pt, for clip.load
  --to open_clip  open_clip_model.safetensors and open_clip_config.json, for open_clip's local-dir: and hf-hub:""",
    example="conclip convert --model_name_or_path ViT-B-32.pt --output_dir clip-vit-base-patch32",
)


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(argv), interrupted="Interrupted. No file is incomplete.")


def run(argv: list[str] | None) -> None:
    (options,) = PARSER.parse(argv)
    _check_options(options)
    output_dir = Path(options.output_dir)
    with in_use(output_dir, beside=True):
        if options.to == "transformers":
            source = Path(options.model_name_or_path)
            convert_checkpoint(source, output_dir, options.tokenizer, options.hidden_act, options.dtype)
        else:
            export_model(options.model_name_or_path, output_dir, options.to, options.dtype, options.revision)


def _check_options(options: ConvertArguments) -> None:
    source, is_file = options.model_name_or_path, Path(options.model_name_or_path).is_file()
    if options.to == "transformers":
        if not is_file:
            raise UsageError(
                f"--model_name_or_path {source}: there is no such file; for a folder or Hub id, add --to openai or "
                "--to open_clip."
            )
        PARSER.without_effect(["revision"], f"on the file {source}")
        written = "config.json"
    else:
        if is_file:
            raise UsageError(f"--to {options.to} takes a folder or Hub id, and {source} is a file: convert it first.")
        PARSER.without_effect(["tokenizer", "hidden_act"], f"with --to {options.to}")
        written = OPENAI_FILE if options.to == "openai" else OPEN_CLIP_FILE
    if (Path(options.output_dir) / written).exists() and not options.overwrite:
        raise UsageError(
            f"--output_dir {options.output_dir}: holds a model ({written}); add --overwrite to replace it."
        )


def convert_checkpoint(
    path: Path,
    output_dir: Path,
    tokenizer: str = "openai/clip-vit-base-patch32",
    hidden_act: str | None = None,
    dtype: str = "float32",
) -> None:
    """
    Write a folder with model, processor and tokenizer from the file of a checkpoint.

    Args:
        path: what `read_weights` reads, under the names of OpenAI's code; `open_clip_config.json` beside it is used.
        tokenizer: folder or Hub id.
        hidden_act: "quick_gelu" or "gelu"; see `ConvertArguments`.
        dtype: "float32" or "float16".

    Raises:
        UsageError: the file holds no CLIP, or the tokenizer cannot be loaded or belongs to another model.
    """
    # Imported late: --help and a mistyped option are answered without these libraries.
    import torch
    from transformers import CLIPImageProcessorPil, CLIPProcessor

    from conclip.models.checkpoint_files import read_weights
    from conclip.models.clip import require_fitting_processor
    from conclip.models.openai_layout import checked_weights, encoder_sizes, to_transformers
    from conclip.models.saving import save_model
    from modeling_conclip import ConCLIPConfig, ConCLIPModel

    subject = str(path)
    weights = checked_weights(read_weights(path), subject)
    model_cfg, preprocess_cfg = _open_clip_config(path.with_name(OPEN_CLIP_CONFIG))
    text, vision, width = encoder_sizes(weights, model_cfg, subject)
    if hidden_act is None:
        hidden_act = "quick_gelu" if model_cfg.get("quick_gelu", not model_cfg) else "gelu"
    tokens = _load_tokenizer(tokenizer)
    if tokens.eos_token_id != text["vocab_size"] - 1:
        raise UsageError(
            f"--tokenizer {tokenizer}: ends a text with token {tokens.eos_token_id}, but {path} with its last, "
            f"{text['vocab_size'] - 1}: the tokenizer belongs to another model."
        )
    ids = {f"{name}_token_id": getattr(tokens, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = ConCLIPConfig(
        text_config={**text, **ids, "hidden_act": hidden_act, "projection_dim": width},
        vision_config={**vision, "hidden_act": hidden_act, "projection_dim": width},
        projection_dim=width,
    )
    tokens.model_max_length = text["max_position_embeddings"]
    size = vision["image_size"]
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}, **preprocess_cfg
    )
    processor = CLIPProcessor(image_processor=image_processor, tokenizer=tokens)
    model = ConCLIPModel(config)
    renamed = to_transformers(weights)
    for name, expected in model.state_dict().items():
        if renamed[name].shape != expected.shape:
            raise UsageError(
                f"{path}: its weights do not fit together: {name} has shape {tuple(renamed[name].shape)}, and the "
                f"other weights need {tuple(expected.shape)}."
            )
    require_fitting_processor(processor, config, subject)
    model.load_state_dict(renamed)
    save_model(model.to(getattr(torch, dtype)), processor, writable_folder(output_dir))
    print(
        f"ViT of {vision['num_hidden_layers']} layers, width {vision['hidden_size']}, patches of "
        f"{vision['patch_size']} and images of {size} pixels, with {hidden_act}: {output_dir}"
    )


def export_model(
    model_name_or_path: str, output_dir: Path, to: str, dtype: str = "float32", revision: str | None = None
) -> None:
    """
    Write the weights of a CLIP model as OpenAI's `clip.load` or open_clip reads them.

    Args:
        model_name_or_path: folder or Hub id.
        to: "openai" or "open_clip".
        dtype: "float32" or "float16".
        revision: branch, tag or commit on the Hub.

    Raises:
        UsageError: the model cannot be loaded, or the other code cannot compute it.
    """
    import json

    import torch
    from safetensors.torch import save

    from conclip.hub import use_cache_without_network
    from conclip.models.clip import load_model
    from conclip.models.openai_layout import (
        from_transformers,
        open_clip_model_cfg,
        require_exportable,
        torchscript_archive,
    )

    use_cache_without_network([model_name_or_path])
    model, processor = load_model(model_name_or_path, revision)
    subject = f"--model_name_or_path {model_name_or_path}"
    require_exportable(model.config, to, subject)
    weights = from_transformers(model.to(getattr(torch, dtype)).state_dict(), model.config)
    writable_folder(output_dir)
    if to == "openai":
        write_atomically(output_dir / OPENAI_FILE, torchscript_archive(weights))
        print(f'clip.load("{output_dir / OPENAI_FILE}")')
        return
    images = processor.image_processor
    preprocess_cfg = {
        "mean": list(images.image_mean),
        "std": list(images.image_std),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    config = {"model_cfg": open_clip_model_cfg(model.config), "preprocess_cfg": preprocess_cfg}
    write_atomically(output_dir / OPEN_CLIP_FILE, save(weights))
    write_atomically(output_dir / OPEN_CLIP_CONFIG, f"{json.dumps(config, indent=2)}\n".encode())
    print(f'open_clip.create_model_and_transforms("local-dir:{output_dir}")')


def _load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    from transformers import CLIPTokenizer

    from conclip.hub import use_cache_without_network

    use_cache_without_network([name_or_path])
    try:
        tokenizer = CLIPTokenizer.from_pretrained(name_or_path)
    # A missing file, no network, a folder of something else: each has its own type of error.
    except Exception as error:
        tokenizer = None
        cause = error
    else:
        cause = None
    # If the files are missing, transformers makes a tokenizer that knows only the special tokens.
    if tokenizer is None or len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise UsageError(
            f"--tokenizer {name_or_path} cannot be loaded: without a network, name a folder with vocab.json and "
            "merges.txt of CLIP's tokenizer; the folder of any CLIP model has them."
        ) from cause
    return tokenizer


def _open_clip_config(path: Path) -> tuple[dict, dict]:
    """Return `model_cfg` and what to change in CLIP's image processor; both are empty if there is no such file."""
    import json

    if not path.is_file():
        return {}, {}
    try:
        content = json.loads(path.read_text("utf-8"))
        model_cfg, preprocess = content["model_cfg"], content.get("preprocess_cfg", {})
        # Read here, so that a damaged file is reported as such.
        parts = [model_cfg.get("vision_cfg", {}).get("layers"), model_cfg.get("text_cfg", {}).get("layers")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as a config of open_clip: download it again.") from error
    if not all(isinstance(layers, int) for layers in parts):
        raise UsageError(f"{path} describes no CLIP with a vision transformer.")
    steps = {"interpolation": "bicubic", "resize_mode": "shortest"}
    for name, value in steps.items():
        if preprocess.get(name, value) != value:
            raise UsageError(f"{path}: `{name}` is {preprocess[name]!r}, and CLIP's image processor has {value!r}.")
    names = {"mean": "image_mean", "std": "image_std"}
    return model_cfg, {ours: preprocess[theirs] for theirs, ours in names.items() if preprocess.get(theirs)}
