"""The parts of the scenes' base: cells and labels by hand, the last layer against its logits, the losses in loops."""

import math

import numpy as np
import pytest
import torch
from transformers import CLIPConfig

import conclip.training.scenes_image_encoder as image_encoder
from conclip.training.fitting import fit
from conclip.training.scenes_base import ENCODER, TEXT, VISION, pixel_values, plain_clip, write_untrained
from conclip.training.scenes_image_encoder import (
    CELL,
    CELLS,
    CLASSES,
    CONTRAST,
    DARKEST,
    cell_labels,
    cut,
    join,
    set_last_layer,
    train_image_encoder,
    without_colour,
)
from conclip.training.scenes_text_encoder import true_images_loss
from dataset_scripts import scenes
from dataset_scripts.scenes_drawing import COLOURS, IMAGE_SIZE, PALETTE, SHAPES
from modeling_conclip import ConCLIPModel


def new_model() -> ConCLIPModel:
    torch.manual_seed(0)
    config = CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=ENCODER["projection_dim"])
    return ConCLIPModel(ConCLIPModel.config_class(**config.to_dict(), freeze_image_encoder=False))


@pytest.fixture(scope="module")
def drawn():
    """Images, uint8, and labels of the session's training scenes."""
    rows = scenes.load_scenes("train")
    images = torch.from_numpy(np.stack([np.asarray(image) for image in rows["image"]]))
    return images, torch.from_numpy(cell_labels(rows["objects"][:]))


def test_cells_are_cut_row_by_row_and_joined_again():
    images = torch.randint(256, (3, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=torch.uint8)
    cells = cut(images)
    assert cells.shape == (3, CELLS, CELL, CELL, 3)
    assert torch.equal(cells[1, 1], images[1, :CELL, CELL:]) and torch.equal(cells[2, 2], images[2, CELL:, :CELL])
    assert torch.equal(join(cells), images)


def test_labels_of_cells_by_hand():
    [labels] = cell_labels([["small red star at the bottom left", "large black circle at the top right"]]).tolist()
    assert labels == [
        [0, 0, 0],
        [1 + SHAPES.index("circle"), 1 + COLOURS.index("black"), 2],
        [1 + SHAPES.index("star"), 1 + COLOURS.index("red"), 1],
        [0, 0, 0],
    ]


def test_grey_images_keep_what_any_weights_of_the_colours_show():
    generator = torch.Generator().manual_seed(0)
    images = torch.tensor([[[PALETTE[colour] for colour in COLOURS]]]).float().repeat(50, 1, 1, 1)
    grey = without_colour(images, generator)
    assert grey.shape == images.shape and (grey == grey[..., :1]).all()
    levels = (grey[..., 0] - DARKEST) / CONTRAST
    assert ((levels >= images.amin(dim=-1) - 1e-3) & (levels <= images.amax(dim=-1) + 1e-3)).all()
    # Other weights in each image, the same for all of its pixels.
    assert len(levels[:, 0, 0].round(decimals=2).unique()) > 30
    # Black and white objects stay apart from them by more than the shades of a colour vary.
    assert grey.min() >= 60 and grey.max() <= 213.1


def test_the_class_token_holds_what_the_linear_layer_says_of_each_cell():
    model = new_model()
    encoder, last = model.vision_model, model.vision_model.encoder.layers[-1]
    torch.nn.init.normal_(encoder.embeddings.position_embedding.weight, std=image_encoder.POSITION_STD)
    head = torch.nn.Linear(VISION["hidden_size"], sum(CLASSES))
    pixels = torch.randn(40, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad():
        before = encoder(pixels, output_hidden_states=True).hidden_states[-2]
        states = last.layer_norm1(before)
        set_last_layer(model, head, states)
        width = VISION["hidden_size"] // CELLS
        expected = before[:, 0].clone()
        for cell in range(CELLS):
            expected[:, cell * width : cell * width + sum(CLASSES)] += head(states[:, 1 + cell])
        expected = torch.nn.functional.layer_norm(expected, expected.shape[-1:])
        found = model.embed_images(pixels)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


@pytest.mark.slow
def test_the_image_encoder_learns_to_name_what_the_cells_show(drawn, monkeypatch):
    images, labels = drawn
    model = new_model()
    monkeypatch.setattr(image_encoder, "STEPS", 80)
    monkeypatch.setattr(image_encoder, "BATCH_SIZE", 64)

    grey = []

    def normalize(pixels):
        grey.extend((pixels == pixels[..., :1]).all(dim=-1).flatten(1).all(dim=1).tolist())
        return (pixels.permute(0, 3, 1, 2) - 128) / 70

    train_image_encoder(model, images, labels, normalize, seed=0)
    # 4 standard deviations, and a little for images that show black and white objects alone.
    assert abs(np.mean(grey[: 80 * 64]) - image_encoder.GREY_SHARE) < 4 * (0.24 / (80 * 64)) ** 0.5 + 0.02
    embeds = model.embed_images(normalize(images.float()))
    # Each part of the embedding holds the logits of its cell, up to a constant and a scale for each image.
    parts = embeds.unflatten(1, (CELLS, -1))[..., : sum(CLASSES)].split(CLASSES, dim=-1)
    for at, part in enumerate(parts):
        assert (part.argmax(dim=-1) == labels[..., at]).float().mean() > 0.9


def test_a_caption_shares_its_target_among_the_images_of_which_it_is_true():
    logits, true = torch.randn(3, 4), torch.tensor([[1, 0, 0, 0], [1, 0, 1, 1], [0, 1, 1, 0]]).bool()
    expected = 0
    for row, own in zip(logits.tolist(), true.tolist(), strict=True):
        total = math.log(sum(math.exp(value) for value in row))
        shares = [total - value for value, right in zip(row, own, strict=True) if right]
        expected += sum(shares) / len(shares) / 3
    assert true_images_loss(logits, true).item() == pytest.approx(expected)


def test_fit_finds_the_least_loss():
    value = torch.nn.Parameter(torch.zeros(2))
    fit([value], lambda: (value - torch.tensor([1.0, -2.0])).square().sum(), 400, 0.05, 0.0, "test")
    assert value.tolist() == pytest.approx([1, -2], abs=1e-3)


def test_pixel_values_are_those_of_the_processor(tmp_path):
    from transformers import CLIPProcessor

    rows = scenes.load_scenes("train")
    write_untrained(tmp_path, rows)
    processor = CLIPProcessor.from_pretrained(tmp_path).image_processor
    images = torch.from_numpy(np.stack([np.asarray(row["image"]) for row in rows.select(range(3))])).float()
    expected = processor(images=rows[:3]["image"], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixel_values(processor, "cpu", images), expected)


def test_the_plain_copy_has_the_weights_and_nothing_of_conclip():
    model = new_model()
    plain = plain_clip(model)
    assert type(plain).__name__ == "CLIPModel" and "image_to_text_weight" not in plain.config.to_dict()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in plain.state_dict().items())
