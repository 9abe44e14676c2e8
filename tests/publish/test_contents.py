"""What of a folder is uploaded: `conclip push --dry_run`, and every client loads what it writes."""

import json
import shutil
import weakref
from pathlib import Path

import evaluate
import pyarrow.parquet as pq
import pytest
import torch
from ccneg_files import jpeg
from datasets import Dataset, load_dataset
from huggingface_hub import DatasetCard
from peft import AutoPeftModel, LoraConfig, PeftModel, get_peft_model
from PIL import Image
from tiny import save_tiny, tiny_batch, tiny_model, tiny_processor
from transformers import AutoModel, CLIPModel, pipeline

from conclip.models.saving import save_model
from conclip.negation.pipeline.output import make_card, write_parquet
from conclip.negation.rows import features
from conclip.public_names import public_command, without_local_paths
from conclip.publish import dataset_files
from conclip.publish.command import main
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.trackers import tracker_config

ROOT = Path(__file__).resolve().parents[2]
SPLITS = {"train": (0, 16), "test": (16, 24)}
CARD = '---\nlicense: mit\n---\n\n# mine\n\n```python\nclassify = pipeline("x", model="mine")\n```\n'


def push_dry(folder: Path, repo_id: str, out: Path, *options: str) -> None:
    assert main([str(folder), repo_id, "--dry_run", str(out), *options]) == 0


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def model(tmp_path) -> Path:
    """A folder as training leaves it, with much that is no part of the model."""
    folder = tmp_path / "mine"
    save_tiny(folder)
    (folder / "README.md").write_text(CARD)
    stray = ["checkpoint-10/optimizer.bin", "metrics.jsonl", "conclip/events.out.tfevents.1", ".conclip.lock"]
    stray += ["pytorch_model.bin", "training_args.pt", "embeddings.npy", "photo.jpg", "unfinished-model/config.json"]
    for name in stray:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_of_a_model_only_its_files_go_up_and_the_rest_is_named(model, tmp_path, capsys):
    push_dry(model, "me/clip", tmp_path / "out")
    printed = capsys.readouterr().out
    code = {f"{name}_conclip.py" for name in ("configuration", "encoders", "loss", "modeling", "packing")}
    files = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert names(tmp_path / "out") == code | files | {"processor_config.json"}
    for why, name in {
        "checkpoints": "checkpoint-10/optimizer.bin",
        "unfinished files": "unfinished-model/config.json",
        "logs": "conclip/events.out.tfevents.1 and 1 more",
        "caches and embeddings": "embeddings.npy",
        "pickles, which can hold code": "pytorch_model.bin and 1 more",
        "hidden files": ".conclip.lock",
        "files that are not part of a model": "photo.jpg",
    }.items():
        assert f"Left out: {why} ({name})\n" in printed
    assert printed.endswith(f"Nothing was sent; what would be uploaded is in {tmp_path / 'out'}\n")
    assert 'model="me/clip"' in (tmp_path / "out/README.md").read_text()
    weights = "model.safetensors"
    assert (tmp_path / "out" / weights).read_bytes() == (model / weights).read_bytes()


