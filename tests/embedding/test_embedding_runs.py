"""Training and evaluation on cached embeddings: each distinct image is embedded once, and none is out of date."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate_state import reset_accelerate
from bad_rows import encoded, make_rows
from embedded import COUNT, Watch, image, stored, write_inputs, write_rows
from runs import command, log, refusal, results, run
from tiny import save_tiny, tiny_processor

from conclip.embedding import fingerprint
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.images import ImageEmbedder, embedding_cache_dir
from conclip.embedding.store import ShardWriter
from modeling_conclip import ConCLIPModel


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    save_tiny(folder, ConCLIPModel)
    return folder


@pytest.fixture
def inputs(clip, tmp_path):
    return write_inputs(tmp_path, clip)


@pytest.fixture
def make_accelerator():
    reset_accelerate()
    yield lambda precision: Accelerator(cpu=True, mixed_precision=precision)
    reset_accelerate()


@pytest.fixture
def seen(monkeypatch):
    return Watch(monkeypatch)


def test_each_distinct_image_is_embedded_once_and_never_again(inputs, tmp_path, seen, capsys):
    assert run(command(inputs, tmp_path / "first")) == 0
    # Each image that is embedded is hashed again, to see that it is still the same.
    assert seen.new_counts() == (26, COUNT + 2 * COUNT + 26, 26)
    bars = capsys.readouterr().err
    assert "Embedding images: 20 of 20 (0 in the cache)" in bars
    assert "Embedding distractors: 6 of 12 (6 in the cache)" in bars
    assert run(command(inputs, tmp_path / "second")) == 0
    assert seen.new_counts() == (0, 0, 0)
    assert "Embedding" not in capsys.readouterr().err
    assert log(tmp_path / "first") == log(tmp_path / "second")


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_embeddings_are_those_of_each_image_alone(precision, clip, tmp_path, make_accelerator):
    dataset = make_rows(9, {row: {"image": image(3 * row)} for row in range(9)})
    model, processor = ConCLIPModel.from_pretrained(clip).eval(), tiny_processor()
    embedder = ImageEmbedder(processor, make_accelerator(precision), 4, 0, tmp_path)
    images = ImageColumn(dataset, "image", "train")
    found = embedder(model, images, "images")
    for row in range(9):
        pixels = processor(images=dataset[row]["image"], return_tensors="pt")["pixel_values"]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            alone = model.get_image_features(pixels).pooler_output[0].float()
        # bf16 keeps 8 bits: batches of another shape may round otherwise.
        tolerance = 1e-6 if precision == "no" else 4e-3
        torch.testing.assert_close(found[row], alone / alone.norm(), rtol=0, atol=tolerance)
        with torch.no_grad():
            wide = model.get_image_features(pixels).pooler_output[0]
        assert (found[row] - wide / wide.norm()).abs().max() > 1e-4 or precision == "no", "autocast was on"
    assert found[:].dtype == torch.float32
    model.vision_model.requires_grad_(True)
    torch.testing.assert_close(embedder(model, images, "images"), found[:])


def other_weights(inputs, tmp_path, monkeypatch):
    save_tiny(tmp_path / "other", ConCLIPModel, seed=1)
    return {"model_name_or_path": str(tmp_path / "other")}


def other_projection(inputs, tmp_path, monkeypatch):
    model = save_tiny(tmp_path / "other", ConCLIPModel)
    torch.nn.init.normal_(model.visual_projection.weight)
    model.save_pretrained(tmp_path / "other")
    return {"model_name_or_path": str(tmp_path / "other")}


def other_processing(inputs, tmp_path, monkeypatch):
    save_tiny(tmp_path / "other", ConCLIPModel)
    processor = tiny_processor()
    processor.image_processor.image_mean = [0.1, 0.2, 0.3]
    processor.save_pretrained(tmp_path / "other")
    return {"model_name_or_path": str(tmp_path / "other")}


def other_config(inputs, tmp_path, monkeypatch):
    save_tiny(tmp_path / "other", ConCLIPModel, vision={"hidden_act": "gelu"})
    return {"model_name_or_path": str(tmp_path / "other")}


def other_precision(inputs, tmp_path, monkeypatch):
    return {"bf16": True}


def other_version(inputs, tmp_path, monkeypatch):
    version = fingerprint.version
    monkeypatch.setattr(fingerprint, "version", lambda name: "0.1" if name == "pillow" else version(name))
    return {}


@pytest.mark.parametrize(
    "change",
    [other_weights, other_projection, other_processing, other_config, other_precision, other_version],
)
def test_a_change_of_the_encoder_is_noticed(change, inputs, tmp_path, seen, monkeypatch):
    assert run(command(inputs, tmp_path / "first")) == 0
    seen.new_counts()
    changed = {**inputs, **change(inputs, tmp_path, monkeypatch)}
    assert run(command(changed, tmp_path / "second")) == 0
    assert seen.new_counts() == (26, 26, 26), "embedded anew, by the same keys"
    assert run(command({**changed, "embedding_cache_dir": tmp_path / "fresh"}, tmp_path / "third")) == 0
    assert log(tmp_path / "second") == log(tmp_path / "third")
    assert (log(tmp_path / "first") == log(tmp_path / "second")) is (change is other_version)


def test_an_image_file_that_changes_in_place_is_noticed(inputs, tmp_path, seen):
    file = tmp_path / "image.png"
    file.write_bytes(encoded("red"))
    write_rows(tmp_path / "data", {3: {"image": {"path": str(file)}}})
    assert run(command(inputs, tmp_path / "first")) == 0
    seen.new_counts()
    assert run(command(inputs, tmp_path / "same")) == 0 and seen.new_counts() == (0, 0, 0)
    file.write_bytes(encoded("lime"))
    assert run(command(inputs, tmp_path / "second")) == 0
    assert seen.new_counts()[0] == 1
    assert run(command({**inputs, "embedding_cache_dir": tmp_path / "fresh"}, tmp_path / "third")) == 0
    first, second, third = (log(tmp_path / name) for name in ("first", "second", "third"))
    assert [line["train/loss"] for line in second] == pytest.approx([line["train/loss"] for line in third], rel=1e-6)
    assert first != second


def test_an_image_file_that_changes_while_it_is_embedded_is_refused(inputs, tmp_path, monkeypatch, capsys):
    file = tmp_path / "image.png"
    file.write_bytes(encoded("red"))
    write_rows(tmp_path / "data", {3: {"image": {"path": str(file)}}})
    monkeypatch.setattr(ShardWriter, "__enter__", lambda self: file.write_bytes(encoded("lime")) and self)
    says = refusal(command(inputs, tmp_path / "out"), capsys)
    assert says == "Split 'train', row 3: image was changed while this run was reading it: start the command again."


def test_captions_and_rows_may_change_without_embedding_anything(inputs, tmp_path, seen):
    assert run(command(inputs, tmp_path / "first")) == 0
    write_rows(tmp_path / "data", {row: {"caption": f"another {row}"} for row in range(COUNT)}, count=30)
    seen.new_counts()
    assert run(command(inputs, tmp_path / "second")) == 0
    assert seen.new_counts() == (0, 30 + 60, 0)


def test_lora_reads_the_same_embeddings(inputs, tmp_path, seen):
    assert run(command(inputs, tmp_path / "first")) == 0
    seen.new_counts()
    assert run(command(inputs, tmp_path / "lora", use_lora=True)) == 0
    assert seen.new_counts() == (0, 0, 0)


def test_a_tuned_model_shares_the_image_encoder_of_its_base(inputs, tmp_path, seen):
    assert run(command(inputs, tmp_path / "first")) == 0
    seen.new_counts()
    assert run(command({**inputs, "model_name_or_path": tmp_path / "first"}, tmp_path / "second")) == 0
    assert seen.new_counts() == (0, 0, 0)


def test_evaluation_keeps_its_images_before_and_after(inputs, tmp_path, seen):
    shutil.copy(tmp_path / "data/train.parquet", tmp_path / "data/test.parquet")
    inputs = {**inputs, "eval_split": "test"}
    assert run(command(inputs, tmp_path / "first")) == 0
    assert seen.new_counts()[0] == 26
    assert run(command(inputs, tmp_path / "second")) == 0
    assert seen.new_counts() == (0, 0, 0)
    assert results(tmp_path / "first")["before"] == results(tmp_path / "second")["before"]


def test_an_encoder_in_training_leaves_no_embeddings_in_the_cache(inputs, tmp_path, seen):
    shutil.copy(tmp_path / "data/train.parquet", tmp_path / "data/test.parquet")
    argv = command({**inputs, "eval_split": "test"}, tmp_path / "out", train_image_encoder=True)
    assert run(argv) == 0
    # The hashes of the images, which the evaluation needs to pool them, and the tokens of the texts.
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"indexes", "texts"}
    assert run(command(inputs, tmp_path / "frozen")) == 0
    assert stored(tmp_path / "cache") and seen.new_counts()[0] > 26


def test_shards_that_a_network_disk_does_not_list_yet_are_read(inputs, tmp_path, monkeypatch):
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, of: iter(()) if of.startswith("shard-") else glob(self, of))
    assert run(command(inputs, tmp_path / "out")) == 0


def test_default_folder_is_in_the_cache_of_hugging_face(monkeypatch):
    assert embedding_cache_dir() == Path(os.environ["HF_HOME"], "conclip", "embeddings")
    assert embedding_cache_dir("~/here") == Path("~/here").expanduser()
