"""
The image encoder of the scenes' base: it learns what each cell shows, and its class token reads the cells.

Each patch is a cell of the scenes' grid. All layers but the last learn to name the object in each cell, with a linear
layer on top, by cross-entropy. The last layer is set rather than trained: each attention head copies what that linear
layer says of one cell into its own part of the class token. A class token that is trained learns the combinations of
shape and colour of the training scenes by heart; this one tells held-out combinations as well as the cells do.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import cross_entropy, one_hot

from conclip.training.fitting import fit
from dataset_scripts.scenes_drawing import COLOURS, GRID, IMAGE_SIZE, RADIUS, SHAPES
from modeling_conclip import ConCLIPModel

CELL = IMAGE_SIZE // GRID
CELLS = GRID * GRID
# What is named of each cell; the first class of each is an empty cell.
ATTRIBUTES = (SHAPES, COLOURS, tuple(RADIUS))
CLASSES = [1 + len(names) for names in ATTRIBUTES]
STEPS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 450, 128, 2e-3, 0.05
# Share of images without colour, from which the shape has to be learned whatever the colour is. Their greys lie
# between those of black and white objects, so that no held-out combination appears.
GREY_SHARE, DARKEST, CONTRAST = 0.4, 60, 0.6
# Large, so that the last layer can tell the cells apart whatever they show.
POSITION_STD = 0.5
# Attention of a head to its own cell, as a logit above the other cells: these get less than 1 % of it.
SHARPNESS = 20.0


def cell_labels(objects: list[list[str]]) -> np.ndarray:
    """
    Return the classes of each cell, row by row.

    Args:
        objects: the column "objects" of scenes.

    Returns:
        int64, (scenes, `CELLS`, 3): shape, colour and size, counted from 1; 0 for an empty cell.
    """
    labels = np.zeros((len(objects), CELLS, len(ATTRIBUTES)), np.int64)
    for own, described in zip(labels, objects, strict=True):
        for text in described:
            size, colour, shape, *_, row, column = text.split()
            cell = GRID * (row == "bottom") + (column == "right")
            own[cell] = [1 + names.index(word) for names, word in zip(ATTRIBUTES, (shape, colour, size), strict=True)]
    return labels


def cut(images: torch.Tensor) -> torch.Tensor:
    """Cut images, (images, height, width, 3), into their cells, (images, `CELLS`, `CELL`, `CELL`, 3)."""
    return images.unflatten(1, (GRID, CELL)).unflatten(3, (GRID, CELL)).transpose(2, 3).flatten(1, 2)


def join(cells: torch.Tensor) -> torch.Tensor:
    """Put images together from their cells: the reverse of `cut`."""
    return cells.unflatten(1, (GRID, GRID)).transpose(2, 3).flatten(3, 4).flatten(1, 2)


def without_colour(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """
    Turn images grey, each with its own weights of red, green and blue.

    Args:
        images: float32, (images, height, width, 3), 0 to 255.
    """
    weights = torch.rand(len(images), 1, 1, 3, generator=generator) + 0.05
    grey = (images * weights).sum(dim=-1, keepdim=True) / weights.sum(dim=-1, keepdim=True)
    return (DARKEST + CONTRAST * grey).expand_as(images)


def train_image_encoder(
    model: ConCLIPModel,
    images: torch.Tensor,
    labels: torch.Tensor,
    normalize: Callable[[torch.Tensor], torch.Tensor],
    seed: int,
) -> None:
    """
    Train the image encoder, and set its last layer and its projection.

    Args:
        model: its patches are the cells; hidden size and projection have an attention head for each cell, and as many
            numbers for each head as there are classes, or more.
        images: uint8, (scenes, height, width, 3).
        labels: int64, (scenes, `CELLS`, 3), from `cell_labels`.
        normalize: takes images as float32 and returns pixel values on the device of the model.
    """
    generator = torch.Generator().manual_seed(seed)
    # New images are put together from cells of all scenes, so that there are always fresh ones.
    cells, labels = cut(images).flatten(0, 1), labels.flatten(0, 1)
    encoder, head = model.vision_model, torch.nn.Linear(model.config.vision_config.hidden_size, sum(CLASSES))
    head.to(model.device)
    last = encoder.encoder.layers[-1]

    def states(pixel_values: torch.Tensor) -> torch.Tensor:
        """Return what the last layer reads of class token and cells, (images, 1 + `CELLS`, hidden size)."""
        return last.layer_norm1(encoder(pixel_values, output_hidden_states=True).hidden_states[-2])

    def loss() -> torch.Tensor:
        at = torch.randint(len(cells), (BATCH_SIZE, CELLS), generator=generator)
        pixels, classes = join(cells[at]).float(), labels[at].to(model.device)
        grey = torch.rand(BATCH_SIZE, generator=generator) < GREY_SHARE
        pixels[grey] = without_colour(pixels[grey], generator)
        shape, colour, size = head(states(normalize(pixels))[:, 1:]).split(CLASSES, dim=-1)
        return (
            cross_entropy(shape.flatten(0, 1), classes[..., 0].flatten())
            + cross_entropy(colour[~grey].flatten(0, 1), classes[~grey][..., 1].flatten())
            + cross_entropy(size.flatten(0, 1), classes[..., 2].flatten())
        )

    torch.nn.init.normal_(encoder.embeddings.position_embedding.weight, std=POSITION_STD)
    trained = [encoder.embeddings, encoder.pre_layrnorm, *encoder.encoder.layers[:-1], last.layer_norm1, head]
    parameters = [parameter for module in trained for parameter in module.parameters()]
    fit(parameters, loss, STEPS, LEARNING_RATE, WEIGHT_DECAY, "Image encoder")
    with torch.no_grad():
        set_last_layer(model, head, states(normalize(images[:BATCH_SIZE].float())))


def set_last_layer(model: ConCLIPModel, head: torch.nn.Linear, states: torch.Tensor) -> None:
    """
    Let each attention head of the last layer copy the logits of one cell to its own part of the class token, and let
    the projection keep them.

    Args:
        head: gives the logits of a cell.
        states: float32, (images, 1 + `CELLS`, hidden size), which differ from cell to cell.
    """
    last = model.vision_model.encoder.layers[-1]
    attention = last.self_attn
    for layer in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj, last.mlp.fc2):
        layer.weight.zero_()
        layer.bias.zero_()
    # Least squares with a little ridge: which cell a state is of; the class token is none of them.
    inputs = torch.nn.functional.pad(states.flatten(0, 1), (0, 1), value=1.0)
    places = torch.arange(1 + CELLS, device=states.device)
    target = one_hot(places)[:, 1:].float().repeat(len(states), 1)
    ridge = 1e-3 * len(inputs) * torch.eye(inputs.shape[1], device=states.device)
    *weights, constants = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ target)
    weights, width = torch.stack(weights), attention.head_dim
    for cell in range(CELLS):
        first, own = cell * width, slice(cell * width, cell * width + sum(CLASSES))
        # The query is the same for every image; attention divides its product with the key by the root of the width.
        attention.q_proj.bias[first] = SHARPNESS * width**0.5
        attention.k_proj.weight[first], attention.k_proj.bias[first] = weights[:, cell], constants[cell]
        attention.v_proj.weight[own], attention.v_proj.bias[own] = head.weight, head.bias
    torch.nn.init.eye_(attention.out_proj.weight)
    torch.nn.init.eye_(model.visual_projection.weight)
