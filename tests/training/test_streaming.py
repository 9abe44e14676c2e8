"""Training on a stream gives what training on the same rows in the same order gives, and resumes to the bit."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate import Accelerator
from accelerate_state import reset_accelerate
from ready_embeddings import embed_dataset
from runs import command, log, refusal, run, weights, write_inputs
from tiny import VOCABULARY, tiny_tokenizer

import conclip.stream
from conclip.data import load_stream
from conclip.embedding.embedding_column import EmbeddingColumn
from conclip.embedding.embedding_files import read_parts
from conclip.embedding.embedding_stream import numbered_stream
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.tokens import TextTokenizer
from conclip.errors import UsageError
from conclip.negation.statements import StatementGenerator
from conclip.stream import first_stream_rows, rows_of_stream
from conclip.training.arguments import parse_arguments
from conclip.training.pair_rows import PairRows
from conclip.training.statement_rows import StatementRows
from conclip.training.stream_rows import RowStream, StreamRows
from conclip.training.training_data import load_streams, open_stream

STREAM = {"streaming": True, "eval_split": "none"}


@pytest.fixture(autouse=True)
def fresh_state():
    yield
    reset_accelerate()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """48 rows in one file, six whole batches, and in three files of different sizes."""
    folder = tmp_path_factory.mktemp("inputs")
    inputs = write_inputs(folder)
    rows = datasets.load_dataset(inputs["dataset_name"], split="train").select(range(48))
    (folder / "one").mkdir()
    rows.to_parquet(folder / "one/train.parquet")
    (folder / "three").mkdir()
    for at, part in enumerate((range(0, 11), range(11, 30), range(30, 48))):
        rows.select(part).to_parquet(folder / f"three/train-{at}.parquet")
    return {**inputs, "dataset_name": str(folder / "one")}


def same(one, other) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """A run over buffers of two batches, from files that end within buffers, with all its checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(buffered(inputs, folder / "run", save_steps=1, save_total_limit=99)) == 0
    return folder / "run"


def buffered(inputs, output_dir, **options) -> list[str]:
    three = {**inputs, "dataset_name": inputs["dataset_name"].replace("one", "three")}
    settings = {**STREAM, "shuffle_buffer_size": 16, "max_steps": 9, "warmup_steps": 1, **options}
    return command(three, output_dir, **settings)


@pytest.mark.parametrize("step, workers", [(3, 1), (4, 0)])
def test_a_run_resumes_to_the_bit(inputs, whole, tmp_path, step, workers):
    """Within a buffer of the first pass, and at the end of one."""
    options = {"resume_from_checkpoint": whole / f"checkpoint-{step}", "dataloader_num_workers": workers}
    assert run(buffered(inputs, tmp_path / "run", save_steps=0, **options)) == 0
    assert same(whole, tmp_path / "run")
    losses = {line["step"]: line["train/loss"] for line in log(whole)}
    assert [losses[line["step"]] for line in log(tmp_path / "run")] == [
        line["train/loss"] for line in log(tmp_path / "run")
    ]
    assert len(log(tmp_path / "run")) == 9 - step


def test_a_stream_of_other_rows_is_refused(inputs, whole, tmp_path, capsys):
    (tmp_path / "three").mkdir()
    for path in Path(inputs["dataset_name"]).parent.glob("three/*.parquet"):
        rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
        rows.select(range(len(rows))[::-1]).to_parquet(tmp_path / "three" / path.name)
    others = {**inputs, "dataset_name": str(tmp_path / "one")}
    argv = buffered(others, tmp_path / "run", save_steps=0, resume_from_checkpoint=whole / "checkpoint-3")
    assert "does not continue where the checkpoint was saved" in refusal(argv, capsys)


def test_ready_embeddings_train_to_the_weights_of_the_dataset(inputs, tmp_path):
    ready = embed_dataset({**inputs, "dataset_name": inputs["dataset_name"]}, tmp_path / "ready")
    settings = {"eval_split": "none", "image_embeds_column": "image_embeds"}
    assert run(command(ready, tmp_path / "rows", **settings)) == 0
    assert run(command(ready, tmp_path / "stream", **settings, streaming=True, shuffle_buffer_size=48)) == 0
    assert same(tmp_path / "rows", tmp_path / "stream")


