"""Distractors of which a negation is true, the files that are read and written, and interrupted runs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from ccneg_files import COCO_IDS
from embedding_pool import (
    TILES,
    brute_force,
    cut_into_tiles,
    expected_with_filter,
    make_negated_phrases,
    make_pool,
    make_queries,
    make_texts,
    random_embeddings,
    unit,
)

from conclip.distractors import CaptionFilter, find_distractors, search
from conclip.distractors import files as distractor_files
from conclip.distractors.caption_filter import head_of
from conclip.distractors.command import main
from conclip.distractors.files import key_of
from conclip.embedding.embedding_files import Embeddings
from dataset_scripts.ccneg import CCNeg

ROOT = Path(__file__).parents[2]

queries = pytest.fixture(name="queries")(make_queries)
pool = pytest.fixture(name="pool")(make_pool)
texts = pytest.fixture(name="texts")(make_texts)
negated_phrases = pytest.fixture(name="negated_phrases")(make_negated_phrases)
tiles = pytest.fixture(name="tiles", params=TILES)(cut_into_tiles)


def test_images_of_which_the_negation_holds_come_first_and_the_most_similar_others_follow(
    queries, pool, texts, negated_phrases, tiles
):
    # So few that many of them are among the most similar anyway. The first phrase fits two of them, the last none.
    pool, texts = pool[:30], [["a dog"] if "dog" not in " ".join(of_image) else of_image for of_image in texts[:30]]
    texts[10] = texts[20] = ["a lake"]
    negated_phrases = [["dogs", "zebra"] if target == ["the dog"] else target for target in negated_phrases]
    negated_phrases = [["lakes", "dog"] if target == ["a man"] else target for target in negated_phrases]
    expected, holds = expected_with_filter(queries, pool, texts, negated_phrases, 3)
    found = find_distractors(queries, pool, 3, caption_filter=CaptionFilter(texts, negated_phrases))
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_array_equal(found.negation_holds, holds)
    assert set(holds.sum(axis=1)) == {0, 2, 3}
    scores = (queries.astype(np.float64) @ pool.astype(np.float64).T).astype(np.float32)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(scores, expected, axis=1))


@pytest.fixture
def files(tmp_path, queries, pool, texts, negated_phrases):
    np.savez(tmp_path / "queries.npz", image_embeds=queries, names=[f"q{row}.jpg" for row in range(len(queries))])
    np.save(tmp_path / "pool.npy", pool)
    (tmp_path / "captions.json").write_text(json.dumps(texts))
    (tmp_path / "negated_phrases.json").write_text(
        json.dumps({f"q{row}.jpg": target for row, target in enumerate(negated_phrases)})
    )
    return tmp_path


@pytest.fixture
def command(files, capsys):
    """Runs the command line; a file name in place of an option's value is one of `files`. Status, output, errors."""

    def command_(output="out.parquet", *options, **replaced):
        given = {"queries": "queries.npz", "pool": "pool.npy", **replaced, "output_file": output}
        argv = [part for name, file in given.items() if file for part in (f"--{name}", str(files / file))]
        status = main([*argv, *map(str, options)])
        return status, *capsys.readouterr()

    return command_


BY_CAPTIONS = {"negated_phrases": "negated_phrases.json", "pool_captions": "captions.json"}


def test_the_command_writes_a_table_and_a_report(command, files, queries, pool, texts, negated_phrases):
    assert command(**BY_CAPTIONS)[0] == 0
    expected, holds = expected_with_filter(queries, pool, texts, negated_phrases, 3)
    table = pq.read_table(files / "out.parquet").to_pydict()
    assert table["distractor_indices"] == expected.tolist()
    assert table["distractor_negation_holds"] == holds.tolist()
    scores = np.take_along_axis((queries.astype(np.float64) @ pool.T).astype(np.float32), expected, axis=1)
    np.testing.assert_allclose(table["distractor_scores"], scores, atol=1e-6)
    report = json.loads((files / "out.json").read_text())
    without = sum(not any(map(head_of, target)) for target in negated_phrases)
    assert report == {
        "rows": len(queries),
        "pool": 400,
        "top_k": 3,
        "mean_score": pytest.approx(scores[:, 0].mean(), abs=1e-6),
        "rows_without_negated_phrase": without,
        "rows_all_fit": len(queries) - without,
        "rows_some_fit": 0,
        "rows_none_fits": 0,
    }
    assert 10 < without < 60
    assert sorted(path.name for path in files.glob("out*")) == ["out.json", "out.parquet"]


