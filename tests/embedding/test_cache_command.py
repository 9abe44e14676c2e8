"""`conclip cache`: what it lists, what it deletes, and what it never touches."""

import json
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import conclip.embedding.cache_command as cache_command
import conclip.embedding.cache_entries as cache_entries
from conclip.__main__ import main
from conclip.embedding.fingerprint import encoder_fingerprint
from conclip.embedding.image_hashes import save_index
from conclip.embedding.store import EmbeddingStore, ShardWriter
from conclip.embedding.tensor_files import with_checksum
from conclip.folder_lock import READERS_FILE, share, waiting_for, without_readers

NOW = 1_800_000_000
DAY = 24 * 60 * 60
IMAGES = {"model": "openai/clip-vit-base-patch32", "weights": "a" * 32, "vision_config": {}, "versions": {}}
TEXTS = {"model": "", "weights": "b" * 32, "text_config": {}, "versions": {}}


def keys_of(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (count, 16), np.uint8)


def fill(cache: Path, description: dict, count: int, data: str) -> Path:
    folder = cache / encoder_fingerprint(description)
    store = EmbeddingStore(folder, description, data)
    for part in np.split(keys_of(count), 2):
        with ShardWriter(store) as writer:
            writer.add(part, torch.ones(len(part), 4))
    return folder


