"""The split to evaluate on, and the loss, that a run takes where the user names none."""

import json
from dataclasses import fields

import datasets
import numpy as np
import pytest
from bad_rows import encoded, make_rows
from embedded import write_rows
from PIL import Image
from runs import command, log, refusal, results, run
from tiny import save_tiny, tiny_model, tiny_processor

from conclip import ConCLIPTrainer, ConCLIPTrainingArguments
from conclip.errors import UsageError
from conclip.training.default_loss import default_loss
from conclip.training.splits import count_trained_images, default_eval_split, hold_out

COLUMNS = ("negated_captions", "distractor_images")


@pytest.mark.parametrize(
    ("names", "train_split", "expected"),
    [
        (["train", "validation", "test"], "train", "test"),
        (["train", "validation"], "train", "validation"),
        (["train", "val"], "train[:90%]", "val"),
        (["train"], "train", None),
        (["train", "extra"], "train", None),
        (["train", "test"], "test", None),
        (["train", "validation", "test"], "train+test", "validation"),
        (["train", "validation"], "train+validation[:50%]", None),
    ],
)
def test_the_split_to_evaluate_on(names, train_split, expected):
    assert default_eval_split(names, train_split) == expected


def keys_of(images: list[int]) -> np.ndarray:
    return np.array([[image] * 16 for image in images], np.uint8)


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (19, 1), (20, 2), (250, 25)])
def test_a_tenth_of_the_images_is_held_out(count, held_out):
    images = [row % count for row in range(3 * count)]
    dataset = datasets.Dataset.from_dict({"image": images, "row": range(len(images))})
    train, test, note = hold_out(dataset, keys_of(images), seed=3)
    assert len(set(test["image"])) == held_out and len(test) == 3 * held_out
    assert not set(test["image"]) & set(train["image"])
    assert sorted(train["row"][:] + test["row"][:]) == list(range(len(images)))
    assert train["row"][:] == sorted(train["row"]) and test["row"][:] == sorted(test["row"])
    assert note == f"{held_out} of its {count} images ({3 * held_out} rows), drawn with --seed 3, are held out"


def test_at_most_a_thousand_images_are_held_out():
    keys = np.arange(12_000, dtype=np.uint64).repeat(2).view(np.uint8).reshape(12_000, 16)
    dataset = datasets.Dataset.from_dict({"row": range(12_000)})
    assert [len(part) for part in hold_out(dataset, keys, seed=0)[:2]] == [11_000, 1_000]


def test_the_seed_decides_and_the_order_of_the_rows_does_not():
    images = list(range(100))

    def held_out(order, seed):
        dataset = datasets.Dataset.from_dict({"image": order})
        return set(hold_out(dataset, keys_of(order), seed)[1]["image"])

    assert held_out(images, 1) == held_out(images[::-1], 1) != held_out(images, 2)


def test_one_image_cannot_be_held_out():
    with pytest.raises(
        UsageError, match="All rows have the same image, so none can be held out: add --eval_split none"
    ):
        hold_out(datasets.Dataset.from_dict({"image": [0, 0]}), keys_of([0, 0]), seed=0)


NEGATED = ["no dog"]


@pytest.mark.parametrize(
    ("columns", "loss", "note"),
    [
        ({}, "clip", "no negated captions (column negated_captions)"),
        ({"negated_captions": [[], []]}, "clip", "no negated captions"),
        ({"negated_captions": [None, ""]}, "clip", "no negated captions"),
        ({"negated_captions": [NEGATED, NEGATED]}, "negclip", "no distractor images (column distractor_images)"),
        ({"negated_captions": ["no dog", "no cat"], "distractor_images": [[], []]}, "negclip", "no distractor images"),
        ({"negated_captions": [NEGATED, NEGATED], "distractor_images": [None, None]}, "negclip", "no distractor"),
        ({"negated_captions": [NEGATED, NEGATED], "distractor_images": [[], ["a.png"]]}, "conclip", ""),
        ({"negated_captions": ["no dog", "no cat"], "distractor_images": ["b.png", "a.png"]}, "conclip", ""),
    ],
)
def test_the_loss_that_the_columns_allow(columns, loss, note):
    dataset = datasets.Dataset.from_dict({"caption": ["a dog", "a cat"], **columns})
    found = default_loss(dataset, *COLUMNS)
    assert found[0] == loss and note in found[1] and bool(note) == bool(found[1])


