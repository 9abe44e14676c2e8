"""Bad inputs of the section "Embeddings and texts of images" of docs/bad_inputs.md: helpers, not a test."""

import json

import numpy as np
from bad_inputs import (
    DEEP,
    BadInput,
    all_of,
    array,
    arrays,
    content,
    cut,
    embeddings,
    folder_named,
    with_value,
)

EMBEDS = "--image_embeds_column at --image_embeds_file mine.npy"
TEXTS = "--negated_phrases phrases.json --pool_captions texts.json"

EMBEDDINGS = [
    BadInput(
        "train",
        "a file that does not exist",
        "--image_embeds_file nowhere.npy",
        None,
        "There is no file nowhere.npy: name the .npy or .npz file that holds embeddings.",
    ),
    BadInput(
        "train",
        "embeddings of another width",
        EMBEDS,
        array("mine.npy", embeddings(8, 5)),
        "Split 'train': at holds embeddings of 5 numbers, but clip projects to 16: use projected embeddings of "
        "this model, as `conclip embed` writes them.",
    ),
    BadInput(
        "train",
        "embeddings of fewer rows",
        EMBEDS,
        array("mine.npy", embeddings(7, 16)),
        "--image_embeds_file mine.npy has 7 rows, but the split 'train' has 8: it needs an embedding for each row "
        "in the same order, or name a column of row numbers with --image_embeds_column.",
    ),
    BadInput(
        "train",
        "an embedding with NaN",
        EMBEDS,
        array("mine.npy", with_value(float("nan"), (3, 2), 16)),
        "Split 'train', row 3: at is not finite: leave the row out, or embed its image again.",
    ),
    BadInput(
        "train",
        "an embedding of zeros",
        EMBEDS,
        array("mine.npy", with_value(0, 3, 16)),
        "Split 'train', row 3: at is all zeros: leave the row out, or embed its image again.",
    ),
    BadInput(
        "train",
        "float64",
        EMBEDS,
        array("mine.npy", embeddings(8, 16).astype(np.float64)),
        "mine.npy must hold one array (n, d) of float32 or float16; it holds rows float64 (8, 16).",
    ),
    BadInput(
        "train",
        "a single row of numbers",
        EMBEDS,
        array("mine.npy", np.zeros(8, np.float32)),
        "mine.npy must hold one array (n, d) of float32 or float16; it holds rows float32 (8,).",
    ),
    BadInput(
        "train",
        "a file cut short",
        EMBEDS,
        all_of(array("mine.npy", embeddings(8, 16)), cut("mine.npy", 200)),
        "mine.npy cannot be read as .npy or .npz (…): write it again.",
    ),
    BadInput(
        "train",
        "an empty folder",
        EMBEDS.replace("mine.npy", "empty"),
        folder_named("empty"),
        "empty holds no .npy file: name the file or folder that holds embeddings.",
    ),
    BadInput(
        "distractors",
        "a file that does not exist",
        "--queries nowhere.npz",
        None,
        "There is no file nowhere.npz: name the .npy or .npz file that holds embeddings.",
    ),
    BadInput(
        "distractors",
        "a folder",
        "--queries images",
        None,
        "images is a folder: name the .npy or .npz file that holds embeddings.",
    ),
    BadInput(
        "distractors",
        "text",
        "",
        content("queries.npz", "1.0, 2.0\n"),
        "queries.npz is neither .npy nor .npz: write it with numpy.save or numpy.savez.",
    ),
    BadInput(
        "distractors",
        "a file cut short",
        "",
        cut("queries.npz", 100),
        "queries.npz cannot be read as .npy or .npz (…): write it again.",
    ),
    BadInput(
        "distractors",
        "two arrays",
        "",
        arrays("queries.npz", a=embeddings(), b=embeddings()),
        "queries.npz must hold one array (n, d) of float32 or float16; it holds a float32 (8, 4), b float32 (8, 4).",
    ),
    BadInput(
        "distractors",
        "fewer names than embeddings",
        "",
        arrays("queries.npz", embeds=embeddings(), names=np.arange(7)),
        "queries.npz holds 7 names for 8 embeddings: write it again.",
    ),
    BadInput(
        "distractors",
        "no rows",
        "",
        arrays("queries.npz", embeds=embeddings()[:0]),
        "There are no embeddings in the queries: embed one image or more.",
    ),
    BadInput(
        "distractors",
        "embeddings of another width",
        "",
        arrays("queries.npz", embeds=embeddings(8, 5)),
        "The queries have 5 dimensions and the pool has 4: embed both with one model.",
    ),
    BadInput(
        "distractors",
        "an embedding with NaN",
        "",
        arrays("queries.npz", embeds=with_value(float("nan"), (3, 1))),
        "Row 3 of the queries has length nan instead of 1: divide each embedding by its length.",
    ),
    BadInput(
        "distractors",
        "embeddings that are not normalised",
        "",
        arrays("queries.npz", embeds=2 * embeddings()),
        "Row 0 of the queries has length 2 instead of 1: divide each embedding by its length.",
    ),
    BadInput(
        "distractors",
        "more distractors than images",
        "--top_k 21",
        None,
        "21 distractors cannot be found in a pool of 20 images: change top_k.",
    ),
    BadInput(
        "distractors",
        "phrases without captions",
        "--negated_phrases phrases.json",
        None,
        "A search by captions needs both --negated_phrases and --pool_captions.",
    ),
    BadInput(
        "distractors",
        "texts cut short",
        TEXTS,
        cut("texts.json", 5),
        "texts.json cannot be read as JSON (…): write it again.",
    ),
    BadInput(
        "distractors",
        "100,000 brackets",
        TEXTS,
        content("texts.json", DEEP),
        "texts.json cannot be read as JSON (…): write it again.",
    ),
    BadInput(
        "distractors",
        "texts for fewer images",
        TEXTS,
        content("texts.json", '["a dog"]'),
        "texts.json must have an entry for each of 20 images; it has 1 entries.",
    ),
    BadInput(
        "distractors",
        "numbers in place of texts",
        TEXTS,
        content("texts.json", json.dumps([3] * 20)),
        "Entry 0 of texts.json (the first is 0) is neither a text nor a list of texts: correct it.",
    ),
    BadInput(
        "distractors",
        "texts by name for images without names",
        TEXTS,
        content("texts.json", '{"1.png": "a dog"}'),
        "texts.json lists images by name, but the embeddings have no names: use an .npz file with `names`.",
    ),
]
