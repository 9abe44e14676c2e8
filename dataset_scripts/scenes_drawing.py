"""Draw the objects of a scene with Pillow."""

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

IMAGE_SIZE = 48  # pixels, square
SUPERSAMPLING = 2
SHAPES = ("circle", "square", "triangle", "star", "cross")
PALETTE = {
    "red": (214, 39, 40),
    "green": (34, 160, 44),
    "blue": (31, 80, 220),
    "yellow": (250, 220, 20),
    "purple": (130, 40, 170),
    "orange": (255, 127, 14),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
COLOURS = tuple(PALETTE)
OUTLINE = (40, 40, 40)  # so that the shape is visible in every colour
GRID = 2  # cells per side
RADIUS = {"small": 7.0, "large": 11.0}  # pixels; a cell is 24 pixels wide
JITTER = 1.5  # pixels
SHADE = 28  # levels by which a colour varies


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene: words for the caption, and its cell, 0 or 1 from the top left."""

    shape: str
    colour: str
    size: str
    row: int
    column: int


def polygon(shape: str, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    if shape == "square":
        side = 0.85 * radius
        return [(x - side, y - side), (x + side, y - side), (x + side, y + side), (x - side, y + side)]
    if shape == "cross":
        arm, width = radius, 0.35 * radius
        right = [(width, -arm), (width, -width), (arm, -width), (arm, width), (width, width), (width, arm)]
        return [(x + dx, y + dy) for dx, dy in right] + [(x - dx, y - dy) for dx, dy in right]
    corners, inner = {"triangle": (3, 1.0), "star": (5, 0.5)}[shape]
    radii = [radius] * corners if inner == 1.0 else [radius, inner * radius] * corners
    step = 2 * math.pi / len(radii)
    return [(x + r * math.sin(i * step), y - r * math.cos(i * step)) for i, r in enumerate(radii)]


def draw(scene: list[SceneObject], background: int, rng: random.Random) -> Image.Image:
    """
    Draw a scene.

    Args:
        scene: objects in different cells.
        background: grey level, 0 to 255.
        rng: moves each object within its cell and varies its shade.

    Returns:
        RGB image of `IMAGE_SIZE` × `IMAGE_SIZE` pixels.
    """
    size = IMAGE_SIZE * SUPERSAMPLING
    image = Image.new("RGB", (size, size), (background,) * 3)
    pen = ImageDraw.Draw(image)
    cell = size / GRID
    for item in scene:
        fill = tuple(min(max(level + rng.randint(-SHADE, SHADE), 0), 255) for level in PALETTE[item.colour])
        radius = RADIUS[item.size] * SUPERSAMPLING * rng.uniform(0.9, 1.0)
        x = (item.column + 0.5) * cell + rng.uniform(-JITTER, JITTER) * SUPERSAMPLING
        y = (item.row + 0.5) * cell + rng.uniform(-JITTER, JITTER) * SUPERSAMPLING
        if item.shape == "circle":
            box = (x - radius, y - radius, x + radius, y + radius)
            pen.ellipse(box, fill=fill, outline=OUTLINE, width=SUPERSAMPLING)
        else:
            corners = polygon(item.shape, x, y, radius)
            pen.polygon(corners, fill=fill, outline=OUTLINE, width=SUPERSAMPLING)
    return image.reduce(SUPERSAMPLING)