def test_distractors_are_not_read_to_choose_the_loss(monkeypatch):
    monkeypatch.setattr("conclip.training.default_loss.ROWS_AT_A_TIME", 2)
    assert default_loss(make_rows(5, {}), *COLUMNS)[0] == "conclip"
    without = {row: {"distractor_images": []} for row in range(5)}
    assert default_loss(make_rows(5, without), *COLUMNS)[0] == "negclip"
    assert default_loss(make_rows(5, {row: without[row] for row in range(4)}), *COLUMNS)[0] == "conclip"


def trainer(dataset, output_dir, **settings):
    args = ConCLIPTrainingArguments(
        output_dir=str(output_dir),
        per_device_train_batch_size=4,
        max_steps=1,
        embedding_cache_dir=str(output_dir / "cache"),
        **settings,
    )
    return ConCLIPTrainer(model=tiny_model(), args=args, processing_class=tiny_processor(), train_dataset=dataset)


def test_python_chooses_the_loss_too(tmp_path, capsys):
    without = make_rows(8, {row: {"distractor_images": []} for row in range(8)})
    made = trainer(without, tmp_path)
    assert made.args.loss == "negclip" and "no distractor images" in capsys.readouterr().out
    assert {field.name: getattr(made.args, field.name) for field in fields(made.args)}["max_steps"] == 1
    assert made.train()["steps"] == 1
    assert trainer(make_rows(8, {}), tmp_path).args.loss == "conclip" and "no " not in capsys.readouterr().out
    with pytest.raises(
        UsageError, match="--loss conclip needs distractor images, and the column distractor_images has none: find"
    ):
        trainer(without, tmp_path, loss="conclip")
    with pytest.raises(UsageError, match="--negated_caption_column negations: the split 'train' has no such column"):
        trainer(without, tmp_path, negated_caption_column="negations")


@pytest.fixture
def captions(tmp_path):
    """Sixteen images, each in two rows of a file beside the folder of images, with negated captions."""
    save_tiny(tmp_path / "clip")
    (tmp_path / "data" / "images").mkdir(parents=True)
    rows = []
    for image in range(16):
        Image.new("RGB", (40, 40), (15 * image, 0, 0)).save(tmp_path / "data" / "images" / f"{image}.png")
        for thing in ("dog", "cat"):
            row = {"image": f"images/{image}.png", "caption": f"a {thing} in {image}"}
            rows.append({**row, "negated_captions": [f"no {thing} in {image}"]})
    path = tmp_path / "data" / "captions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def argv_for(captions, output_dir, **options):
    inputs = {"model_name_or_path": captions.parents[1] / "clip", "dataset_name": captions}
    defaults = {"max_steps": 2, "per_device_train_batch_size": 4, "embedding_cache_dir": output_dir / "cache"}
    return command(inputs, output_dir, **{**defaults, **options})


