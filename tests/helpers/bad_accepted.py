"""Unusual inputs that are used as they are: helpers, not a test. `says` is a part of what is printed."""

from bad_inputs import BadInput, all_of, changed_row, content, link, rows, write_lines

FORMULA = "@SUM(1+1) A man with a red ball."
CELLS = "".join(f'{row["image"]};"{FORMULA}"\n' for row in rows())
WROTE = "Wrote out: 8 rows from 8 captions"
SAVED = "Model saved to out"

ACCEPTED = [
    BadInput(
        "train",
        "a caption of 10,000 words",
        "",
        changed_row(caption="dog " * 10_000),
        "Warning: 1 of 16 texts fill the 77 tokens that the model reads; anything after these tokens is cut.",
    ),
    BadInput(
        "negate",
        "a caption of 10,000 words",
        "",
        changed_row(caption="dog " * 10_000),
        "Wrote out: 7 rows from 8 captions",
    ),
    BadInput(
        "train",
        "a caption with a NUL and other control characters",
        "",
        changed_row(caption="a dog\0 with\x1b[31m a\u2028ball\u202e"),
        r"Warning: OpenAI's tokenizer repairs 1 of 16 texts before it reads them (curly quotes, HTML entities, "
        r"wrongly decoded characters), such as 'a dog\x00 with\x1b[31m a\u2028ball\u202e'; here they stay as they "
        r"are.",
    ),
    BadInput("negate", "a caption with a NUL", "", changed_row(caption="A man\0 with a red ball."), WROTE),
    BadInput(
        "negate",
        "cells with a formula, in CSV with semicolons",
        "--dataset_name mine.csv",
        content("mine.csv", f"image;caption\n{CELLS}"),
        WROTE,
    ),
    BadInput(
        "negate",
        "a CSV file in UTF-16 with a byte order mark",
        "--dataset_name mine.csv",
        content("mine.csv", f"image;caption\n{CELLS}".encode("utf-16")),
        WROTE,
    ),
    BadInput(
        "train",
        "a JSON Lines file with a byte order mark",
        "",
        lambda folder: content("rows.jsonl", b"\xef\xbb\xbf" + (folder / "rows.jsonl").read_bytes())(folder),
        SAVED,
    ),
    BadInput(
        "train",
        "images by absolute paths",
        "",
        lambda folder: write_lines("rows.jsonl", [{**row, "image": str(folder / row["image"])} for row in rows()])(
            folder
        ),
        SAVED,
    ),
    BadInput(
        "train",
        "an image by a path with .. and another by a link",
        "",
        all_of(link("images/4.png", "3.png"), changed_row(image="images/../images/2.png")),
        SAVED,
    ),
]