def write_shards(folder: Path, sizes: list[int]) -> datasets.IterableDataset:
    numbers = iter(range(sum(sizes)))
    folder.mkdir()
    for at, size in enumerate(sizes):
        rows = [next(numbers) for _ in range(size)]
        datasets.Dataset.from_dict({"n": rows}).to_parquet(folder / f"train-{at}.parquet", batch_size=4)
    return datasets.load_dataset(str(folder), split="train", streaming=True)


def read(stream: RowStream, count: int) -> list[int]:
    return stream.read(count)["n"].to_pylist()


@pytest.mark.parametrize("sizes", [[7, 13, 1, 9], [7, 13, 10]])
def test_each_row_is_read_once_a_pass_over_two_processes(tmp_path, sizes):
    """With as many shards for each, and with shards that two processes cannot share evenly."""
    dataset = write_shards(tmp_path / "shards", sizes)
    passes = []
    for seed in range(4):
        shares = []
        for rank in (0, 1):
            stream, own = RowStream(dataset, rank, 2, seed), []
            while stream._finished == 0:
                own += read(stream, 1)
            # The first row of the next pass ended the loop.
            shares.append(own[:-1])
        assert sorted(shares[0] + shares[1]) == list(range(30))
        assert min(map(len, shares)) > 1
        passes.append(shares)
    assert any(shares != passes[0] for shares in passes)


@pytest.mark.parametrize("world", [1, 2])
def test_a_stream_continues_at_each_position(tmp_path, monkeypatch, world):
    """Reads end within tables, at their ends, and across shards and passes."""
    monkeypatch.setattr(conclip.stream, "ROWS_AT_A_TIME", 5)
    dataset = write_shards(tmp_path / "shards", [7, 13, 1, 9])
    counts = [3, 2, 5, 1, 9, 4, 17, 30, 2]
    for rank in range(world):
        stream, positions, reads = RowStream(dataset, rank, world, 42), [], []
        for count in counts:
            positions.append(json.dumps(stream.position()))
            reads.append(read(stream, count))
        for at, position in enumerate(positions):
            other = RowStream(dataset, rank, world, 42)
            other.seek(json.loads(position))
            assert [read(other, count) for count in counts[at:]] == reads[at:]


def test_a_buffer_of_all_rows_is_the_run_on_the_dataset(inputs, tmp_path):
    """Two passes and a part of a third; the images are embedded in the loop, so the sums are in another order."""
    # With an epsilon this large, the size of AdamW's step depends on the size of the gradient, not only on its sign.
    settings = {"max_steps": 14, "eval_split": "none", "adam_epsilon": 1.0, "learning_rate": 0.1}
    assert run(command(inputs, tmp_path / "rows", **settings)) == 0
    assert run(command(inputs, tmp_path / "stream", **settings, streaming=True, shuffle_buffer_size=48)) == 0
    assert all(
        torch.allclose(value, weights(tmp_path / "stream")[name], atol=1e-5)
        for name, value in weights(tmp_path / "rows").items()
    )
    losses = [[line["train/loss"] for line in log(tmp_path / name)] for name in ("rows", "stream")]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def write_tars(rows: datasets.Dataset, folder: Path) -> None:
    """Two shards in the layout of WebDataset: for each row an image, a text and JSON."""
    folder.mkdir()
    rows = rows.cast_column("image", datasets.Image(decode=False))
    for at, part in enumerate((range(0, 20), range(20, 48))):
        with tarfile.open(folder / f"{at}.tar", "w") as tar:
            for number in part:
                row = rows[number]
                negated = json.dumps({"negated_captions": row["negated_captions"]}).encode()
                contents = {"png": row["image"]["bytes"], "txt": row["caption"].encode(), "json": negated}
                for suffix, content in contents.items():
                    info = tarfile.TarInfo(f"{number:05d}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("pattern", ["", "*.tar"])
def test_tar_files_train_to_the_weights_of_parquet(inputs, tmp_path, pattern):
    """A folder of them or a pattern, in buffers that end within a file."""
    rows = datasets.load_dataset(inputs["dataset_name"], split="train")
    write_tars(rows, tmp_path / "tars")
    (tmp_path / "rows").mkdir()
    for at, part in enumerate((range(0, 20), range(20, 48))):
        rows.select(part).to_parquet(tmp_path / f"rows/train-{at}.parquet")
    settings = {**STREAM, "loss": "negclip", "shuffle_buffer_size": 16, "max_steps": 5}
    assert run(command({**inputs, "dataset_name": tmp_path / "rows"}, tmp_path / "parquet", **settings)) == 0
    columns = {"image_column": "png", "caption_column": "txt", "negated_caption_column": "json.negated_captions"}
    tars = {**inputs, "dataset_name": tmp_path / "tars" / pattern}
    assert run(command(tars, tmp_path / "webdataset", **settings, **columns)) == 0
    assert same(tmp_path / "parquet", tmp_path / "webdataset")


def test_rows_that_contradict_themselves_are_replaced_by_the_next(tmp_path):
    """Every fifth row has a negated caption that equals its caption; the buffers are full without them."""
    captions = [f"a cat {at}" for at in range(20)]
    negated = [caption if at % 5 == 0 else f"no cat {at}" for at, caption in enumerate(captions)]
    embeds = np.eye(20, 32, dtype=np.float32).tolist()
    columns = {"image_embeds": embeds, "caption": captions, "negated_captions": negated}
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "train.parquet")
    dataset = datasets.load_dataset(str(tmp_path), split="train", streaming=True)

    def make_rows(rows: datasets.Dataset) -> PairRows:
        seen.append(rows["caption"][:])
        return PairRows(rows, tokenizer, "negclip", image_column="image_embeds", embeddings=True)

    seen, notes, buffers, tokenizer = [], [], [], TextTokenizer(tiny_tokenizer(), 77, VOCABULARY["<|endoftext|>"])
    rows = StreamRows(RowStream(dataset, 0, 1, 42), make_rows, 8, notes.append)
    for epoch in range(3):
        rows.set_epoch(epoch)
        assert len(rows) == len(rows.rows) == 8
        buffers += seen[-1]
    assert buffers == [caption for at, caption in enumerate(captions + captions) if at % 5][:24]
    assert len(notes) == 1 and "(2)" in notes[0]


