"""`conclip export`: a CLIP model as ONNX, in a folder that Transformers.js reads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from conclip.atomic_write import UNFINISHED, as_size, remove, reporting_write_errors, require_room, writable_folder
from conclip.cli import Parser, option
from conclip.errors import UsageError
from conclip.folder_lock import in_use
from conclip.model_folders import require_folder
from conclip.runtime import run_command

LARGEST_DIFFERENCE = 1e-4


@dataclass
class ExportArguments:
    model_name_or_path: str = option(help="folder or Hub id of a CLIP model")
    output_dir: str = option(help="folder to write")
    quantize: bool = option(False, "also write files with 8-bit weights, which are smaller and less exact")
    revision: str | None = option(None, "branch, tag or commit of the model on the Hub")
    overwrite: bool = option(False, "replace the model in --output_dir")


PARSER = Parser(
    {"Options": ExportArguments},
    prog="conclip export",
    description="""Write a CLIP model as ONNX, in a folder that Transformers.js reads:
  onnx/text_model.onnx, onnx/vision_model.onnx  an encoder each, with its projection
  onnx/model.onnx                               both, and the logits
and config, tokenizer and image processor. The embeddings are compared with PyTorch's.""",
    example="conclip export --model_name_or_path outputs/mine --output_dir mine-onnx",
)


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(argv), interrupted="Interrupted. No file is incomplete.")


def run(argv: list[str] | None) -> None:
    (options,) = PARSER.parse(argv)
    source, output_dir = options.model_name_or_path, Path(options.output_dir)
    if Path(source).is_dir():
        PARSER.without_effect(["revision"], f"on the local folder {source}")
    # Before --overwrite is asked for, which would not help.
    if Path(source).is_dir() and output_dir.resolve() == Path(source).resolve():
        raise UsageError(f"--output_dir {output_dir} is the model's own folder: choose another.")
    if any((output_dir / name).exists() for name in ("config.json", "onnx")) and not options.overwrite:
        raise UsageError(f"--output_dir {output_dir}: holds a model; add --overwrite to replace it.")
    with in_use(output_dir, beside=True):
        export_onnx(source, output_dir, options.quantize, options.revision)


def export_onnx(
    model_name_or_path: str, output_dir: Path, quantize: bool = False, revision: str | None = None
) -> dict[str, float]:
    """
    Write the folder that `PARSER` describes, with a line of output for each ONNX file.

    Args:
        model_name_or_path: folder or Hub id.
        quantize: whether `onnx/*_quantized.onnx` are written too.
        revision: branch, tag or commit on the Hub.

    Returns:
        Name of each ONNX file -> largest difference of L2-normalised embeddings from PyTorch's.

    Raises:
        UsageError: a package or the model is missing, a file would be larger than ONNX allows, or its embeddings
            differ from PyTorch's by more than 1e-4.
    """
    require_folder(model_name_or_path, f"--model_name_or_path {model_name_or_path}")
    require_onnx()
    # Imported late: --help, a mistyped option and a missing package are answered without these libraries.
    from conclip.hub import use_cache_without_network
    from conclip.models import onnx_files
    from conclip.models.clip import load_model
    from conclip.models.saving import save_processor, weights_bytes

    use_cache_without_network([model_name_or_path])
    model, processor = load_model(model_name_or_path, revision)
    # Its mask is the same for all masked tokens, and each exporter of torch knows it.
    model.set_attn_implementation("eager")
    size = weights_bytes(model)
    if size > onnx_files.LARGEST_FILE:
        raise UsageError(
            f"--model_name_or_path {model_name_or_path}: its weights take {as_size(size)}, and an ONNX file holds at "
            f"most {as_size(onnx_files.LARGEST_FILE)}: export a smaller model."
        )
    # Both encoders are in two files.
    needed = int(2 * size * (1.3 if quantize else 1))
    writable_folder(output_dir)
    unfinished = output_dir / f"{UNFINISHED}export"
    remove(unfinished)
    require_room(output_dir, needed)
    try:
        with reporting_write_errors(output_dir, needed):
            (unfinished / "onnx").mkdir(parents=True)
            differences = _write_encoders(model.eval(), unfinished / "onnx", quantize)
            _write_config(model.config, unfinished)
            save_processor(processor, unfinished)
            # Files of an earlier export that this one does not write.
            remove(output_dir / "onnx")
            for path in sorted(unfinished.iterdir()):
                os.replace(path, output_dir / path.name)
    finally:
        remove(unfinished)
    return differences


def require_onnx() -> None:
    """
    Check that the packages of the extra `onnx` are installed.

    Raises:
        UsageError: one is missing.
    """
    absent = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if absent:
        raise UsageError(f'conclip export needs {", ".join(absent)}: pip install "conclip[onnx]".')


def _write_encoders(model, folder: Path, quantize: bool) -> dict[str, float]:
    from conclip.models import onnx_files

    differences = {}
    for encoder_class in (onnx_files.TextEncoder, onnx_files.ImageEncoder, onnx_files.BothEncoders):
        encoder = encoder_class(model).eval()
        content = onnx_files.to_onnx(encoder, model.config)
        path = folder / f"{encoder.name}.onnx"
        path.write_bytes(content)
        written = [path]
        if quantize:
            written.append(folder / f"{encoder.name}_quantized.onnx")
            onnx_files.quantize(content, written[1])
        for file in written:
            found = differences[file.name] = onnx_files.difference(file, encoder, model.config)
            if file is path and not found <= LARGEST_DIFFERENCE:
                raise UsageError(
                    f"{file.name}: the embeddings of onnxruntime differ from PyTorch's by {found:.1e}, so nothing was "
                    "written; upgrade torch, onnxscript and onnxruntime."
                )
            size = as_size(file.stat().st_size)
            print(f"onnx/{file.name}: {size}, its embeddings differ from PyTorch's by at most {found:.1e}")
    return differences


def _write_config(config, folder: Path) -> None:
    """Write CLIP's own fields: those of ConCLIP are about training, and its code is not in this folder."""
    from transformers import CLIPConfig

    plain = CLIPConfig(
        text_config=config.text_config.to_dict(),
        vision_config=config.vision_config.to_dict(),
        projection_dim=config.projection_dim,
        logit_scale_init_value=config.logit_scale_init_value,
        architectures=["CLIPModel"],
    )
    # Transformers.js takes the 8-bit files in a browser otherwise, which may not be there.
    setattr(plain, "transformers.js_config", {"dtype": "fp32"})
    plain.save_pretrained(folder)
