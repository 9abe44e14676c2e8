"""Errors name the split, row and column that cannot be used; unusual rows that can be used are used."""

import io

import datasets
import pytest
import torch
from bad_rows import FEATURES, encoded, good_row, make_rows, truncated
from PIL import Image
from runs import command, log, refusal, results, run, write_inputs
from tiny import IMAGE_SIZE, TEXT_LENGTH, VOCABULARY, tiny_processor, tiny_tokenizer

from conclip.embedding.images import pixel_values
from conclip.embedding.tokens import TextTokenizer
from conclip.training.pair_rows import PairRows
from modeling_conclip.packing_conclip import PADDING

COLUMNS = ("image_column", "caption_column", "negated_caption_column", "distractor_image_column")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def write(folder, train=None, test=None):
    for split, changes in (("train", train or {}), ("test", test or {})):
        make_rows(8, changes).to_parquet(folder / f"{split}.parquet")
    return folder


def argv_for(inputs, folder, output_dir, **options):
    defaults = {"per_device_train_batch_size": 4, "max_steps": 2}
    return command({**inputs, "dataset_name": folder}, output_dir, **{**defaults, **options})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dataset_name": "/no/such/folder"}, "--dataset_name /no/such/folder: there is no such file or folder."),
        ({"train_split": "training"}, ", split 'training': Unknown split"),
        ({"eval_split": "val"}, ", split 'val': Unknown split"),
        ({"dataset_config_name": "large"}, ", split 'train': BuilderConfig 'large' not found."),
        ({"dataset_name": "someone/ccneg"}, "--dataset_name someone/ccneg, split 'train': Couldn't reach"),
        *(({name: "wrong"}, f"--{name} wrong: the split 'train' has no such column, only image") for name in COLUMNS),
        ({"image_column": "caption"}, "row 0: cannot read caption: a red square in 0: No such file"),
        ({"caption_column": "image"}, "row 0: image holds {'bytes': "),
    ],
    ids=str,
)
def test_dataset_split_and_columns(options, says, inputs, tmp_path, capsys):
    message = refusal(argv_for(inputs, write(tmp_path / "data"), tmp_path / "out", **options), capsys)
    assert says in message and len(message) < 500


def test_data_that_is_no_parquet(inputs, tmp_path, capsys):
    folder = write(tmp_path / "data")
    (folder / "train.parquet").write_bytes(b"PAR1 and so on")
    message = refusal(argv_for(inputs, folder, tmp_path / "out"), capsys)
    assert message.startswith(f"--dataset_name {folder}, split 'train': ") and "arquet" in message


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"caption": " "}, "row 5: caption holds ' ', not a caption: correct or remove the row."),
        ({"caption": None}, "row 5: caption holds None, not a caption: correct or remove the row."),
        ({"negated_captions": []}, "row 5: negated_captions is an empty list: add a caption or remove the row."),
        (
            {"negated_captions": ["no square", ""]},
            "row 5: negated_captions holds '', not a caption: correct or remove the row.",
        ),
        ({"image": {"bytes": truncated()}}, "row 5: cannot read image: image file is truncated"),
        ({"image": {"bytes": b"GIF89a"}}, "row 5: cannot read image: "),
        ({"image": None}, "row 5: cannot read image: there is neither an image nor a path."),
    ],
    ids=[
        "blank",
        "no caption",
        "no negated caption",
        "a blank negated caption",
        "truncated",
        "no image file",
        "no image",
    ],
)
def test_a_bad_row(split, change, says, inputs, tmp_path, capsys):
    folder = write(tmp_path / "data", **{split: {5: change}})
    message = refusal(argv_for(inputs, folder, tmp_path / "out"), capsys)
    assert message.startswith(f"Split {split!r}, row 5: ") and says in message
    assert not (tmp_path / "out/model.safetensors").exists()


@pytest.mark.parametrize(
    ("distractors", "says"),
    [
        ([], "distractor_images is empty. Give every row a distractor image, or train without them: --loss negclip."),
        (
            None,
            "distractor_images is empty. Give every row a distractor image, or train without them: --loss negclip.",
        ),
        ([{"bytes": truncated()}] * 2, "cannot read distractor_images: image file is truncated"),
        ([None, None], "cannot read distractor_images: there is neither an image nor a path."),
    ],
    ids=["empty", "none", "truncated", "list of none"],
)
def test_a_bad_distractor(distractors, says, inputs, tmp_path, capsys):
    folder = write(tmp_path / "data", train={5: {"distractor_images": distractors}})
    argv = argv_for(inputs, folder, tmp_path / "out", eval_split="none")
    assert refusal(argv, capsys).startswith(f"Split 'train', row 5: {says}")
    assert run([*argv, "--loss", "negclip"]) == 0


@pytest.mark.parametrize("split", ["train", "test"])
def test_out_of_a_loaders_worker_comes_the_sentence_alone(split, inputs, tmp_path, capsys):
    folder = write(tmp_path / "data", **{split: {5: {"image": {"bytes": truncated()}}}})
    argv = argv_for(inputs, folder, tmp_path / "out", dataloader_num_workers=1)
    assert refusal(argv, capsys).startswith(f"Split {split!r}, row 5: cannot read image: image file is truncated")


def test_foils_that_do_not_match_the_true_negations(inputs, tmp_path, capsys):
    folder = write(tmp_path / "data")
    rows = make_rows(8, {})
    rows = rows.add_column("true_negations", [["no circle", "no star"]] * 8)
    rows = rows.add_column("true_negation_foils", [["a circle", "a star"], ["a circle"]] * 4)
    rows.to_parquet(folder / "test.parquet")
    message = refusal(argv_for(inputs, folder, tmp_path / "out"), capsys)
    assert message.endswith("split 'train': Couldn't cast because column names don't match")
    rows.to_parquet(folder / "train.parquet")
    message = refusal(argv_for(inputs, folder, tmp_path / "out"), capsys)
    assert (
        message == "Split 'test', row 1: 2 true_negations, but 1 true_negation_foils: each true negation needs a foil."
    )


