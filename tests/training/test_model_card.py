"""The card of a run says what the run did; folders hold the card of their own weights and no path of this machine."""

import copy
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, constants
from peft import AutoPeftModel, PeftModel
from runs import command, results, run, weights, write_inputs
from training_results import AFTER, BEFORE, RESULTS
from transformers import AutoModel, AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from conclip.hub import license_of
from conclip.public_names import public_command, public_name
from conclip.training.card import adapter_card, copy_card, model_card

ROOT = Path(__file__).parents[2]


def changed(**model) -> dict:
    found = copy.deepcopy(RESULTS)
    found["model"].update(model)
    return found


def metadata(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_metadata_are_those_of_the_run():
    found = metadata(model_card(RESULTS))
    [entry] = found.pop("model-index")
    values = {item["name"]: item["value"] for result in entry["results"] for item in result["metrics"]}
    assert entry["name"] == "my-clip" and values == {"pairs": 0.9, "recall": 0.1}
    assert found == {
        "library_name": "transformers",
        "pipeline_tag": "zero-shot-image-classification",
        "license": "apache-2.0",
        "language": "en",
        "base_model": "openai/clip-vit-base-patch32",
        "base_model_relation": "finetune",
        "datasets": ["me/data"],
        "tags": ["clip", "negation"],
    }


def test_what_is_not_on_the_hub_is_not_in_the_metadata():
    found = metadata(model_card(changed(base_is_on_hub=False, dataset_is_on_hub=False, license=None)))
    assert not {"base_model", "base_model_relation", "datasets", "license"} & set(found)


@pytest.mark.parametrize(
    ("model", "says", "does_not_say"),
    [
        ({}, ["loss of CoN-CLIP", "distractor_weight 0.5", "image encoder was frozen", "singh2024"], ["adapter"]),
        (
            {"loss_weights": {"distillation_weight": 1.0, "truth_weight": 0.0}},
            ["loss of CoN-CLIP", "negation distillation"],
            ["taught it when"],
        ),
        (
            {"loss_weights": {"distillation_weight": 1.0, "truth_weight": 20.0}},
            ["loss of CoN-CLIP", "negation distillation", "The training images, with their captions, taught it"],
            ["adapter"],
        ),
        ({"loss": "negclip"}, ["loss of NegCLIP", "yuksekgonul2023"], ["CoN-CLIP", "distractors"]),
        (
            {"loss": "clip"},
            ["CLIP's own contrastive loss", "was not trained on negation", "radford2021"],
            ["negation\n"],
        ),
        ({"image_encoder_is_frozen": False}, ["the image encoder were trained"], ["frozen", "cannot see"]),
        (
            {"lora": {"rank": 4, "alpha": 8, "target_modules": "x"}},
            ["adapters (rank 4)", "- lora"],
            ["The text encoder was trained"],
        ),
    ],
    ids=["conclip", "distilled", "images as teacher", "negclip", "clip", "both encoders", "adapters"],
)
def test_the_text_says_what_was_trained(model, says, does_not_say):
    card = model_card(changed(**model))
    assert all(text in card for text in says) and not any(text in card for text in does_not_say)


def test_example_and_figure_fit_the_run():
    card = model_card(RESULTS)
    snippet = card.split("```python\n")[1].split("```")[0]
    labels = next(line for line in snippet.splitlines() if line.startswith("labels"))
    assert eval(labels.partition("=")[2]) == RESULTS["model"]["example"]
    assert 'model="me/my-clip"' in snippet
    compile(snippet, "card", "exec")
    assert "![Scores before and after](scores.png)" in card and "| pairs | 100 | 50.00 | 50.0 | 90.0 |" in card


def test_without_an_evaluation_the_card_says_so():
    bare = {name: value for name, value in RESULTS.items() if name not in ("before", "after", "verdict")}
    card = model_card(bare)
    assert "Not evaluated." in card and "scores.png" not in card and "model-index" not in metadata(card)


def test_names_and_commands_without_local_paths(tmp_path):
    folder = tmp_path / "secret" / "clip"
    folder.mkdir(parents=True)
    assert public_name(str(folder)) == "clip" and public_name("openai/clip-vit-base-patch32").startswith("openai/")
    words = [
        "conclip",
        "train",
        "--a",
        str(folder),
        f"--b={folder}",
        "openai/clip",
        "/gone/x",
        "--target",
        r"a\.(b|c)",
    ]
    assert public_command(words) == ["conclip", "train", "--a", "clip", "--b=clip", "openai/clip", "x", *words[-2:]]


def test_licence_of_a_base(tmp_path):
    assert license_of(str(tmp_path)) is None
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    assert license_of(str(tmp_path)) == "cc-by-4.0"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def adapted(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "adapted"
    assert run(command(inputs, folder, max_steps=1, warmup_steps=0, use_lora=True, lora_rank=4)) == 0
    return folder


def test_no_file_holds_a_path_of_this_machine(adapted, inputs):
    root = str(adapted.parents[2])
    assert inputs["model_name_or_path"].startswith(root)
    files = [path for path in adapted.rglob("*") if path.is_file()]
    assert len(files) > 15 and not [path for path in files if root.encode() in path.read_bytes()]


def test_the_card_of_adapters_is_real(adapted):
    card = ModelCard.load(adapted / "adapter/README.md")
    assert card.data.library_name == "peft" and "More Information Needed" not in card.text
    assert "rank 4" in card.text and "PeftModel.from_pretrained(base" in card.text
    on_hub = metadata(adapter_card(changed(lora={"rank": 4, "alpha": 8, "target_modules": "x"})["model"]))
    assert on_hub["base_model"] == "openai/clip-vit-base-patch32" and on_hub["base_model_relation"] == "adapter"


def test_adapters_load_from_any_folder(adapted, inputs, tmp_path, monkeypatch):
    """A base on the Hub is found from anywhere; a local one where its name is a folder."""
    monkeypatch.chdir(tmp_path)
    base = CLIPModel.from_pretrained(inputs["model_name_or_path"])
    onto_base = PeftModel.from_pretrained(base, adapted / "adapter").merge_and_unload().state_dict()
    merged = weights(adapted)
    assert all(torch.allclose(tensor, onto_base[name], atol=1e-6) for name, tensor in merged.items())
    shutil.copytree(inputs["model_name_or_path"], tmp_path / "clip")
    alone = AutoPeftModel.from_pretrained(adapted / "adapter")
    assert type(alone.get_base_model()) is CLIPModel
    found = alone.merge_and_unload().state_dict()
    assert all(torch.allclose(tensor, found[name], atol=1e-6) for name, tensor in merged.items())


def test_a_base_on_the_hub_is_named_and_its_adapters_load_from_any_folder(inputs, tmp_path, monkeypatch):
    """The cache of the Hub stands in for the Hub."""
    repository = Path(constants.HF_HUB_CACHE) / "models--me--base"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("0" * 40)
    snapshot = shutil.copytree(inputs["model_name_or_path"], repository / "snapshots" / ("0" * 40))
    (snapshot / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    folder = tmp_path / "run"
    names = {**inputs, "model_name_or_path": "me/base"}
    assert run(command(names, folder, max_steps=1, warmup_steps=0, use_lora=True)) == 0
    for card in ("README.md", "adapter/README.md"):
        data = ModelCard.load(folder / card).data
        assert (data.base_model, data.license) == ("me/base", "apache-2.0")
    monkeypatch.chdir(tmp_path)
    alone = AutoPeftModel.from_pretrained(folder / "adapter").merge_and_unload().state_dict()
    assert all(torch.allclose(tensor, alone[name], atol=1e-6) for name, tensor in weights(folder).items())


def test_preprocessor_config_is_that_of_the_processor(adapted):
    found = json.loads((adapted / "preprocessor_config.json").read_text())
    assert found["image_processor_type"] == "CLIPImageProcessor" and found["processor_class"] == "CLIPProcessor"
    assert found["crop_size"] == {"height": 32, "width": 32} and found["size"] == {"shortest_edge": 32}
    assert found["image_mean"] == list(CLIPImageProcessorPil().image_mean) and found["do_normalize"] is True
    # With more in it, transformers 4.46 fails to load the processor.
    assert json.loads((adapted / "processor_config.json").read_text()) == {"processor_class": "CLIPProcessor"}
    assert {"vocab.json", "merges.txt"} <= {path.name for path in adapted.iterdir()}
    tokenizer = json.loads((adapted / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "CLIPTokenizer" and not {"is_local", "local_files_only"} & set(tokenizer)


def test_a_run_into_a_used_folder_leaves_nothing_of_the_old_one(inputs, tmp_path):
    folder = tmp_path / "used"
    assert run(command(inputs, folder, max_steps=1, warmup_steps=0, use_lora=True)) == 0
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        (folder / name).write_text("{}")
    assert {"adapter", "scores.png"} <= {path.name for path in folder.iterdir()}
    assert run(command(inputs, folder, max_steps=1, warmup_steps=0, loss="clip", eval_split="none")) == 0
    left = {path.name for path in folder.iterdir()}
    assert not left & {"adapter", "scores.png", "model-00001-of-00002.safetensors", "model.safetensors.index.json"}
    card = (folder / "README.md").read_text()
    assert "Not evaluated." in card and "CLIP's own contrastive loss" in card
    assert results(folder)["model"]["loss"] == "clip"
    AutoModel.from_pretrained(folder)


def test_an_interrupted_save_leaves_no_old_card_beside_new_weights(inputs, tmp_path, monkeypatch):
    folder = tmp_path / "used"
    assert run(command(inputs, folder, max_steps=1, warmup_steps=0)) == 0
    before = weights(folder)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("conclip.training.trainer.write_report", interrupted)
    assert run(command(inputs, folder, max_steps=2, warmup_steps=0)) == 130
    assert not all(torch.equal(tensor, before[name]) for name, tensor in weights(folder).items())
    assert not [name for name in ("README.md", "results.json", "scores.png") if (folder / name).exists()]


def test_a_path_in_the_config_of_the_base_is_not_passed_on(inputs, tmp_path):
    base = shutil.copytree(inputs["model_name_or_path"], tmp_path / "clip")
    config = json.loads((base / "config.json").read_text())
    config["text_config"]["_name_or_path"] = str(tmp_path / "secret")
    (base / "config.json").write_text(json.dumps(config))
    names = {**inputs, "model_name_or_path": str(base)}
    assert run(command(names, tmp_path / "run", max_steps=1, warmup_steps=0)) == 0
    assert str(tmp_path) not in (tmp_path / "run/config.json").read_text()


def test_files_of_the_tokenizer_hold_the_same_tokens(adapted):
    """Byte pairs merged by a loop, from vocab.json and merges.txt alone."""
    vocabulary = json.loads((adapted / "vocab.json").read_text("utf-8"))
    version, *merges = (adapted / "merges.txt").read_text("utf-8").splitlines()
    ranks = {tuple(line.split(" ")): rank for rank, line in enumerate(merges)}

    def pieces(word: str) -> list[str]:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while known := [pair for pair in zip(parts, parts[1:], strict=False) if pair in ranks]:
            best = min(known, key=ranks.get)
            at = next(at for at, pair in enumerate(zip(parts, parts[1:], strict=False)) if pair == best)
            parts[at : at + 2] = ["".join(best)]
        return parts

    text = "a red circle and no zebra"
    ids = [vocabulary[piece] for word in text.split() for piece in pieces(word)]
    assert AutoTokenizer.from_pretrained(adapted)(text)["input_ids"][1:-1] == ids and version.startswith("#version")


def test_the_card_is_copied_from_a_runs_folder(adapted, tmp_path):
    copy_card(adapted, tmp_path / "card.md")
    assert (tmp_path / "card.md").read_text() == (adapted / "README.md").read_text()


def test_the_projects_card_is_that_of_a_default_run():
    """All but the scores, which the default run writes."""
    card = (ROOT / "model_card.md").read_text("utf-8")
    name = re.search("scenes-base-[0-9a-f]+", card).group()
    texts = re.search(r"labels = (\[.*\])", card).group(1)
    run_of_scenes = changed(
        name="conclip-scenes",
        repository="conclip-scenes",
        base_model=name,
        base_is_on_hub=False,
        dataset_is_on_hub=False,
        license="mit",
        loss_weights={},
        example=json.loads(texts),
    )
    run_of_scenes |= {"dataset": "scenes", "after": {**AFTER, "true negation accuracy": AFTER["pairs"]}}
    run_of_scenes["before"] = {**BEFORE, "true negation accuracy": BEFORE["pairs"]}

    def without_scores(text: str) -> tuple[str, dict]:
        found = metadata(text)
        del found["model-index"]
        body = text.split("---\n", 2)[2]
        return re.sub(r"(?s)## Results.*?## Limits", "", body), found

    assert without_scores(card) == without_scores(model_card(run_of_scenes))
    assert "](docs/scores.png)" in card and (ROOT / "docs/scores.png").is_file()
