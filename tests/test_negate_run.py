"""`python -m dataset_scripts.negate`: what the folder holds, that it loads, how a run is resumed and refused."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import datasets
import PIL.Image
import pyarrow.parquet as pq
import pytest
from ccneg_files import run_python

from dataset_scripts.negate import REASONS, STRATEGIES, run, work
from dataset_scripts.negate.__main__ import main
from dataset_scripts.negate.folder import features
from dataset_scripts.negate.names import may_be_one
from dataset_scripts.schema import FEATURES

REPOSITORY = Path(__file__).resolve().parents[1]
IMAGES = 60
TEXTS = ("negated_captions", "true_negations", "true_negation_foils", "hard_negatives")


def captions(image: int) -> list[str]:
    """Two captions of an image."""
    rng = random.Random(image)
    who = rng.choice("man woman boy dog horse".split())
    thing, place = rng.choice("ball hat stick umbrella bag".split()), rng.choice("beach street field bench".split())
    color, act = rng.choice("red black small".split()), rng.choice("runs sits stands jumps".split())
    return [
        f"a {who} with a {color} {thing} {act} on the {place} .",
        f"A {color} {who} is near a {rng.choice('tree car house'.split())}",
    ]


def write_source(path: Path, images: int = IMAGES) -> Path:
    lines = [json.dumps({"caption": captions(image), "labels": ["lamp"]}) for image in range(images)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module", autouse=True)
def small_units():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "UNIT", 16)
        patch.setattr(run, "UNIT", 16)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("source") / "captions.jsonl")


@pytest.fixture
def negate(source, tmp_path, capsys):
    """Runs the command line into `tmp_path/out`: exit status, standard output, the last line of standard error."""

    def negate_(*options, dataset=source, output=tmp_path / "out"):
        status = main(["--dataset_name", str(dataset), "--output_dir", str(output), *map(str, options)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err.strip().splitlines()[-1] if err.strip() else ""

    return negate_


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    """One whole run, four shards."""
    output = tmp_path_factory.mktemp("whole") / "out"
    options = ["--captions_per_shard", "32", "--objects_column", "labels"]
    assert main(["--dataset_name", str(source), "--output_dir", str(output), *options]) == 0
    return output


def load(folder: Path) -> datasets.Dataset:
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(folder.parent / "cache"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is in the folder


def test_loads_by_name_without_code(folder):
    program = """
        import json, sys
        from datasets import load_dataset
        data = load_dataset("out")
        print(json.dumps([repr(data["train"].features), len(data["train"]), list(data), len(
            [name for name in sys.modules if name.startswith("dataset_scripts")])]))
    """
    found = json.loads(run_python(program, cwd=folder.parent, HF_HOME=str(folder.parent / "hf")))
    assert found == [repr(features(False)), len(load(folder)), ["train"], 0]
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "data", "report.json", "samples.md", "settings.json"
    ]  # fmt: skip
    assert [path.name for path in sorted((folder / "data").iterdir())] == [
        f"train-{number:05}-of-00004.parquet" for number in range(4)
    ]


def test_rows_are_the_captions_in_order(folder):
    rows = load(folder)
    assert len(rows) >= 0.9 * 2 * IMAGES
    for row in rows:
        assert row["caption"] == captions(row["source_row"])[row["source_caption"]]
    places = [(row["source_row"], row["source_caption"]) for row in rows]
    assert places == sorted(set(places))


def test_every_text_has_its_record(folder):
    for row in load(folder):
        assert len(row["negated_captions"]) == 1
        assert len(row["true_negations"]) == len(row["true_negation_foils"]) == len(row["true_negation_kinds"])
        for texts, prefix in zip(
            TEXTS, ("negation", "true_negation", "true_negation_foil", "hard_negative"), strict=True
        ):
            for name in ("rules", "makers", "targets", "spans"):
                assert len(row[f"{prefix}_{name}"]) == len(row[texts])
            assert all(0 <= start < end <= len(row["caption"]) for start, end in row[f"{prefix}_spans"])
            assert all(0 <= start < end for start, end in row[f"{prefix}_spans"])
        assert set(row["negation_kinds"]) <= set(STRATEGIES[1:])
        assert row["true_negation_kinds"][1:] in ([], ["hybrid"])
        (start, end), target = row["negation_spans"][0], row["negation_targets"][0]
        assert may_be_one(row["caption"][start:end].lower(), target) or target in row["caption"][start:end]


def test_objects_denied_truly_are_neither_said_nor_labelled(folder):
    denied = Counter()
    for row in load(folder):
        for kind, target in zip(row["true_negation_kinds"], row["true_negation_targets"], strict=True):
            if kind in ("object", "hybrid"):
                denied[target] += 1
                said = re.findall(r"\w+", " ".join(captions(row["source_row"])).lower())
                assert not any(may_be_one(word, target) for word in [*said, "lamp"])
        for target in row["true_negation_foil_targets"]:
            assert target.split()[-1] in row["caption"].lower() or row["true_negation_kinds"][0] != "object"
    assert len(denied) > 8


def test_report_counts_what_the_rows_hold(folder):
    report, rows = json.loads((folder / "report.json").read_text()), load(folder)
    assert (report["captions"], report["rows"]) == (2 * IMAGES, len(rows))
    assert report["left_out"] == 2 * IMAGES - len(rows)
    hybrids = sum(kind == "hybrid" for row in rows for kind in row["true_negation_kinds"])
    trues = sum(len(row["true_negations"]) for row in rows) - hybrids
    swaps = sum(len(row["hard_negatives"]) for row in rows)
    assert {name: made["texts"] for name, made in report["yield"].items()} == {
        "false": len(rows), "true": trues, "true_foil": trues, "hybrid": hybrids, "hybrid_foil": hybrids, "swap": swaps
    }  # fmt: skip
    assert report["yield"]["true"]["share"] == round(trues / (2 * IMAGES), 4)
    assert report["products"]["false"]["rules"] == Counter(rule for row in rows for rule in row["negation_rules"])
    assert report["products"]["false"]["kinds"] == Counter(kind for row in rows for kind in row["negation_kinds"])
    texts = [text.lower() for row in rows for text in row["negated_captions"]]
    assert report["duplicates"]["false"] == len(texts) - len(set(texts))
    for product, reasons in report["not_made"].items():
        assert set(reasons) <= set(REASONS)
        # Rows that are left out have no texts, whatever was made.
        assert sum(reasons.values()) <= 2 * IMAGES - report["yield"].get(product, {"texts": 0})["texts"]
    middles = sorted(round(50 * sum(row["negation_spans"][0]) / len(row["caption"])) for row in rows)
    assert report["products"]["false"]["position_percent"]["50%"] == middles[(len(middles) - 1) // 2]


def test_samples_can_be_read(folder):
    page = (folder / "samples.md").read_text()
    rows = {row["caption"]: row for row in load(folder)}
    headings = re.findall(r"^## (.*)$", page, re.M)
    assert len(headings) == 40 and page.startswith("# 40 random rows of ")
    assert all(heading.replace("\\", "") in rows for heading in headings)
    assert rows[headings[0]]["negated_captions"][0] in page.replace("\\", "")


def test_card_names_every_column_and_count(folder):
    card = (folder / "README.md").read_text()
    assert "$" not in card
    assert f"| train | {len(load(folder))} |" in card and f"Made from {2 * IMAGES} captions" in card
    for name in ("caption", "negated_captions", "true_negations", "objects", "hard_negatives", "source_row"):
        assert f"`{name}`" in card


# Resuming


def test_other_numbers_of_processes_and_a_kill_give_the_same_files(folder, source, tmp_path):
    """Killed for good as soon as a shard is there; gone on with, with two processes; every file as of one run."""
    output = tmp_path / "out"
    program = (
        "import sys\nfrom dataset_scripts.negate import run, work\nfrom dataset_scripts.negate.__main__ import main\n"
        "run.UNIT = work.UNIT = 16\nif __name__ == '__main__':\n    sys.exit(main(sys.argv[1:]))\n"
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
    assert negate(*options) == (130, "", "error: interrupted; the same command goes on from here.")
    kept = sorted((tmp_path / "out" / "data").iterdir())
    assert [path.name for path in kept] == [f"train-0000{number}-of-00004.parquet" for number in range(2)]
    written = []
    monkeypatch.setattr(
        run, "write_shard", lambda source, shard, *rest: written.append(shard) or write(source, shard, *rest)
    )
    # Nothing is parsed again.
    monkeypatch.setattr(work.Worker, "parse", None)
    assert negate(*options)[0] == 0
    assert len(written) == 2
    assert contents(tmp_path / "out") == contents(folder)
    assert "was finished before" in negate(*options)[1]


def test_a_shard_that_fails_leaves_no_part(negate, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "make_rows", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    status, _, error = negate()
    assert (status, error) == (1, f"error: {tmp_path / 'out'} could not be written: No space left on device.")
    assert list((tmp_path / "out" / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [(("--seed", 1), "seed: 0, now 1"), (("--strategy", "verb"), "strategy: random, now verb")],
)
def test_other_settings_are_refused(negate, tmp_path, folder, change, told):
    assert negate()[0] == 0
    before = contents(tmp_path / "out")
    status, _, error = negate(*change)
    assert status == 1 and told in error and "--overwrite_output_dir" in error
    assert contents(tmp_path / "out") == before
    assert negate(*change, "--overwrite_output_dir")[0] == 0
    assert contents(tmp_path / "out") != before


def test_other_captions_are_refused(negate, tmp_path):
    dataset = write_source(tmp_path / "some.jsonl", 8)
    assert negate(dataset=dataset)[0] == 0
    dataset.write_text(dataset.read_text().replace("ball", "hoop").replace("hat", "cap").replace("bag", "sack"))
    status, _, error = negate(dataset=dataset)
    assert status == 1 and "captions_digest" in error


# Options


def test_splits_products_strategy_and_captions_a_row(negate, tmp_path):
    options = ("--test_size", 20, "--captions_per_row", 1, "--products", "false", "--strategy", "attribute")
    assert negate(*options)[0] == 0
    data = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: (min(split["source_row"]), max(split["source_row"])) for name, split in data.items()} == {
        "train": (0, 39), "test": (40, 59)
    }  # fmt: skip
    for row in [*data["train"], *data["test"]]:
        assert row["source_caption"] == 0
        assert row["negation_kinds"] == ["attribute"]
        assert row["true_negations"] == row["hard_negatives"] == []


def test_rows_of_one_image_know_of_each_other(negate, tmp_path):
    """Of a CSV with a caption a row, as Flickr8k has them."""
    lines = ["image,caption"]
    for image in range(30):
        rng = random.Random(image)
        one, other = rng.sample(["dog", "ball", "tree", "car", "bench", "kite"], 2)
        lines += [f"{image}.jpg,a {one} near a fence"] + [f"{image}.jpg,a {other} by the lake"] * 2
    (tmp_path / "captions.csv").write_text("\n".join(lines))

    def denied_and_said(*options):
        output = tmp_path / f"out{len(options)}"
        assert negate(*options, dataset=tmp_path / "captions.csv", output=output)[0] == 0
        found = 0
        for row in datasets.load_dataset(str(output), split="train", cache_dir=str(tmp_path / "cache")):
            image = row["source_row"] // 3
            said = " ".join(lines[1 + 3 * image : 4 + 3 * image])
            found += any(target in said for target in row["true_negation_targets"])
        return found

    assert denied_and_said("--image_id_column", "image") == 0
    assert denied_and_said() > 0


def test_images_are_embedded_as_they_are(negate, tmp_path):
    (tmp_path / "images").mkdir()
    lines = []
    for image in range(6):
        PIL.Image.new("RGB", (4, 4), (40 * image, 0, 0)).save(tmp_path / "images" / f"{image}.png")
        lines.append(json.dumps({"caption": captions(image), "file": f"{image}.png"}))
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    options = ("--image_column", "file", "--image_dir", tmp_path / "images")
    assert negate(*options, dataset=tmp_path / "data.jsonl")[0] == 0
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.features == features(True)
    assert set(FEATURES) <= set(rows.column_names)
    for row in rows:
        assert row["image"].getpixel((0, 0)) == (40 * row["source_row"], 0, 0)
        assert row["distractor_images"] == []
    stored = pq.read_table(tmp_path / "out" / "data")["image"][0].as_py()
    assert stored == {"bytes": (tmp_path / "images" / "0.png").read_bytes(), "path": "0.png"}
    # An image column of a dataset, in place of paths.
    again = ("--image_column", "image", "--products", "false")
    assert negate(*again, dataset=tmp_path / "out", output=tmp_path / "again")[0] == 0
    assert pq.read_table(tmp_path / "again" / "data")["image"][0].as_py() == stored
    (tmp_path / "images" / "3.png").unlink()
    status, _, error = negate(*options, dataset=tmp_path / "data.jsonl", output=tmp_path / "third")
    assert status == 1 and "split 'train', row 3: the image 3.png cannot be read (No such file" in error


def test_too_long_texts_are_left_out(negate, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = Tokenizer(models.WordLevel({"?": 0}, "?"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=letters, unk_token="?").save_pretrained(tmp_path / "letters")
    long = "a man with a long coat stands beside the very old and rather crooked wooden fence near a dog"
    (tmp_path / "data.csv").write_text(f"caption\n{long}\na man with a hat\n")
    options = ("--tokenizer_name", tmp_path / "letters", "--products", "false", "--strategy", "verb")
    assert negate(*options, dataset=tmp_path / "data.csv")[0] == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["not_made"]["false"].get("too long") == 1
    assert report["rows"] == 1


# Errors


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--caption_column", "text"), "--caption_column text: .* has no such column, only caption, labels"),
        (("--objects_column", "things"), "--objects_column things: .* has no such column"),
        (("--dataset_split", "all"), r"split 'all'"),
        (("--test_size", 60), "--test_size 60: the split has 60 rows in all"),
        (("--seeds", 1), r"unrecognized arguments: --seeds 1 \(--help lists the options\)"),
        (("--strategy", "noun"), "argument --strategy: invalid choice: 'noun'"),
        (("--num_proc", 0), "--num_proc must be 1 or more, got 0"),
        (("--image_dir", "images"), "--image_dir needs --image_column"),
        (("--tokenizer_name", "no/such"), "--tokenizer_name no/such: "),
    ],
)
def test_bad_options_are_told_in_a_sentence(negate, tmp_path, options, told):
    if options == ("--dataset_split", "all"):
        options = ("--dataset_split", "train", "nowhere[")
        told = "split 'nowhere"
    status, _, error = negate(*options)
    assert status in (1, 2)
    assert re.match(f"error: .*{told}", error)
    assert not (tmp_path / "out" / "data").exists()


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["a dog", ""], r"split 'train', row 1 \(the first is row 0\): caption is empty"),
        (["a dog", "  "], "row 1 .*: caption is empty"),
        (["a dog", None], "row 1 .*: caption is empty"),
        ([["a dog"], []], "row 1 .*: caption is empty"),
        ([["a dog"], ["a cat", " "]], "row 1 .*: caption is empty"),
        ([1, 2], r"row 0 .*: caption holds 1, not a caption"),
        (["running", "very slowly"], "no negation could be made of any caption of the split 'train'"),
    ],
)
def test_bad_captions_are_named(negate, tmp_path, rows, told):
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(json.dumps({"caption": row}) for row in rows))
    status, _, error = negate(dataset=path)
    assert status == 1
    assert re.search(f"^error: .*{told}", error)


def test_an_image_in_two_splits_is_refused(negate, tmp_path):
    lines = "\n".join(f"{image},a dog on a bench" for image in (0, 1, 2, 2))
    (tmp_path / "data.csv").write_text(f"image,caption\n{lines}\n")
    status, _, error = negate("--image_id_column", "image", "--test_size", 1, dataset=tmp_path / "data.csv")
    assert status == 1 and "split 'train', row 2: another split has captions of its image too" in error


def test_folders_that_cannot_be_used(negate, tmp_path):
    (tmp_path / "file").write_text("x")
    status, _, error = negate(output=tmp_path / "file" / "out")
    assert (status, error) == (1, f"error: {tmp_path / 'file' / 'out'} could not be written: Not a directory.")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my thesis")
    status, _, error = negate("--overwrite_output_dir", output=tmp_path / "mine")
    assert status == 1 and "was not written by this command and is left alone" in error
    assert (tmp_path / "mine" / "README.md").read_text() == "my thesis"
    status, _, error = negate(dataset=tmp_path / "nowhere")
    assert status == 1 and "nowhere" in error


def test_a_killed_process_is_told(negate, monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    def broken(self, method, jobs):
        raise BrokenProcessPool

    monkeypatch.setattr(work.Processes, "map", broken)
    status, _, error = negate()
    assert status == 1 and "a process was ended from outside" in error and "the same command goes on" in error


def test_terminated_run_ends_its_processes(source, tmp_path):
    command = [sys.executable, "-m", "dataset_scripts.negate", "--dataset_name", str(source), "--num_proc", "2"]
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