def test_every_client_loads_a_pushed_model(model, tmp_path):
    out = tmp_path / "out"
    push_dry(model, "me/clip", out)
    batch = {name: tiny_batch()[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    with torch.no_grad():
        expected = CLIPModel.from_pretrained(model)(**batch).logits_per_image
        for loaded in (
            CLIPModel.from_pretrained(out),
            AutoModel.from_pretrained(out),
            AutoModel.from_pretrained(out, trust_remote_code=True),
        ):
            assert torch.equal(loaded.eval()(**batch).logits_per_image, expected)
    assert type(loaded).__name__ == "ConCLIPModel" and "transformers_modules" in type(loaded).__module__
    classify = pipeline("zero-shot-image-classification", model=str(out))
    scores = classify(Image.new("RGB", (32, 32)), candidate_labels=["a dog", "no dog"], hypothesis_template="{}")
    assert len(scores) == 2


@pytest.mark.parametrize("part", ["merged", "adapter"])
def test_adapters_go_up_with_the_merged_model_or_alone(part, tmp_path, capsys):
    base = tmp_path / "base"
    save_tiny(base)
    lora = LoraConfig(r=2, target_modules=r"text_model.*\.q_proj", init_lora_weights=False)
    folder = tmp_path / "mine"
    card = 'model = PeftModel.from_pretrained(base, "path/to/adapter")\n'
    save_model(get_peft_model(tiny_model(), lora), tiny_processor(), folder, base_model="clip", adapter_card=card)
    batch = {name: tiny_batch()[name] for name in ("input_ids", "attention_mask")}
    expected = CLIPModel.from_pretrained(folder).get_text_features(**batch).pooler_output
    out = tmp_path / "out"
    push_dry(folder if part == "merged" else folder / "adapter", "me/mine", out)
    where = out / "adapter" if part == "merged" else out
    loaded = PeftModel.from_pretrained(CLIPModel.from_pretrained(base), where)
    assert torch.allclose(loaded.get_text_features(**batch).pooler_output, expected, atol=1e-5)
    config = json.loads((where / "adapter_config.json").read_text())
    (where / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(base)}))
    loaded = AutoPeftModel.from_pretrained(where)
    assert torch.allclose(loaded.get_text_features(**batch).pooler_output, expected, atol=1e-5)
    named = '"me/mine", subfolder="adapter"' if part == "merged" else '"me/mine"'
    assert (where / "README.md").read_text() == card.replace('"path/to/adapter"', named)
    assert ("has no README.md" in capsys.readouterr().out) is (part == "merged")
    if part == "merged":
        loaded = PeftModel.from_pretrained(CLIPModel.from_pretrained(base), out, subfolder="adapter")
        assert torch.allclose(loaded.get_text_features(**batch).pooler_output, expected, atol=1e-5)


def test_paths_of_this_machine_stay_here(model, tmp_path, capsys):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"_name_or_path": "/mnt/someone/clip"}))
    vocabulary = json.dumps({"/mnt/disk/x": 0})
    (model / "vocab.json").write_text(vocabulary)
    (model / "README.md").write_text(f"{CARD}From {tmp_path}/data and ~/secret/base, see https://x.org/home/y.\n")
    push_dry(model, "me/clip", tmp_path / "out")
    assert "shortened to their last part in README.md, config.json.\n" in capsys.readouterr().out
    assert (tmp_path / "out/README.md").read_text().endswith("From data and base, see https://x.org/home/y.\n")
    assert json.loads((tmp_path / "out/config.json").read_text())["_name_or_path"] == "clip"
    for path in (tmp_path / "out").rglob("*.*"):
        assert str(tmp_path).encode() not in path.read_bytes(), path
    # The entries of a vocabulary only look like paths.
    assert (tmp_path / "out/vocab.json").read_text() == vocabulary


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("and/or 3/4 https://a.b/home/c ./x/y ../x", "and/or 3/4 https://a.b/home/c ./x/y ../x"),
        ('{"a": "/mnt/disk/clip"}', '{"a": "clip"}'),
        ("(/Volumes/a/b.json), ~/x/y.", "(b.json), y."),
        ("#!/usr/bin/env python", "#!/usr/bin/env python"),
    ],
)
def test_a_path_is_told_from_other_texts(text, public):
    assert without_local_paths(text) == public


def test_no_token_is_published(tmp_path):
    args = ConCLIPTrainingArguments(output_dir=str(tmp_path), hub_token="hf_secret")
    assert args.hub_token == "hf_secret"
    assert "hf_secret" not in str(args.to_dict()) + str(tracker_config(args, "x"))
    words = ["train", "--hub_token", "hf_secret", "--hub-token=hf_secret", "--token", "hf_secret", "--seed", "1"]
    assert public_command(words) == [
        "train",
        "--hub_token",
        "TOKEN",
        "--hub-token=TOKEN",
        "--token",
        "TOKEN",
        *words[6:],
    ]


