"""Training on ready embeddings does what training on the images does, to the bit, and reads no pixel."""

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from ready_embeddings import embed_dataset
from runs import command, log, refusal, results, run, weights, write_inputs

from conclip.embedding import images
from conclip.errors import UsageError
from conclip.models.clip import load_model
from conclip.training.arguments import ConCLIPTrainingArguments, parse_arguments
from conclip.training.trainer import ConCLIPTrainer
from modeling_conclip import ConCLIPModel

COLUMN = {"image_embeds_column": "image_embeds"}
SHORT = {"max_steps": 3, "eval_steps": 2}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def ready(inputs, tmp_path_factory):
    """The same with embeddings, and a model that has no image processor."""
    folder = tmp_path_factory.mktemp("ready")
    ready = embed_dataset(inputs, folder / "embedded")
    shutil.copytree(inputs["model_name_or_path"], folder / "clip")
    for path in (folder / "clip").glob("*processor_config.json"):
        path.unlink()
    return {**ready, "model_name_or_path": str(folder / "clip")}


@pytest.fixture(scope="module")
def pixels(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    assert run(command(inputs, folder / "run", embedding_cache_dir=folder / "cache", **SHORT)) == 0
    return folder / "run"


@pytest.fixture
def no_pixels(monkeypatch):
    def fail(*_args, **_kwargs):
        raise AssertionError("an image was read")

    monkeypatch.setattr(images, "pixel_values", fail)
    monkeypatch.setattr(ConCLIPModel, "embed_images", fail)


def assert_same_run(one: Path, other: Path):
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())
    timeless = [{name: value for name, value in line.items() if "time" not in name} for line in log(one)]
    assert timeless == [{name: value for name, value in line.items() if "time" not in name} for line in log(other)]
    for when in ("before", "after"):
        assert results(one)[when] == results(other)[when]


def test_columns_of_embeddings_train_to_the_weights_of_the_images(ready, pixels, tmp_path, no_pixels):
    assert run(command(ready, tmp_path / "run", embedding_cache_dir=tmp_path / "cache", **COLUMN, **SHORT)) == 0
    assert_same_run(pixels, tmp_path / "run")
    assert results(tmp_path / "run")["arguments"]["training"]["loss"] == "conclip"


def test_numbers_of_rows_in_a_file_do_the_same(ready, pixels, tmp_path, no_pixels):
    """The images and then the distractors of both splits in a folder of parts, and the numbers in the columns."""
    (tmp_path / "data").mkdir()
    (tmp_path / "parts").mkdir()
    rows = datasets.load_dataset(ready["dataset_name"])
    start = 0
    for at, (split, own) in enumerate(rows.items()):
        vectors = np.float32([*own["image_embeds"], *(one for (one,) in own["distractor_image_embeds"])])
        np.save(tmp_path / "parts" / f"{at}.npy", vectors)
        own = own.remove_columns(["image_embeds", "distractor_image_embeds"])
        own = own.add_column("at", np.arange(start, start + len(own)))
        own = own.add_column("others", np.arange(start + len(own), start + 2 * len(own)))
        own.to_parquet(tmp_path / "data" / f"{split}.parquet")
        start += len(vectors)
    options = {"image_embeds_column": "at", "distractor_image_embeds_column": "others"}
    argv = command(
        {**ready, "dataset_name": str(tmp_path / "data")},
        tmp_path / "run",
        embedding_cache_dir=tmp_path / "cache",
        image_embeds_file=tmp_path / "parts",
        **options,
        **SHORT,
    )
    assert run(argv) == 0
    assert_same_run(pixels, tmp_path / "run")


def captions_alone(ready: dict, folder: Path, **columns) -> tuple[str, np.ndarray]:
    """A .jsonl file of the training rows without embeddings, and these."""
    rows = datasets.load_dataset(ready["dataset_name"], split="train")
    columns |= {name: rows[name][:] for name in ("caption", "negated_captions")}
    lines = [{name: values[at] for name, values in columns.items()} for at in range(len(rows))]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(folder / "rows.jsonl"), np.float32(rows["image_embeds"][:])


