"""Checks of a metric's columns. Every metric folder holds a copy of this file, because a folder is uploaded alone."""

from __future__ import annotations

import numbers

import numpy as np


def plain(values):
    """Convert tensors, also in lists, to numpy arrays; return everything else unchanged."""
    if hasattr(values, "detach"):
        # numpy accepts no tensor with a gradient, on an accelerator or of dtype bfloat16.
        values = values.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    # Only the first element is looked at: a loop over millions of numbers would take seconds.
    if (
        isinstance(values, (list, tuple))
        and values
        and (isinstance(values[0], (list, tuple)) or hasattr(values[0], "detach"))
    ):
        return [plain(value) for value in values]
    return values


def finite_scores(name, values, row_shape, wanted, first_row=0) -> np.ndarray:
    """Return a column of scores as float64, which holds every float16, bfloat16 and float32 exactly.

    Args:
        name: name of the column, for messages.
        values: list, array or tensor.
        row_shape: shape of one row; None means any length.
        wanted: the shape of the column in words, for messages.
        first_row: number of rows in earlier batches, added to the row numbers in messages.

    Raises:
        ValueError: the shape is wrong, or a value is not a finite number.
    """
    if values is None:
        raise ValueError(f"{name} is missing.")
    try:
        scores = np.asarray(plain(values))
    except ValueError:
        raise ValueError(f"{name} must be {wanted}, got rows of different shapes.") from None
    if scores.shape == (0,):
        scores = scores.reshape(0, *(side or 0 for side in row_shape))
    if scores.ndim != 1 + len(row_shape) or any(
        side not in (None, length) for side, length in zip(row_shape, scores.shape[1:], strict=True)
    ):
        raise ValueError(f"{name} must be {wanted}, got shape {scores.shape}.")
    if scores.dtype.kind not in "biuf":
        # numpy would read "0.5" as a number and None as NaN.
        for index, value in zip(np.ndindex(scores.shape), scores.ravel().tolist(), strict=True):
            if not isinstance(value, numbers.Real):
                raise _no_score(name, index, value, first_row)
    scores = scores.astype(np.float64, copy=False)
    finite = np.isfinite(scores)
    if not finite.all():
        index = tuple(np.argwhere(~finite)[0].tolist())
        raise _no_score(name, index, float(scores[index]), first_row)
    return scores


def _no_score(name, index, value, first_row) -> ValueError:
    row, *place = index
    place = f" at {place}" if place else ""
    return ValueError(f"Row {first_row + row} of {name} is {value!r}{place}: a score must be a finite number.")


def check_rows(columns, categories, nouns=("item", "items"), first_row=0) -> list[str] | None:
    """Check that all columns have the same rows, and at least one; return the categories as plain str.

    Args:
        columns: name -> column, anything that has a length.
        categories: one non-empty str per row, or None.
        nouns: word for a row, singular and plural, for messages.

    Raises:
        ValueError: the columns differ in length or are empty, or a category is missing.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if categories is not None:
        # str() converts numpy's own string type, which would otherwise show up in the result.
        categories = [str(value) if isinstance(value, str) else value for value in categories]
        lengths["categories"] = len(categories)
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count} {name}" for name, count in lengths.items())
        raise ValueError(f"Every {nouns[0]} needs one value in each column, got {counts}.")
    if not all(lengths.values()):
        raise ValueError(f"There are no {nouns[1]} to score: {' and '.join(columns)} are empty.")
    for row, value in enumerate(categories or (), start=first_row):
        if not isinstance(value, str) or not value:
            raise ValueError(f"Row {row} of categories is {value!r}: a category must be a non-empty string.")
    return categories


def rows_by_category(categories) -> dict[str, np.ndarray]:
    """Return name -> the numbers of its rows, sorted by name."""
    rows = {}
    for row, category in enumerate(categories):
        rows.setdefault(category, []).append(row)
    return {category: np.array(rows[category]) for category in sorted(rows)}
