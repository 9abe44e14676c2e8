"""
Images that Pillow opens: which of them are refused, and their conversion to RGB.

Imports neither torch nor `datasets`, which take seconds.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import PIL.Image

from conclip.errors import UsageError

# Formats that Pillow has an interpreter (Ghostscript) run.
PROGRAMS = ("EPS",)


class ImageError(UsageError):
    """Report an image that cannot be read or used; the message is the reason, without a full stop."""

    def naming(self, path: str | None) -> str:
        """Return the reason with the path of the image, if it has one."""
        return f"{path}: {self}" if path and path not in self.args[0] else str(self)


@contextmanager
def large_images() -> Iterator[None]:
    """Open images of 90 to 180 million pixels without Pillow's warning of an attack."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        yield


def require_image(content: bytes) -> None:
    """
    Read the header of an encoded image.

    Raises:
        ImageError: the bytes are no image, have more pixels than Pillow opens, or are a program that draws one.
    """
    try:
        with large_images(), PIL.Image.open(io.BytesIO(content)) as image:
            format = image.format
    except PIL.Image.DecompressionBombError as error:
        raise ImageError("it has more pixels than Pillow opens; make it smaller") from error
    # Pillow raises OSError, SyntaxError, ValueError and others for files that it cannot read.
    except Exception as error:
        raise ImageError("not an image that Pillow can read") from error
    if format in PROGRAMS:
        raise ImageError(f"an {format} file, which is a program and is not run; save it as PNG or JPEG")


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """
    Convert an image to RGB with 8 bits.

    Pillow's own conversion clips greyscale of 16 bits (modes "I;16" and "I") at 255, which makes it white. Here the
    lower 8 bits are dropped, as Pillow does for colour images of 16 bits. Integers of mode "I" that are all below 256
    are taken as 8 bits.

    Raises:
        ImageError: floating-point pixels (mode "F"), or integers that do not fit in 16 bits: their range is unknown.
    """
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise ImageError("its pixels are floating-point numbers of unknown range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        lowest, highest = int(values.min()), int(values.max())
        if lowest < 0 or highest > 65_535:
            raise ImageError(f"its pixels range from {lowest} to {highest}: save it with 8 or 16 bits")
        if image.mode != "I" or highest > 255:
            values = values >> 8
        image = PIL.Image.fromarray(values.astype(np.uint8))
    return image.convert("RGB")