@pytest.fixture(scope="module")
def negations(tmp_path_factory) -> Path:
    """What `conclip negate` writes of 24 images with captions, in splits of 16 and 8 rows."""
    folder = tmp_path_factory.mktemp("negations") / "mine"
    (folder / "data").mkdir(parents=True)
    columns, sizes = features(with_images=True), {}
    for split, (start, end) in SPLITS.items():
        rows = {name: [[]] * (end - start) for name in columns}
        rows["image"] = [{"bytes": jpeg((row, 0, 0)), "path": f"{row:03}.jpg"} for row in range(start, end)]
        rows["distractor_images"] = [rows["image"][:2]] * (end - start)
        rows["caption"] = [f"a dog {row}" for row in range(start, end)]
        rows["negation_spans"] = [[[row, row + 1]] for row in range(start, end)]
        rows |= {name: list(range(start, end)) for name in ("source_row", "source_caption")}
        dataset = Dataset.from_dict(rows, features=columns)
        write_parquet(dataset, folder / "data" / f"{split}-00000-of-00001.parquet", 10)
        sizes[split] = (end - start, 1_000)
    summary = dict.fromkeys("captions generator strategy seed yields skipped".split(), "x")
    (folder / "README.md").write_text(make_card(sizes, folder, True, summary))
    (folder / "settings.json").write_text(json.dumps({"image_dir": str(folder / "images")}))
    return folder