def test_a_file_in_the_order_of_the_rows_holds_out_images_and_resumes(ready, tmp_path, capsys, no_pixels):
    name, embeds = captions_alone(ready, tmp_path)
    # Each image twice: both copies have to be on the same side.
    embeds[1::2] = embeds[::2]
    np.savez(tmp_path / "embeds.npz", embeds=embeds)
    own = {**ready, "dataset_name": name, "image_embeds_file": tmp_path / "embeds.npz"}
    options = {"max_steps": 4, "save_steps": 2, "embedding_cache_dir": tmp_path / "cache"}
    assert run(command(own, tmp_path / "whole", **options)) == 0
    printed = capsys.readouterr().out
    assert "2 of its 25 images (4 rows)" in printed and "negclip" in printed
    assert "also trained on" not in printed
    options["resume_from_checkpoint"] = tmp_path / "whole" / "checkpoint-2"
    assert run(command(own, tmp_path / "resumed", **options)) == 0
    assert_same_weights(tmp_path / "whole", tmp_path / "resumed")


def assert_same_weights(one: Path, other: Path):
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


def test_rows_of_conclip_negate_name_their_embedding(ready, tmp_path, no_pixels):
    order = np.random.default_rng(0).permutation(50)
    name, embeds = captions_alone(ready, tmp_path, source_row=order.tolist())
    by_source = np.empty_like(embeds)
    by_source[order] = embeds
    np.save(tmp_path / "by-source.npy", by_source)
    np.save(tmp_path / "in-order.npy", embeds)
    options = {"eval_split": "none", "max_steps": 2, "embedding_cache_dir": tmp_path / "cache"}
    own = {**ready, "dataset_name": name}
    assert run(command(own, tmp_path / "one", image_embeds_file=tmp_path / "by-source.npy", **options)) == 0
    own["dataset_name"], _ = captions_alone(ready, tmp_path)
    assert run(command(own, tmp_path / "other", image_embeds_file=tmp_path / "in-order.npy", **options)) == 0
    assert_same_weights(tmp_path / "one", tmp_path / "other")


def test_embeddings_are_found_by_the_names_of_their_images(ready, tmp_path, capsys, no_pixels):
    names = [f"{number:02}.jpg" for number in np.random.default_rng(1).permutation(50)]
    name, embeds = captions_alone(ready, tmp_path, image=[f"photos/{one}" for one in names])
    by_name = np.argsort(names)
    np.savez(tmp_path / "by-name.npz", embeds=embeds[by_name], names=np.array(names)[by_name])
    np.savez(tmp_path / "in-order.npz", embeds=embeds)
    options = {"eval_split": "none", "max_steps": 2, "embedding_cache_dir": tmp_path / "cache"}
    own = {**ready, "dataset_name": name}
    for file in ("by-name", "in-order"):
        assert run(command(own, tmp_path / file, image_embeds_file=tmp_path / f"{file}.npz", **options)) == 0
    assert "The images in the column image are not read" in capsys.readouterr().out
    assert_same_weights(tmp_path / "by-name", tmp_path / "in-order")
    np.savez(tmp_path / "fewer.npz", embeds=embeds[by_name[1:]], names=np.array(names)[by_name[1:]])
    argv = command(own, tmp_path / "run", image_embeds_file=tmp_path / "fewer.npz")
    assert f"row {names.index('00.jpg')}: " in (says := refusal(argv, capsys)) and "image photos/00.jpg" in says


def test_a_file_of_another_length_is_refused(ready, tmp_path, capsys):
    name, embeds = captions_alone(ready, tmp_path)
    np.save(tmp_path / "embeds.npy", embeds[:-1])
    argv = command({**ready, "dataset_name": name}, tmp_path / "run", image_embeds_file=tmp_path / "embeds.npy")
    says = refusal(argv, capsys)
    assert "has 49 rows, but the split 'train' has 50" in says