def test_a_file_of_captions_trains_without_further_options(captions, tmp_path, capsys, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(argv_for(captions, tmp_path / "out")) == 0
    out = capsys.readouterr().out
    says = "has no split to evaluate on: 1 of its 16 images (2 rows), drawn with --seed 42, are held out; "
    assert out.count(says) == 1 and out.count("no distractor images") == 1
    found = results(tmp_path / "out")
    assert found["arguments"]["training"]["loss"] == "negclip"
    assert found["after"]["negation pair accuracy"]["count"] == 2
    assert len([line for line in log(tmp_path / "out") if "train/loss" in line]) == 2
    # The same rows are held out when the run is repeated, from the index of the images.
    assert run(argv_for(captions, tmp_path / "again", embedding_cache_dir=tmp_path / "out" / "cache")) == 0
    assert results(tmp_path / "again")["after"] == found["after"]


def test_columns_of_paths_train_as_images_do(captions, tmp_path):
    """Paths with --image_dir, bytes in Parquet and images in Parquet give the same weights' scores."""
    rows = datasets.load_dataset("json", data_files=str(captions), split="train")
    contents = [(captions.parent / path).read_bytes() for path in rows["image"]]
    as_bytes = rows.remove_columns("image").add_column("image", contents)
    as_bytes.to_parquet(tmp_path / "bytes" / "train.parquet")
    as_bytes.cast_column("image", datasets.Image()).to_parquet(tmp_path / "images" / "train.parquet")
    moved = captions.rename(tmp_path / "moved.jsonl")
    found = []
    for name, data in (("paths", moved), ("bytes", tmp_path / "bytes"), ("images", tmp_path / "images")):
        options = (
            {"dataset_name": data, "image_dir": moved.parent / "data"} if name == "paths" else {"dataset_name": data}
        )
        inputs = {"model_name_or_path": tmp_path / "clip", **options}
        cache = {"embedding_cache_dir": tmp_path / name / "cache"}
        assert run(command(inputs, tmp_path / name / "out", max_steps=2, per_device_train_batch_size=4, **cache)) == 0
        found.append(results(tmp_path / name / "out")["after"])
    assert found[0] == found[1] == found[2]


def test_what_is_named_and_missing_is_an_error(captions, tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    captions.rename(folder / "train.jsonl")
    options = {"dataset_name": folder, "image_dir": captions.parent}
    message = refusal(argv_for(captions, tmp_path / "out", **options, eval_split="test"), capsys)
    assert "split 'test': Unknown split" in message and "train" in message
    message = refusal(argv_for(captions, tmp_path / "out", **options, loss="conclip"), capsys)
    assert message.startswith("--loss conclip needs distractor images, and the column distractor_images has none: ")
    message = refusal(argv_for(captions, tmp_path / "out", **options, negated_caption_column="negated"), capsys)
    assert message.startswith("--negated_caption_column negated: the split 'train' has no such column")
    (captions.parent / "images" / "3.png").unlink()
    message = refusal(argv_for(captions, tmp_path / "out", **options), capsys)
    assert message.startswith("Split 'train', row 6: cannot read image: ")
    assert message.endswith(
        "images/3.png: No such file or directory; --image_dir is the folder that paths are relative to."
    )


def test_a_validation_split_is_taken_and_said(tmp_path, capsys):
    save_tiny(tmp_path / "clip")
    for split in ("train", "validation"):
        make_rows(8, {}).to_parquet(tmp_path / "data" / f"{split}.parquet")
    inputs = {"model_name_or_path": tmp_path / "clip", "dataset_name": tmp_path / "data"}
    argv = command(inputs, tmp_path / "out", max_steps=1, per_device_train_batch_size=4)
    assert run([*argv, "--embedding_cache_dir", str(tmp_path / "cache")]) == 0
    assert "data has no split 'test': evaluating on 'validation'." in capsys.readouterr().out
    assert results(tmp_path / "out")["split"] == "validation"


def test_rows_are_counted_as_in_the_file_after_images_were_held_out(tmp_path, capsys):
    """Whichever part the damaged image falls into."""
    save_tiny(tmp_path / "clip")
    damaged = {"image": {"bytes": encoded("blue")[:-20]}}
    images = {row: {"image": {"bytes": encoded((row, 0, 0))}} for row in range(20)}
    make_rows(20, {**images, 13: damaged}).to_parquet(tmp_path / "data" / "train.parquet")
    inputs = {"model_name_or_path": tmp_path / "clip", "dataset_name": tmp_path / "data"}
    for seed in range(2):
        argv = command(inputs, tmp_path / "out", max_steps=1, per_device_train_batch_size=4, seed=seed)
        message = refusal([*argv, "--embedding_cache_dir", str(tmp_path / "cache")], capsys)
        assert message.startswith("Split 'train', row 13: cannot read image: ")


def test_evaluation_rows_whose_image_is_trained_on_are_counted():
    assert count_trained_images(keys_of([1, 2, 2, 3, 0]), keys_of([2, 0, 0, 4])) == 3
    assert count_trained_images(keys_of([1, 3]), keys_of([2, 0])) == 0


@pytest.mark.parametrize(
    ("eval_split", "shared"), [("train[20:24]", 2), ("train[:21]", 21), ("train[22:26]", 0)], ids=str
)
def test_an_evaluation_split_that_overlaps_training_is_warned_of(eval_split, shared, tmp_path, capsys):
    """Rows come in pairs with the same image: row 20 is trained on, and row 21 shows its image."""
    save_tiny(tmp_path / "clip")
    inputs = {"model_name_or_path": tmp_path / "clip", "dataset_name": write_rows(tmp_path / "data")}
    splits = {"train_split": "train[:21]", "eval_split": eval_split}
    argv = command(inputs, tmp_path / "out", **splits, max_steps=2, loss="negclip", train_image_encoder=True)
    assert run(argv) == 0
    rows = 21 if shared == 21 else 4
    warning = (
        f"Warning: {shared} of {rows} evaluation rows (split '{eval_split}') show an image that is also trained on: "
        "their scores say nothing about new images.\n"
    )
    printed = capsys.readouterr().out
    assert warning in printed if shared else "evaluation rows" not in printed