def test_the_builder_of_ccneg_reads_the_mapping(ccneg, coco, tmp_path, capsys):
    pool = random_embeddings(len(COCO_IDS), 8)
    queries = unit(pool[np.arange(12) % 4] + 0.3 * random_embeddings(12, 9))
    np.save(tmp_path / "queries.npy", queries)
    np.savez(tmp_path / "coco.npz", embeds=pool, names=[f"{number:012}.jpg" for number in sorted(COCO_IDS)])
    output = ccneg / "distractor_image_mapping.pt"
    argv = ["--queries", tmp_path / "queries.npy", "--pool", tmp_path / "coco.npz", "--output_file", output]
    assert main(list(map(str, argv))) == 1
    assert "exists: choose another --output_file" in capsys.readouterr().err
    assert main([*map(str, argv), "--overwrite"]) == 0
    expected = brute_force(queries, pool, 3)[0].tolist()
    assert torch.load(output, weights_only=True) == expected
    builder = CCNeg(
        config_name="annotations", data_dir=str(ccneg), coco_dir=str(coco), cache_dir=str(tmp_path / "cache")
    )
    rows = builder.source.table["distractor_files"].to_pylist()
    assert rows == [[f"train2017/{sorted(COCO_IDS)[first]:012}.jpg"] for first, *_ in expected]