def test_a_file_says_nothing_of_another_split(ready, tmp_path, capsys):
    file = Path(ready["dataset_name"]).with_name("train.npy")
    rows = datasets.load_dataset(ready["dataset_name"])
    (tmp_path / "data").mkdir()
    for split in rows:
        rows[split].remove_columns("image_embeds").to_parquet(tmp_path / "data" / f"{split}.parquet")
    own = {**ready, "dataset_name": str(tmp_path / "data")}
    assert "for the split 'test', name a column" in refusal(
        command(own, tmp_path / "run", image_embeds_file=file), capsys
    )


def test_embeddings_of_another_model_are_refused(ready, tmp_path, capsys):
    name, embeds = captions_alone(ready, tmp_path)
    np.save(tmp_path / "embeds.npy", embeds[:, :12])
    argv = command({**ready, "dataset_name": name}, tmp_path / "run", image_embeds_file=tmp_path / "embeds.npy")
    assert "holds embeddings of 12 numbers, but clip projects to 16" in refusal(argv, capsys)


def test_a_model_without_image_processor_needs_embeddings(ready, inputs, tmp_path, capsys):
    own = {**ready, "dataset_name": inputs["dataset_name"]}
    assert "preprocessor_config.json" in refusal(command(own, tmp_path / "run"), capsys)


def test_a_missing_column_is_named_by_its_option(ready, tmp_path, capsys):
    argv = command(ready, tmp_path / "run", image_embeds_column="embeds")
    assert refusal(argv, capsys).startswith("--image_embeds_column embeds: the split 'train' has no such column")


def test_distillation_scores_and_holds_out_images_by_their_embeddings(ready, tmp_path, capsys, no_pixels):
    name, embeds = captions_alone(ready, tmp_path)
    np.save(tmp_path / "embeds.npy", embeds)
    argv = command(
        {**ready, "dataset_name": name},
        tmp_path / "run",
        image_embeds_file=tmp_path / "embeds.npy",
        embedding_cache_dir=tmp_path / "cache",
        loss="negation_distillation",
        max_steps=1,
    )
    assert run(argv) == 0
    assert "5 of its 50 images (5 rows)" in capsys.readouterr().out
    assert "text-to-image recall@1" in results(tmp_path / "run")["after"]


def test_an_image_encoder_that_trains_is_refused_in_python_too(ready, tmp_path):
    rows = datasets.load_dataset(ready["dataset_name"], split="train")
    model, processor = load_model(ready["model_name_or_path"], needs_images=False, freeze_image_encoder=False)
    args = ConCLIPTrainingArguments(output_dir=str(tmp_path), **COLUMN, per_device_train_batch_size=8)
    with pytest.raises(UsageError, match="Embeddings do not train the image encoder"):
        ConCLIPTrainer(model, args, processor, rows)


MODEL = ["--model_name_or_path", "clip", "--dataset_name", "data"]
EMBEDS = [*MODEL, "--image_embeds_column", "image_embeds"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([*EMBEDS, "--train_image_encoder"], "--train_image_encoder needs images"),
        ([*EMBEDS, "--image_column", "photo"], "--image_column has no effect with embeddings"),
        ([*EMBEDS, "--distractor_image_column", "photo"], "--distractor_image_column has no effect with embeddings"),
        ([*EMBEDS, "--image_dir", "photos"], "--image_dir has no effect with embeddings"),
        ([*MODEL, "--distractor_image_embeds_column", "d"], "has no effect without --image_embeds_column"),
        (["--image_embeds_file", "e.npy"], "--image_embeds_file has no effect without --dataset_name"),
    ],
)
def test_options_that_do_not_go_together(argv, says):
    with pytest.raises(UsageError, match=says):
        parse_arguments(argv)