def used(path: Path, days_ago: float) -> None:
    for own in [path, *path.rglob("*")]:
        os.utime(own, (NOW - days_ago * DAY,) * 2)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """One entry of each kind, and files of other programs."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    folder = tmp_path / "cache"
    used(fill(folder, IMAGES, 10, "scenes train"), 1.5)
    used(fill(folder, TEXTS, 6, "texts"), 40)
    (folder / "texts").mkdir()
    (folder / "texts" / f"{'c' * 32}.safetensors").write_bytes(with_checksum({"ids": torch.zeros(3)}))
    used(folder / "texts", 0)
    save_index(folder / "indexes" / f"{'d' * 32}.safetensors", keys_of(5))
    used(folder / "indexes", 3 / 24)
    negations = folder / "negations" / ("e" * 32)
    negations.mkdir(parents=True)
    (negations / "settings.json").write_text(json.dumps({"written_by": "conclip negate", "captions": 1_234}))
    (negations / "README.md").write_text("card")
    used(negations, 90)
    base = folder / f"scenes-base-{'0' * 16}"
    base.mkdir()
    (base / "config.json").write_text("{}")
    used(base, 365)
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("mine")
    (folder / "negations" / ("f" * 32)).mkdir()
    (folder / "texts" / "notes.txt").write_text("mine")
    used(folder / "texts", 0)
    (folder / ("1" * 32)).symlink_to(folder / "mine")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != READERS_FILE
    }


def run(capsys, cache: Path, *options) -> tuple[int, list[str], list[str]]:
    capsys.readouterr()
    status = main(["cache", "--cache_dir", str(cache), *map(str, options)])
    return (status, *(text.splitlines() for text in capsys.readouterr()))


def size(path: Path) -> int:
    return sum(own.stat().st_size for own in path.rglob("*") if own.is_file() and own.name != "notes.txt")


def test_the_list(cache, capsys):
    status, lines, errors = run(capsys, cache)
    of_images, of_texts = encoder_fingerprint(IMAGES), encoder_fingerprint(TEXTS)
    assert (status, errors) == (0, [])
    assert [line.split() for line in lines[:7]] == [
        "ID CONTENTS MODEL DATA COUNT SIZE LAST USED".split(),
        f"texts tokens of texts 1 {size(cache / 'texts')} bytes just now".split(),
        f"indexes hashes of images 1 {size(cache / 'indexes')} bytes 3 hours ago".split(),
        [of_images[:8], *"image embeddings openai/clip-vit-base-patch32 scenes train 10".split()]
        + f"{size(cache / of_images)} bytes 1 day ago".split(),
        [of_texts[:8], *f"text embeddings weights {'b' * 8} texts 6 {size(cache / of_texts)} bytes".split()]
        + "40 days ago".split(),
        f"{'e' * 8} negated captions 1,234 {size(cache / 'negations' / ('e' * 32))} bytes 90 days ago".split(),
        f"scenes-base-{'0' * 16} base model scenes 2 bytes 365 days ago".split(),
    ]
    total = sum(size(cache / name) for name in ("texts", "indexes", of_images, of_texts, "negations"))
    total += size(cache / f"scenes-base-{'0' * 16}")
    assert lines[7:] == ["", f"6 entries, {total / 1000:.1f} kB in {cache}"]


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch], ids=["nothing", "folder", "file"])
def test_an_empty_cache(make, tmp_path, capsys):
    make(tmp_path / "cache")
    assert run(capsys, tmp_path / "cache") == (0, [f"Nothing is cached in {tmp_path / 'cache'}."], [])
    assert run(capsys, tmp_path / "cache", "--all") == (0, [f"Nothing to delete in {tmp_path / 'cache'}."], [])


@pytest.mark.parametrize("options", [[], ["--cache_dir", ""]])
def test_the_default_is_in_the_cache_of_hugging_face(options, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    assert cache_command.main(options) == 0
    assert capsys.readouterr().out == f"Nothing is cached in {tmp_path}/conclip/embeddings.\n"


def deletions(cache: Path):
    """Options, and what they delete."""
    of_images, of_texts = encoder_fingerprint(IMAGES), encoder_fingerprint(TEXTS)
    negations, base = f"negations/{'e' * 32}", f"scenes-base-{'0' * 16}"
    tokens, index = f"texts/{'c' * 32}.safetensors", f"indexes/{'d' * 32}.safetensors"
    return {
        "one": (["--delete", of_images[:8]], [of_images]),
        "two": (["--delete", of_images, "texts"], [of_images, tokens]),
        "old": (["--older_than", "40"], [of_texts, negations, base]),
        "all": (["--all"], [of_images, of_texts, negations, base, tokens, index]),
        "of any age": (["--older_than", "0"], [of_images, of_texts, negations, base, tokens, index]),
    }


@pytest.mark.parametrize("name", ["one", "two", "old", "all", "of any age"])
def test_what_is_deleted_and_what_stays(name, cache, capsys):
    options, gone = deletions(cache)[name]
    before = contents(cache)
    status, lines, errors = run(capsys, cache, *options, "--yes")
    assert (status, errors) == (0, []) and lines[-1].startswith(f"Deleted {len(gone)} entr")
    after = contents(cache)
    assert after == {path: own for path, own in before.items() if not path.startswith(tuple(gone))}
    assert {"mine/thesis.txt", "texts/notes.txt"} <= after.keys() and (cache / ("1" * 32)).is_symlink()
    assert not list(cache.glob("**/deleted-*")) and not list(cache.glob("**/.*.lock"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--delete", "zz"], "--delete zz: no such entry in "),
        (["--delete", "../mine"], "--delete ../mine: no such entry in "),
        (["--delete", "mine"], "--delete mine: no such entry in "),
        (["--delete", ""], "--delete : 6 entries begin so; write more of the id."),
        (["--all", "--older_than", "3"], "--older_than and --all exclude each other: give one of them."),
        (["--yes"], "--yes has no effect without --delete, --older_than or --all."),
        (["--older_than", "-1"], "--older_than must be 0 or more, got -1.0."),
        (["--older_than", "0"], "There is no terminal to ask before entries are deleted: add --yes."),
        (["--all"], "There is no terminal to ask before entries are deleted: add --yes."),
    ],
)
def test_refusals_delete_nothing(options, says, cache, capsys):
    before = contents(cache)
    status, _, errors = run(capsys, cache, *options)
    assert status == 1 and len(errors) == 1 and errors[0].startswith(f"Error: {says}")
    assert contents(cache) == before


@pytest.mark.parametrize(
    ("answer", "deletes"), [("y", True), ("YES", True), ("", False), ("n", False), ("all", False)]
)
def test_the_question(answer, deletes, cache, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answer)
    before = contents(cache)
    status, lines, _ = run(capsys, cache, "--delete", "texts")
    assert status == 0 and len(asked) == 1
    assert asked == [f"Delete 1 entry, {size(cache / 'texts') or lines[1].split()[5]} bytes? [y/N] "]
    assert (contents(cache) != before) == deletes
    assert (lines[-1] == "Nothing was deleted.") != deletes


def test_embeddings_that_a_process_reads_are_kept(cache, capsys):
    folder = cache / encoder_fingerprint(IMAGES)
    embeddings = EmbeddingStore(folder, IMAGES).read(keys_of(10))
    before = contents(cache)
    status, _, errors = run(capsys, cache, "--delete", folder.name, "--yes")
    assert (status, errors) == (
        1, [f"Error: {folder.name[:8]} (image embeddings) is in use by a running process and was kept."]
    )  # fmt: skip
    assert contents(cache) == before
    status, lines, errors = run(capsys, cache, "--all", "--yes")
    assert (status, errors) == (0, []) and lines[-1].startswith("Deleted 5 entries, ")
    assert lines[-2] == f"Warning: {folder.name[:8]} (image embeddings) is in use by a running process and was kept."
    assert torch.equal(embeddings[:], torch.ones(10, 4))
    del embeddings
    assert run(capsys, cache, "--delete", folder.name, "--yes")[0] == 0
    assert not folder.exists()


def test_negations_that_a_process_makes_are_kept(cache, capsys):
    folder = cache / "negations" / ("e" * 32)
    with waiting_for(folder, "is making the negated captions"):
        status, _, errors = run(capsys, cache, "--delete", "eeee", "--yes")
    assert status == 1 and "is in use by a running process" in errors[0] and folder.is_dir()


def test_a_run_that_begins_while_its_embeddings_are_deleted_gets_a_new_folder(tmp_path):
    folder, marks = tmp_path / "entry", []
    share(folder).close()
    with without_readers(folder) as unread:
        assert unread
        reader = threading.Thread(target=lambda: marks.append(share(folder)))
        reader.start()
        reader.join(0.2)
        assert not marks
        folder.rename(tmp_path / "deleted")
        (tmp_path / "deleted" / "shard").touch()
    reader.join(20)
    assert os.path.samestat(os.fstat(marks[0].fileno()), (folder / READERS_FILE).stat())
    assert [path.name for path in folder.iterdir()] == [READERS_FILE]


def test_several_processes_read_at_a_time_and_a_reader_keeps_a_deletion_out(tmp_path):
    first, second = share(tmp_path), share(tmp_path)
    first.close()
    with without_readers(tmp_path) as unread:
        assert not unread
    second.close()
    with without_readers(tmp_path) as unread:
        assert unread


def test_a_deletion_that_is_stopped_leaves_nothing_that_is_read(cache, capsys, monkeypatch):
    folder = cache / encoder_fingerprint(IMAGES)

    def stopped(path):
        next(path.glob("shard-*")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache_entries.shutil, "rmtree", stopped)
        status, _, errors = run(capsys, cache, "--delete", folder.name, "--yes")
    assert (status, errors) == (130, ["", "Interrupted. The rest is kept."])
    assert not folder.exists()
    assert len(EmbeddingStore(folder, IMAGES).missing(keys_of(10))[1]) == 10
    (line,) = [line for line in run(capsys, cache)[1] if "left by a deletion that was stopped" in line]
    assert run(capsys, cache, "--delete", line.split()[0], "--yes")[0] == 0
    assert not list(cache.glob("deleted-*"))


@pytest.mark.parametrize("name", ["thesis.txt", "shard-1.safetensors", "data"])
def test_a_folder_with_a_file_that_conclip_did_not_write_is_no_entry(name, cache, capsys):
    folder = cache / encoder_fingerprint(IMAGES)
    (folder / name).write_text("mine")
    assert folder.name[:8] not in "".join(run(capsys, cache)[1])
    before = contents(folder)
    assert run(capsys, cache, "--all", "--yes")[0] == 0
    assert contents(folder) == before


def test_a_damaged_shard_does_not_end_the_list(cache, capsys):
    folder = cache / encoder_fingerprint(IMAGES)
    next(folder.glob("shard-*")).write_bytes(b"\xff" * 12)
    status, lines, _ = run(capsys, cache)
    assert status == 0 and any(line.startswith(folder.name[:8]) and " 5 " in line for line in lines)


def test_a_cache_that_cannot_be_written_to_is_one_sentence(cache, capsys, monkeypatch):
    def read_only(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", read_only)
    folder = cache / encoder_fingerprint(IMAGES)
    status, _, errors = run(capsys, cache, "--delete", folder.name, "--yes")
    assert (status, errors) == (
        1,
        [
            f"Error: cannot write to {folder} (Read-only file system): make it writable or choose another folder, "
            "then repeat the command."
        ],
    )


def test_names_of_data_are_added_and_a_description_without_them_still_serves(tmp_path):
    folder = fill(tmp_path, IMAGES, 4, "scenes train")
    fill(tmp_path, IMAGES, 4, "flickr test")
    assert json.loads((folder / "meta.json").read_text())["data"] == ["flickr test", "scenes train"]
    (folder / "meta.json").write_text(json.dumps({"weights": "a" * 32}))
    fill(tmp_path, IMAGES, 4, "scenes test")
    assert json.loads((folder / "meta.json").read_text()) == {**IMAGES, "data": ["scenes test"]}


def test_embeddings_of_one_model_under_two_names_are_the_same():
    assert encoder_fingerprint(IMAGES) == encoder_fingerprint({**IMAGES, "model": "a/copy"})
    assert encoder_fingerprint(IMAGES) != encoder_fingerprint({**IMAGES, "weights": "b" * 32})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(-5, "just now"), (59, "just now"), (60, "1 minute ago"), (3_599, "59 minutes ago"), (3_600, "1 hour ago")],
        *[(86_399, "23 hours ago"), (86_400, "1 day ago"), (400 * 86_400, "400 days ago")],
    ],
)
def test_how_long_ago(seconds, text):
    assert cache_command.ago(seconds) == text


def test_a_cache_that_was_removed_by_hand_is_made_again(tmp_path):
    fill(tmp_path, IMAGES, 4, "")
    shutil.rmtree(tmp_path)
    assert fill(tmp_path, IMAGES, 4, "").is_dir()
