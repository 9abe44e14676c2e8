"""Runs of evaluate/run_benchmarks.py small enough for a test: helpers, not a test."""

import json
import signal
from pathlib import Path

from accelerate_state import reset_accelerate

from conclip.evaluation.run import main


def run(argv: list[str]) -> int:
    """Run `main` as if in a new process: accelerate keeps its state for the whole process otherwise."""
    reset_accelerate()
    handler = signal.getsignal(signal.SIGINT)
    try:
        return main(argv)
    finally:
        signal.signal(signal.SIGINT, handler)
        reset_accelerate()


def command(models: list, benchmarks: list[str], data_dir: Path, output_dir: Path, **options) -> list[str]:
    """Return the arguments of a run, by default with a new cache; `True` gives a bare flag."""
    options = {"embedding_cache_dir": output_dir / "cache", **options}
    argv = ["--model_name_or_path", *map(str, models), "--benchmarks", *benchmarks, "--data_dir", str(data_dir)]
    argv += ["--output_dir", str(output_dir)]
    for name, value in options.items():
        values = [] if value is True else value if isinstance(value, list) else [value]
        argv += [f"--{name}", *map(str, values)]
    return argv


def evaluate_models(*inputs, **options) -> None:
    assert run(command(*inputs, **options)) == 0


def refusal(models, benchmarks, data_dir, output_dir, capsys, **options) -> str:
    """Return the error of a run that must fail: one sentence after "Error: ", and no traceback."""
    capsys.readouterr()
    assert run(command(models, benchmarks, data_dir, output_dir, **options)) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    assert len(errors) == 1 and errors[0] == lines[-1] and "Traceback" not in "".join(lines), lines
    return errors[0].removeprefix("Error: ")


def report_of(output_dir: Path, label: str | None = None, whole_rows: bool = False) -> dict:
    """Return (benchmark, metric, part) -> the value of a model, the first by default, or the whole row."""
    report = json.loads((output_dir / "benchmarks.json").read_text())
    label = label or next(iter(report["models"]))
    return {
        (row["benchmark"], row["metric"], row["part"]): row if whole_rows else row["values"][label]
        for row in report["rows"]
    }


def samples_of(output_dir: Path, label: str, benchmark: str) -> list[dict]:
    path = output_dir / "samples" / label / f"{benchmark}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]