@pytest.mark.parametrize("named", [False, True])
def test_texts_in_the_format_of_coco(command, files, pool, texts, negated_phrases, queries, named):
    ids = np.random.default_rng(10).permutation(400) + 5
    order = np.argsort(ids)
    images = [{"id": int(number), "file_name": f"{number:012}.jpg"} for number in ids]
    captions = [
        {"image_id": int(number), "caption": text} for number, row in zip(ids, texts, strict=True) for text in row
    ]
    (files / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    objects = [{"image_id": int(ids[row]), "category_id": 3} for row in (0, 0, 5, 9)]
    categories = [{"id": 3, "name": "sports ball"}]
    content = {"images": images, "annotations": objects, "categories": categories}
    (files / "labels.json").write_text(json.dumps(content))
    # In the order of COCO's file if the pool has names, and by ascending id if not.
    names = [image["file_name"] for image in images]
    if named:
        np.savez(files / "pool.npz", embeds=pool, names=names)
        at = np.arange(400)
    else:
        np.savez(files / "pool.npz", embeds=pool[order])
        at = order
    assert command(**BY_CAPTIONS, pool="pool.npz", pool_labels="labels.json")[0] == 0
    labelled = [[*row, "ball"] if place in (0, 5, 9) else row for place, row in enumerate(texts)]
    expected = expected_with_filter(queries, pool[at], [labelled[row] for row in at], negated_phrases, 3)
    table = pq.read_table(files / "out.parquet").to_pydict()
    assert table["distractor_indices"] == expected[0].tolist()
    assert table["distractor_negation_holds"] == expected[1].tolist()


STOPPED = """
import os, signal, sys
from conclip.distractors import command, files, search
search.ROWS_PER_BLOCK = 20
name = sys.argv.pop()
write = files.Parts.write
def write_two(parts, start, part):
    if start == 60:
        os.kill(os.getpid(), getattr(signal, name))
    write(parts, start, part)
files.Parts.write = write_two
sys.exit(command.main(sys.argv[1:]))
"""


def test_a_killed_run_continues_to_the_same_file(command, files, monkeypatch):
    argv = [f"--{name}={files / file}" for name, file in {"queries": "queries.npz", "pool": "pool.npy"}.items()]
    argv += [f"--{name}={files / file}" for name, file in {**BY_CAPTIONS, "output_file": "out.parquet"}.items()]
    for name, status in (("SIGINT", 130), ("SIGKILL", -signal.SIGKILL)):
        done = subprocess.run([sys.executable, "-c", STOPPED, *argv, name], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert len(list((files / "out.parquet.parts").iterdir())) == 3
        assert not (files / "out.parquet").exists()
        assert ("The same command continues" in done.stderr) is (name == "SIGINT")
    monkeypatch.setattr(search, "ROWS_PER_BLOCK", 20)
    searched = []
    find_block = search._find_block
    monkeypatch.setattr(search, "_find_block", lambda *args: searched.append(args[1][0]) or find_block(*args))
    first, second, _ = sorted((files / "out.parquet.parts").iterdir())
    # Cut short, and whole but for one byte.
    first.write_bytes(first.read_bytes()[:-1])
    second.write_bytes(second.read_bytes()[:-1] + bytes([second.read_bytes()[-1] ^ 1]))
    assert command(**BY_CAPTIONS)[0] == 0
    assert searched == [0, 20, 60, 80]
    assert not (files / "out.parquet.parts").exists()
    assert command("whole.parquet", **BY_CAPTIONS)[0] == 0
    assert searched[4:] == [0, 20, 40, 60, 80]
    assert (files / "out.parquet").read_bytes() == (files / "whole.parquet").read_bytes()


@pytest.mark.parametrize("change", ["nothing", "queries", "pool", "texts", "top_k", "duplicate_similarity"])
def test_blocks_of_other_inputs_are_not_used(command, files, monkeypatch, change, pool, texts, negated_phrases):
    monkeypatch.setattr(
        distractor_files, "write_distractors", lambda *args, **options: os.kill(os.getpid(), signal.SIGINT)
    )
    assert command(**BY_CAPTIONS)[0] == 130
    monkeypatch.undo()
    searched = []
    find_block = search._find_block
    monkeypatch.setattr(search, "_find_block", lambda *args: searched.append(0) or find_block(*args))
    if change == "queries":
        np.savez(
            files / "queries.npz",
            image_embeds=random_embeddings(97, 11),
            names=[f"q{row}.jpg" for row in range(len(negated_phrases))],
        )
    if change == "pool":
        np.save(files / "pool.npy", np.concatenate([pool[:-1], random_embeddings(1, 12)]))
    if change == "texts":
        (files / "captions.json").write_text(json.dumps([*texts[:-1], ["other"]]))
    options = [f"--{change}", {"top_k": 2}.get(change, 0.9)] if change in ("top_k", "duplicate_similarity") else []
    assert command("out.parquet", *options, **BY_CAPTIONS)[0] == 0
    assert len(searched) == (change != "nothing")


def test_a_copy_of_the_queries_is_another_pool(queries):
    """Of which an image may find itself."""
    one, other = Embeddings(queries), Embeddings(queries.copy())
    assert key_of(one, one) == key_of(other, other) != key_of(one, other)


def refused(command, says, *options, **replaced):
    status, _, errors = command(*(options or ("out.parquet",)), **replaced)
    assert status == 1
    assert errors.splitlines()[-1].startswith("Error: ")
    assert says in errors.splitlines()[-1]


def test_the_command_refuses_in_one_sentence(command, files, queries, pool):
    refused(command, "There is no file", pool="none.npy")
    (files / "broken.npz").write_bytes(b"PK\x03\x04 no archive")
    refused(command, "cannot be read as .npy or .npz", pool="broken.npz")
    np.savez(files / "two.npz", a=pool, b=pool)
    refused(
        command, "must hold one array (n, d) of float32 or float16; it holds a float32 (400, 24), b", pool="two.npz"
    )
    np.savez(files / "names.npz", a=pool, names=["x"])
    refused(command, "holds 1 names for 400 embeddings", pool="names.npz")
    np.savez(files / "pickled.npz", a=np.array([{}, None]))
    refused(command, "cannot be read as .npy or .npz", pool="pickled.npz")
    refused(command, "must end in .pt or .parquet", "out.txt")
    refused(command, "needs both --negated_phrases and --pool_captions", negated_phrases="negated_phrases.json")
    refused(command, "needs both --negated_phrases and --pool_captions", pool_labels="captions.json")
    refused(command, "401 distractors cannot be found in a pool of 400 images", "out.parquet", "--top_k", 401)
    refused(command, "The pool has only 399 images for row 90", "out.parquet", "--top_k", 400)
    refused(command, "have no names", negated_phrases="negated_phrases.json", pool_captions="negated_phrases.json")
    (files / "short.json").write_text('["a dog"]')
    refused(
        command,
        "must have an entry for each of 400 images; it has 1 entries",
        **{**BY_CAPTIONS, "pool_captions": "short.json"},
    )
    (files / "short.json").write_text('{"q0.jpg": "a dog"}')
    refused(command, "no entry for the image in row 1, q1.jpg", **{**BY_CAPTIONS, "negated_phrases": "short.json"})
    (files / "short.json").write_text(json.dumps(["a dog", 7, *["x"] * (len(queries) - 2)]))
    refused(command, "Entry 1 of", **{**BY_CAPTIONS, "negated_phrases": "short.json"})
    (files / "short.json").write_text('{"images": [{}], "annotations": []}')
    refused(command, "not a file of COCO captions", **{**BY_CAPTIONS, "pool_captions": "short.json"})
    (files / "short.json").write_text("{")
    refused(command, "cannot be read as JSON", **{**BY_CAPTIONS, "pool_captions": "short.json"})
    np.savez(files / "unsorted.npz", a=pool, names=[f"{number:012}.jpg" for number in range(400, 0, -1)])
    refused(command, "row 1 of the pool, 000000000399.jpg, does not follow that order", "out.pt", pool="unsorted.npz")
    assert not list(files.glob("out*"))


def test_without_a_pool_the_queries_are_the_pool(command, files, queries):
    assert command("out.parquet", pool=None)[0] == 0
    expected = brute_force(queries, queries, 3, np.eye(len(queries), dtype=bool))[0]
    assert pq.read_table(files / "out.parquet")["distractor_indices"].to_pylist() == expected.tolist()
    # The same file is the same set, whatever it is called.
    (files / "link.npz").symlink_to(files / "queries.npz")
    assert command("linked.parquet", "--duplicate_similarity", 2, pool="link.npz")[0] == 0
    assert pq.read_table(files / "linked.parquet")["distractor_indices"].to_pylist() == expected.tolist()
