"""Runs of train_accelerate.py small enough for a test: helpers, not a test."""

import json
from pathlib import Path

from accelerate_state import reset_accelerate
from safetensors.torch import load_file
from tiny import save_tiny

import train_accelerate
from dataset_scripts.scenes import Scenes
from modeling_conclip import ConCLIPModel

ROWS = {"train": 50, "test": 12}


def write_dataset(folder: Path) -> Path:
    """Generated scenes as a local folder of Parquet."""
    builder = Scenes(split_sizes=ROWS, cache_dir=str(folder.with_name(f"{folder.name}-cache")), hash="tests")
    builder.download_and_prepare(str(folder), file_format="parquet")
    (folder / "dataset_info.json").unlink()
    return folder


def write_inputs(folder: Path) -> dict[str, str]:
    """A tiny CLIP and a small dataset, as the arguments that name them."""
    save_tiny(folder / "clip", ConCLIPModel)
    return {"model_name_or_path": str(folder / "clip"), "dataset_name": str(write_dataset(folder / "data"))}


def command(inputs: dict, output_dir: Path, **options) -> list[str]:
    """Options as on the command line; `True` gives a bare flag."""
    defaults = {
        "output_dir": output_dir,
        "per_device_train_batch_size": 8,
        "max_steps": 8,
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "logging_steps": 1,
        "eval_steps": 100,
        "report_to": "jsonl",
    }
    if "none" in (inputs.get("eval_split"), options.get("eval_split")):
        del defaults["eval_steps"]
    argv = []
    for name, value in {**inputs, **defaults, **options}.items():
        argv += (
            [f"--{name}"] if value is True else [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
        )
    return argv


def run(argv: list[str]) -> int:
    """Run `main` as if in its own process: accelerate keeps its state for the whole process otherwise."""
    reset_accelerate()
    try:
        return train_accelerate.main(argv)
    finally:
        reset_accelerate()


def results(output_dir: Path) -> dict:
    return json.loads((output_dir / "results.json").read_text())


def log(output_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (output_dir / "metrics.jsonl").read_text().splitlines()]


def weights(output_dir: Path) -> dict:
    return load_file(output_dir / "model.safetensors")


def refusal(argv: list[str], capsys) -> str:
    """Return the message of a run that must fail: one sentence after "Error: ", and no traceback."""
    capsys.readouterr()
    assert run(argv) == 1
    # Progress bars end their lines with carriage returns.
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    assert len(errors) == 1 and errors[0] == lines[-1], lines
    assert not [line for line in lines if "Traceback" in line]
    return errors[0].removeprefix("Error: ")