def test_a_folder_of_embeddings_beside_parquet_is_a_stream_with_numbers(tmp_path):
    """As clip-retrieval writes it; the number of rows is known, and each row has the embedding of its file."""
    for name in ("img_emb", "metadata"):
        (tmp_path / name).mkdir()
    vectors = np.random.default_rng(0).standard_normal((30, 16)).astype(np.float16)
    for at, part in enumerate((slice(0, 11), slice(11, 30))):
        np.save(tmp_path / f"img_emb/img_emb_{at}.npy", vectors[part])
        captions = {"caption": [f"a cat {number}" for number in range(30)[part]]}
        datasets.Dataset.from_dict(captions).to_parquet(tmp_path / f"metadata/metadata_{at}.parquet")
    files = sorted(tmp_path.glob("metadata/*.parquet"))
    dataset = numbered_stream(files, tmp_path / "img_emb", "number", "train")
    assert rows_of_stream(dataset) == 30
    found = RowStream(dataset, 0, 1, 42).read(30).to_pylist()
    assert sorted(row["number"] for row in found) == list(range(30))
    assert all(row["caption"] == f"a cat {row['number']}" for row in found)
    parts = read_parts(tmp_path / "img_emb")
    assert all(isinstance(part, np.memmap) for part in parts)
    table = datasets.Dataset.from_list(found)
    embeds = EmbeddingColumn(table, "number", "train", parts)[:]
    expected = vectors[[row["number"] for row in found]].astype(np.float64)
    np.testing.assert_allclose(embeds, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    np.save(tmp_path / "img_emb/img_emb_1.npy", vectors[:18])
    with pytest.raises(UsageError, match="metadata_1.parquet has 19 rows, but .*img_emb_1.npy has 18 embeddings"):
        numbered_stream(files, tmp_path / "img_emb", "number", "train")
    (tmp_path / "img_emb/img_emb_1.npy").unlink()
    with pytest.raises(UsageError, match="2 Parquet files, but 1 .npy files"):
        numbered_stream(files, tmp_path / "img_emb", "number", "train")


@pytest.mark.parametrize(
    "options, says",
    [
        ({"max_steps": None}, "The stream does not say how many rows it has: add --max_steps."),
        ({"max_train_samples": 9}, "--max_train_samples has no effect with --streaming"),
        ({"loss": "negclip", "negated_caption_column": "nothing"}, "--loss negclip needs negated captions"),
        ({"distillation_weight": 1, "truth_weight": 1}, "--truth_weight learns from all training images"),
        ({"streaming": None}, "--shuffle_buffer_size has no effect without --streaming."),
    ],
)
def test_what_a_stream_does_not_allow_is_refused(inputs, tmp_path, capsys, options, says):
    argv = buffered(inputs, tmp_path / "run", **options)
    for name in (name for name, value in options.items() if value is None):
        at = argv.index(f"--{name}")
        del argv[at : at + (1 if name == "streaming" else 2)]
    assert says in refusal(argv, capsys)


def test_the_rows_to_evaluate_on_are_the_first_of_their_split(inputs, capsys):
    folder = Path(inputs["dataset_name"]).parent / "data"
    argv = command({**inputs, "dataset_name": folder}, "unused", streaming=True, max_eval_samples=5)
    _, data_args, training_args = parse_arguments(argv)
    _, rows, split = load_streams(data_args, training_args, Accelerator(cpu=True))
    assert split == "test" and "Evaluating on the first 5 rows of the split 'test'." in capsys.readouterr().out
    expected = datasets.load_dataset(str(folder), split="test")["caption"][:5]
    assert rows["caption"][:] == expected
    _, rows, split = load_streams(
        replace(data_args, dataset_name=inputs["dataset_name"]), training_args, Accelerator()
    )
    assert rows is None and split == "none" and "so there is no evaluation" in capsys.readouterr().out


def test_each_process_has_its_own_statements(tmp_path):
    dataset = write_shards(tmp_path / "shards", [4, 4])
    generator, indices = StatementGenerator([f"a {color} cat" for color in ("red", "green", "blue")]), []
    for rank in range(2):
        statements = StatementRows(generator, tokenize=len, length=3)
        StreamRows(RowStream(dataset, rank, 2, 42), None, 24, print).use_statements(statements)
        indices += [statements.first + index for index in range(24)]
        assert statements.statements([0, 5]) == [generator(0, 24 * rank), generator(0, 24 * rank + 5)]
    assert sorted(indices) == list(range(48))


def test_statements_beside_pairs_are_made_of_the_first_captions(inputs, tmp_path, capsys):
    settings = {"max_steps": 2, "distillation_weight": 0.5, "own_words": True, "shuffle_buffer_size": 8}
    assert run(command(inputs, tmp_path / "run", **STREAM, **settings)) == 0
    said = capsys.readouterr().out
    assert "Negation distillation uses the captions of the first 48 rows of the stream." in said
    losses = [line["train/loss_cosine"] for line in log(tmp_path / "run")]
    assert len(losses) == 2 and min(losses) > 0


def test_paths_of_images_are_relative_to_the_folder_of_the_data(tmp_path):
    """In JSON lines, whose types only the rows say; the stream continues exactly in the middle."""
    lines = []
    for at in range(6):
        PIL.Image.new("RGB", (4, 4), (40 * at, 0, 0)).save(tmp_path / f"{at}.png")
        lines.append(json.dumps({"image": f"{at}.png", "caption": f"a cat {at}"}))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    inputs = {"model_name_or_path": "unused", "dataset_name": tmp_path / "rows.jsonl"}
    _, data_args, training_args = parse_arguments(command(inputs, "unused", **STREAM))
    dataset = open_stream(data_args, training_args, "train")
    rows = first_stream_rows(dataset, 5)
    assert [image.getpixel((0, 0))[0] for image in ImageColumn(rows, "image", "train")] == [0, 40, 80, 120, 160]
    stream = RowStream(dataset, 0, 1, 42)
    stream.read(2)
    position, expected = stream.position(), stream.read(7).to_pylist()
    other = RowStream(dataset, 0, 1, 42)
    other.seek(position)
    assert other.read(7).to_pylist() == expected


@pytest.mark.parametrize("form", ["{bytes, path}", "{path}", "large_string"])
def test_all_forms_of_paths_are_relative_to_the_folder_of_the_data(tmp_path, form):
    """As `Dataset.to_json` and Polars write them; beside them, lists of images with their bytes."""
    names, lists = [f"{at}.png" for at in range(3)], []
    for at, name in enumerate(names):
        PIL.Image.new("RGB", (4, 4), (40 * at, 0, 0)).save(tmp_path / name)
        lists.append([{"bytes": (tmp_path / name).read_bytes(), "path": None}])
    images = {
        "{bytes, path}": [{"bytes": None, "path": name} for name in names],
        "{path}": [{"path": name} for name in names],
        "large_string": pa.array(names, pa.large_string()),
    }
    columns = {"image": images[form], "distractor_images": lists, "caption": ["a cat"] * 3}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    inputs = {"model_name_or_path": "unused", "dataset_name": tmp_path / "rows.parquet"}
    _, data_args, training_args = parse_arguments(command(inputs, "unused", **STREAM))
    rows = first_stream_rows(open_stream(data_args, training_args, "train"), 3)
    lists = ImageColumn(rows, "distractor_images", "train", np.arange(3), np.zeros(3, np.int64))
    for images in (ImageColumn(rows, "image", "train"), lists):
        assert [image.getpixel((0, 0))[0] for image in images] == [0, 40, 80]


@pytest.mark.parametrize("name", ["", "*.parquet"])
def test_parquet_files_without_rows_are_passed_over(tmp_path, name):
    """The first file too, and a process whose files are all empty says so."""
    for at, numbers in enumerate(([], [0, 1, 2, 3], [], [4, 5, 6])):
        pq.write_table(pa.table({"n": pa.array(numbers, pa.int64())}), tmp_path / f"train-{at}.parquet")
    dataset = load_stream(f"{tmp_path}/{name}")
    assert first_stream_rows(dataset, 9)["n"][:] == [*range(7)]
    assert sorted(read(RowStream(dataset, 0, 1, 42), 7)) == [*range(7)]
    for path in sorted(tmp_path.glob("*.parquet"))[1::2]:
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(UsageError, match="The stream of the split 'train' has no rows."):
        first_stream_rows(load_stream(f"{tmp_path}/{name}"), 9)
    with pytest.raises(UsageError, match="has fewer rows than there are processes"):
        RowStream(load_stream(f"{tmp_path}/{name}"), 0, 1, 42).read(1)


def test_parquet_files_without_rows_on_the_hub_are_passed_over(tmp_path, monkeypatch):
    for at, numbers in enumerate(([0, 1, 2, 3], [], [4, 5, 6])):
        pq.write_table(pa.table({"n": pa.array(numbers, pa.int64())}), tmp_path / f"train-{at}.parquet")
    of_folder = datasets.load_dataset_builder
    # What `datasets` makes of a repository differs from this in its addresses alone.
    for module in (datasets, datasets.load):
        monkeypatch.setattr(
            module, "load_dataset_builder", lambda path, name=None, **_: of_folder(str(tmp_path), name)
        )
    assert [row["n"] for row in load_stream("someone/rows")] == [*range(7)]


def test_structs_of_bytes_and_path_are_images(tmp_path):
    """As other programs write them to Parquet, without the note that they are images; one of them, or a list."""
    structs = []
    for shade in (40, 80, 120):
        file = io.BytesIO()
        PIL.Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, "png")
        structs.append({"bytes": file.getvalue(), "path": None})
    columns = {"image": structs, "distractor_images": [[one] for one in structs], "caption": ["a cat"] * 3}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    inputs = {"model_name_or_path": "unused", "dataset_name": tmp_path / "rows.parquet"}
    _, data_args, training_args = parse_arguments(command(inputs, "unused", **STREAM))
    rows = first_stream_rows(open_stream(data_args, training_args, "train"), 3)
    lists = ImageColumn(rows, "distractor_images", "train", np.arange(3), np.zeros(3, np.int64))
    for images in (ImageColumn(rows, "image", "train"), lists):
        assert [image.getpixel((0, 0))[0] for image in images] == [40, 80, 120]


def test_the_time_for_the_first_rows_is_linear(monkeypatch):
    """Of tar files, each table has one row."""
    counted = []
    monkeypatch.setattr(conclip.stream, "len", lambda one: counted.append(one) or len(one), raising=False)
    rows = datasets.IterableDataset.from_generator(lambda: ({"n": at} for at in range(300)))
    assert first_stream_rows(rows, 200)["n"][:] == [*range(200)]
    assert 200 < len(counted) < 5 * 200


def test_the_tar_file_of_the_last_row_is_named(inputs, tmp_path):
    write_tars(datasets.load_dataset(inputs["dataset_name"], split="train"), tmp_path / "tars")
    damaged = tmp_path / "tars/1.tar"
    damaged.write_bytes(damaged.read_bytes()[:20_000])
    with pytest.raises(UsageError, match=r"unexpected end of data; the last row that was read is in \S+1\.tar\)"):
        first_stream_rows(load_stream(str(tmp_path / "tars")), 48)