def test_a_dataset_goes_up_without_images(negations, tmp_path, capsys):
    push_dry(negations, "me/negations", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "The images are not uploaded: you need the right to pass them on. --with_images uploads them.\n" in printed
    found = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    source = load_dataset(str(negations), cache_dir=str(tmp_path / "cache"))
    for split in ("train", "test"):
        texts = [name for name in source[split].column_names if "image" not in name]
        assert found[split].select_columns(texts)[:] == source[split].select_columns(texts)[:]
        assert found[split]["image_file"][:] == [f"{row:03}.jpg" for row in range(24)][slice(*SPLITS[split])]
        assert found[split]["distractor_files"][0] == found[split]["image_file"][:2]
        assert set(found[split].column_names) == {*texts, "image_file", "distractor_files"}
        for path in (tmp_path / "out/data").glob(f"{split}*"):
            assert b"JFIF" not in path.read_bytes()
    card = DatasetCard.load(tmp_path / "out/README.md")
    (config,) = card.data.configs
    assert {entry["split"] for entry in config["data_files"]} == {"train", "test"}
    described = {feature["name"] for feature in card.data.dataset_info["features"]}
    assert described == set(found["train"].column_names)
    size = sum(path.stat().st_size for path in (tmp_path / "out/data").iterdir())
    assert card.data.dataset_info["download_size"] == size
    assert "**This repository holds no images.**" in card.text and 'load_dataset("me/negations")' in card.text
    assert str(negations.parent) not in (tmp_path / "out/settings.json").read_text()


def test_with_images_a_dataset_goes_up_as_it_is(negations, tmp_path, capsys):
    push_dry(negations, "me/negations", tmp_path / "out", "--with_images")
    assert "not uploaded" not in capsys.readouterr().out
    for path in (tmp_path / "out/data").iterdir():
        assert path.read_bytes() == (negations / "data" / path.name).read_bytes()
    (row, *_) = load_dataset(str(tmp_path / "out"), split="test", cache_dir=str(tmp_path / "cache"))
    assert row["image"].size == (8, 8)
    assert main([str(tmp_path / "out"), "me/negations", "--dry_run", str(tmp_path / "texts")]) == 0
    assert main([str(tmp_path / "texts"), "me/x", "--with_images", "--dry_run", str(tmp_path / "none")]) == 1
    assert f"--with_images has no effect: {tmp_path / 'texts'} holds no images." in capsys.readouterr().err


def test_images_that_another_program_wrote_stay_here_too(negations, tmp_path):
    """Without the notes of `datasets` in the Parquet files; the card alone calls the column one of images."""
    folder = tmp_path / "mine"
    shutil.copytree(negations, folder)
    for path in (folder / "data").iterdir():
        pq.write_table(pq.read_table(path).replace_schema_metadata(), path)
    push_dry(folder, "me/negations", tmp_path / "out")
    for split, (start, end) in SPLITS.items():
        (path,) = (tmp_path / "out/data").glob(f"{split}*")
        table = pq.read_table(path)
        assert b"JFIF" not in path.read_bytes() and not {"image", "distractor_images"} & {*table.column_names}
        assert table["image_file"].to_pylist() == [f"{row:03}.jpg" for row in range(start, end)]
        assert table["distractor_files"].to_pylist() == [[f"{start:03}.jpg", f"{start + 1:03}.jpg"]] * (end - start)
    push_dry(folder, "me/negations", tmp_path / "all", "--with_images")
    found = load_dataset(str(tmp_path / "all"), split="test", cache_dir=str(tmp_path / "cache"))
    assert found[0]["image"].size == (8, 8) and found[0]["distractor_images"][1].size == (8, 8)


def test_files_are_opened_one_by_one(negations, tmp_path, monkeypatch):
    """There may be more than a process may open."""
    folder, alive, counts = tmp_path / "mine", weakref.WeakSet(), []
    shutil.copytree(negations, folder)
    for number in range(6):
        shutil.copy(next((folder / "data").glob("train-*")), folder / f"data/train-{number}.parquet")
    plain = dataset_files._open

    def note(path):
        table = plain(path)
        alive.add(table)
        counts.append(len(alive))
        return table

    monkeypatch.setattr(dataset_files, "_open", note)
    push_dry(folder, "me/negations", tmp_path / "out")
    assert len(counts) > 8 and max(counts) <= 2


def test_data_files_that_the_card_names_go_up_whatever_their_folder(negations, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(negations, folder)
    (folder / "data").rename(folder / "cache")
    card = folder / "README.md"
    card.write_text(card.read_text().replace("data/train", "cache/train").replace("data/test", "cache/test"))
    push_dry(folder, "me/negations", tmp_path / "all", "--with_images")
    push_dry(folder, "me/negations", tmp_path / "texts")
    # These have no images that would be left out.
    push_dry(tmp_path / "texts", "me/negations", tmp_path / "again")
    for name in ("all", "texts", "again"):
        assert len(load_dataset(str(tmp_path / name), split="test", cache_dir=str(tmp_path / "hf"))) == 8


def test_of_ccneg_the_annotations_alone_go_up(write, coco, tmp_path, capsys):
    assert write("--coco_dir", coco)[0] == 0
    folder = tmp_path / "ccneg"
    push_dry(folder, "me/cc-neg", tmp_path / "out")
    assert "Left out: files with images (data/ccneg-test.parquet and 1 more)" in capsys.readouterr().out
    assert names(tmp_path / "out") == {"README.md", "annotations/train.parquet", "annotations/test.parquet"}
    found = load_dataset(str(tmp_path / "out"), split="test", cache_dir=str(tmp_path / "cache"))
    assert found[:] == pq.read_table(folder / "annotations/test.parquet").to_pydict()
    text = (tmp_path / "out/README.md").read_text()
    assert 'load_dataset("me/cc-neg", "annotations", split="test")' in text and "directory that holds" not in text
    push_dry(folder, "me/cc-neg", tmp_path / "all", "--with_images")
    assert names(tmp_path / "all") == names(folder)


def test_a_metric_goes_up_as_a_space(tmp_path, monkeypatch):
    folder = tmp_path / "evaluate" / "pair_accuracy"
    shutil.copytree(ROOT / "evaluate" / "pair_accuracy", folder)
    push_dry(folder, "me/pair_accuracy", tmp_path / "me" / "pair_accuracy")
    out = tmp_path / "me" / "pair_accuracy"
    assert names(out) == {"README.md", "app.py", "checks.py", "pair_accuracy.py", "requirements.txt"}
    text = (out / "README.md").read_text()
    assert 'evaluate.load("me/pair_accuracy")' in text and "./evaluate" not in text and "no network" not in text
    monkeypatch.chdir(tmp_path)
    metric = evaluate.load("me/pair_accuracy")
    assert metric.compute(true_scores=[1.0, 2.0], false_scores=[0.0, 3.0])["accuracy"] == 0.5
