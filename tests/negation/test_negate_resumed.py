"""`conclip negate`, stopped in the middle: nothing is lost, and every file is as of one run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from negate_runs import contents, write_source

from conclip.negation import negator
from conclip.negation.pipeline import output as output_module
from conclip.negation.pipeline import run

pytest_plugins = ["negate_runs"]
REPOSITORY = Path(__file__).resolve().parents[2]


def test_other_numbers_of_processes_and_a_kill_give_the_same_files(folder, source, tmp_path):
    """Killed for good as soon as a shard is there; gone on with, with two processes; every file as of one run."""
    output = tmp_path / "out"
    program = (
        "import sys\nfrom conclip.negation import negator\n"
        "from conclip.negation.pipeline.command import main\n"
        "negator.BATCH = 16\nif __name__ == '__main__':\n    sys.exit(main(sys.argv[1:]))\n"
    )
    script = tmp_path / "negate.py"
    script.write_text(program)
    options = ["--captions_per_shard", "32", "--objects_column", "labels", "--num_proc", "2"]
    command = [sys.executable, str(script), "--dataset_name", str(source), "--output_dir", str(output), *options]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    while not list(output.glob("data/train-*.parquet")):
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (output / "README.md").exists() and (output / ".work").is_dir()
    kept = {
        path: path.stat().st_mtime_ns
        for path in output.glob("data/train-*.parquet")
        if (output / ".work" / f"{path.stem}.json").exists()
    }
    deadline = time.monotonic() + 20
    while _session_lives(process.pid):
        assert time.monotonic() < deadline, "its processes outlive it"
        time.sleep(0.05)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(output) == contents(folder)
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())


def _session_lives(session: int) -> bool:
    """Whether a process of the session is left that is no zombie."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = stat.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(own) == session and state != "Z":
            return True
    return False


def test_finished_shards_are_kept(negate, folder, tmp_path, monkeypatch):
    options = ("--captions_per_shard", 32, "--objects_column", "labels")
    write = run.write_shard

    def stop_at_the_third(source, shard, *rest):
        if shard.name.startswith("train-00002"):
            raise KeyboardInterrupt
        return write(source, shard, *rest)

    monkeypatch.setattr(run, "write_shard", stop_at_the_third)
    assert negate(*options) == (130, "", "Interrupted. The same command continues from here.")
    kept = sorted((tmp_path / "out" / "data").iterdir())
    assert [path.name for path in kept] == [f"train-0000{number}-of-00004.parquet" for number in range(2)]
    written = []
    monkeypatch.setattr(
        run, "write_shard", lambda source, shard, *rest: written.append(shard) or write(source, shard, *rest)
    )
    # Nothing is parsed again.
    monkeypatch.setattr(run, "parse_unit", None)
    assert negate(*options)[0] == 0
    assert len(written) == 2
    assert contents(tmp_path / "out") == contents(folder)
    assert "was finished before" in negate(*options)[1]


def test_a_shard_that_fails_leaves_no_part(negate, tmp_path, monkeypatch):
    write = output_module.pq.ParquetWriter.write_table

    def fail(writer, table):
        if "caption" in table.column_names:
            raise OSError(28, "No space left on device")
        write(writer, table)

    monkeypatch.setattr(output_module.pq.ParquetWriter, "write_table", fail)
    status, _, error = negate()
    shard = tmp_path / "out" / "data" / "train-00000-of-00001.parquet"
    assert status == 1 and error.startswith(f"Error: cannot write to {shard} (No space left on device, ")
    assert not list((tmp_path / "out" / ".work").glob("rows*"))
    assert list((tmp_path / "out" / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [(("--seed", 1), "seed: 0, now 1"), (("--strategy", "verb"), "strategy: random, now verb")],
)
def test_other_settings_are_refused(negate, tmp_path, folder, change, message):
    assert negate()[0] == 0
    before = contents(tmp_path / "out")
    status, _, error = negate(*change)
    assert status == 1 and message in error and "--overwrite" in error
    assert contents(tmp_path / "out") == before
    assert negate(*change, "--overwrite")[0] == 0
    assert contents(tmp_path / "out") != before


def test_other_captions_are_refused(negate, tmp_path):
    dataset = write_source(tmp_path / "some.jsonl", 8)
    assert negate(dataset=dataset)[0] == 0
    dataset.write_text(dataset.read_text().replace("ball", "hoop").replace("hat", "cap").replace("bag", "sack"))
    status, _, error = negate(dataset=dataset)
    assert status == 1 and "captions_digest" in error


def test_a_killed_process_is_told(negate, monkeypatch):
    monkeypatch.setattr(negator, "name_objects", lambda docs: os._exit(9))
    status, _, error = negate("--num_proc", 2)
    assert status == 1 and "a process was ended from outside" in error and "the same command continues" in error


def test_terminated_run_ends_its_processes(source, tmp_path):
    command = [sys.executable, "-m", "conclip", "negate", "--dataset_name", str(source), "--num_proc", "2"]
    process = subprocess.Popen(
        [*command, "--output_dir", str(tmp_path / "out")],
        cwd=REPOSITORY,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (tmp_path / "out" / "settings.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    deadline = time.monotonic() + 10
    while _session_lives(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