def test_unusual_images_are_read(inputs, tmp_path):
    kinds = [
        encoded(mode="L"),
        encoded(mode="P"),
        encoded(mode="RGBA"),
        encoded(mode="LA"),
        encoded(mode="1"),
        encoded(mode="CMYK", format="JPEG"),
        encoded(size=(1, 1)),
        encoded(size=(3000, 2)),
    ]
    changes = {
        row: {"image": {"bytes": kind}, "distractor_images": [{"bytes": kinds[row - 1]}]}
        for row, kind in enumerate(kinds)
    }
    folder = write(tmp_path / "data", train=changes, test=changes)
    assert run(argv_for(inputs, folder, tmp_path / "out")) == 0
    assert results(tmp_path / "out")["after"]["negation pair accuracy"]["count"] == 16
    assert len([line for line in log(tmp_path / "out") if "train/loss" in line]) == 2


def test_modes_of_an_image_give_the_same_pixels():
    modes = [Image.open(io.BytesIO(encoded("white", mode=mode))) for mode in ("RGB", "RGBA", "L", "P", "1")]
    modes.append(Image.open(io.BytesIO(encoded("white", (1, 1)))))
    pixels = pixel_values(tiny_processor().image_processor, modes)
    assert pixels.shape == (6, 3, IMAGE_SIZE, IMAGE_SIZE)
    assert all(torch.equal(image, pixels[0]) for image in pixels[1:])


def test_a_caption_over_77_tokens_is_cut_and_keeps_its_end():
    end = VOCABULARY["<|endoftext|>"]
    long, short = TextTokenizer(tiny_tokenizer(), TEXT_LENGTH, end)(["red " * 500, "red square"])[[0, 1]]
    assert len(long) == TEXT_LENGTH and long[-1] == end and (long[1:-1] == VOCABULARY["red</w>"]).all()
    assert short[:4].tolist() == [VOCABULARY["<|startoftext|>"], VOCABULARY["red</w>"], VOCABULARY["square</w>"], end]


def test_a_run_with_captions_over_77_tokens(inputs, tmp_path, capsys):
    change = {"caption": "a red square " * 100, "negated_captions": ["no red square " * 5_000]}
    equal = {"caption": "a red square " * 30, "negated_captions": ["a red square " * 30 + "but no star"]}
    folder = write(tmp_path / "data", train={1: change, 3: equal}, test={1: change})
    assert run(argv_for(inputs, folder, tmp_path / "out")) == 0
    said = capsys.readouterr().out
    assert "Warning: 4 of 22 texts fill the 77 tokens that the model reads" in said, "8 rows with 14 negated captions"
    assert "as the text encoder reads them (1), rows without others (1).\n" in said
    assert "Training with the conclip loss: 7 rows, 2 updates" in said


def test_a_run_with_lists_of_captions_and_one_image_says_so(inputs, tmp_path, capsys):
    changes = {row: {"caption": [f"a red square in {row}", f"a square in {row}"]} for row in range(8)}
    folder = tmp_path / "data"
    rows = [{**good_row(row), **changes[row]} for row in range(8)]
    features = datasets.Features({**FEATURES, "caption": FEATURES["negated_captions"]})
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "train.parquet")
    assert run(argv_for(inputs, folder, tmp_path / "out", eval_split="none", max_steps=3)) == 0
    said = capsys.readouterr().out
    assert "7 rows" not in said and "8 rows with 16 captions (one a row in each epoch), 3 updates" in said
    # The batches of all epochs are like these, which one warning counts.
    assert said.count("Warning: 6 of 8 rows of epoch 1 share an image or a text") == said.count("share an image") == 1
    assert "in 8 rows, and an epoch has 2 batches of 4 rows" in said


def rows_of(dataset, **options) -> PairRows:
    tokenize = TextTokenizer(tiny_tokenizer(), TEXT_LENGTH, VOCABULARY["<|endoftext|>"])
    return PairRows(dataset, tokenize, **options)


def sampled(rows: PairRows, epoch: int) -> list[tuple[str, tuple]]:
    rows.set_epoch(epoch)
    columns = rows.__getitems__(list(range(len(rows))))
    negated = [tokens[tokens != PADDING] for tokens in columns["texts"][len(rows) :]]
    texts = tiny_tokenizer().batch_decode(negated, skip_special_tokens=True)
    return list(zip(texts, (image.getpixel((0, 0)) for image in columns["distractor_image"]), strict=True))


def test_of_several_negated_captions_each_epoch_takes_one_with_its_distractor():
    dataset = make_rows(40, {})
    rows = rows_of(dataset)
    pairs = {"a red square not in": (0, 0, 255), "no red square in": (0, 128, 0)}
    epochs = [sampled(rows, epoch) for epoch in range(3)]
    assert all(pairs[text] == pixel for epoch in epochs for text, pixel in epoch)
    assert all({text for text, _ in epoch} == set(pairs) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert sampled(rows_of(dataset), 1) == epochs[1], "the same seed, epoch and row"
    assert sampled(rows_of(dataset, seed=7), 1) != epochs[1]


def test_with_another_number_of_distractors_the_first_is_taken():
    rows = rows_of(make_rows(20, {row: {"distractor_images": [{"bytes": encoded("blue")}]} for row in range(20)}))
    found = sampled(rows, 0)
    assert {pixel for _, pixel in found} == {(0, 0, 255)} and len({text for text, _ in found}) == 2
