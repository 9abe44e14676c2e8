"""Bad inputs of the section "Images" of docs/bad_inputs.md: helpers, not a test."""

import json

from bad_inputs import (
    SVG,
    BadInput,
    all_of,
    bomb,
    changed_pairs,
    changed_row,
    content,
    cut,
    link,
    rows,
    table,
    write_lines,
)

MAPPING = "--image_column image --distractor_mapping mine.parquet --distractor_dir images"
COCO = "coco/annotations/captions_train2017.json"
PHOTO = "data/coco/val2017/000000085329.jpg"
CC3M = "CC-Neg/ccneg_images/cc3m_subset_images_extracted_final/000002.jpg"

IMAGES = [
    BadInput(
        "train",
        "an image that does not exist",
        "",
        changed_row(image="images/none.png"),
        "Split 'train', row 5: cannot read image: ./images/none.png: No such file or directory; --image_dir is the "
        "folder that paths are relative to.",
    ),
    BadInput(
        "negate",
        "an image that does not exist",
        "--image_column image",
        changed_row(image="images/none.png"),
        "rows.jsonl, split 'train', row 5: cannot read image: ./images/none.png: No such file or directory; "
        "--image_dir is the folder that paths are relative to.",
    ),
    BadInput(
        "train",
        "no image",
        "",
        changed_row(image=None),
        "Split 'train', row 5: cannot read image: there is neither an image nor a path.",
    ),
    BadInput(
        "train",
        "numbers in place of images",
        "",
        write_lines("rows.jsonl", [{**row, "image": 1} for row in rows()]),
        "Split 'train': image holds int64; it has to hold images, paths, URLs or bytes.",
    ),
    BadInput(
        "negate",
        "numbers in place of images",
        "--image_column image",
        write_lines("rows.jsonl", [{**row, "image": 1} for row in rows()]),
        "--image_column image holds no images, paths, URLs or bytes.",
    ),
    BadInput(
        "train",
        "a folder in place of an image",
        "",
        changed_row(image="images"),
        "Split 'train', row 5: cannot read image: ./images: Is a directory.",
    ),
    BadInput(
        "embed",
        "an empty file",
        "",
        content("images/5.png", b""),
        "Split 'images', row 5: cannot read image: images/5.png: not an image that Pillow can read.",
    ),
    BadInput(
        "embed",
        "an image cut short",
        "",
        cut("images/5.png", 200),
        "Split 'images', row 5: cannot read image: images/5.png: image file is truncated.",
    ),
    BadInput(
        "train",
        "an image with 3,600 million pixels",
        "",
        content("images/5.png", bomb()),
        "Split 'train', row 5: cannot read image: ./images/5.png: it has more pixels than Pillow opens; make it "
        "smaller.",
    ),
    BadInput(
        "evaluate",
        "an image with 3,600 million pixels",
        "",
        content(PHOTO, bomb()),
        "SugarCrepe: image data/coco/val2017/000000085329.jpg cannot be read: it has more pixels than Pillow "
        "opens; make it smaller.",
    ),
    BadInput(
        "ccneg",
        "an image with 3,600 million pixels",
        "",
        content(CC3M, bomb()),
        "Row 2: the image CC-Neg/ccneg_images/cc3m_subset_images_extracted_final/000002.jpg has more pixels than "
        "Pillow opens; replace it, or skip such rows with skip_broken_images.",
    ),
    BadInput(
        "embed",
        "a web page named .png",
        "",
        content("images/5.png", "<html>404</html>"),
        "Split 'images', row 5: cannot read image: images/5.png: not an image that Pillow can read.",
    ),
    BadInput(
        "train",
        "an SVG named .jpg",
        "",
        all_of(content("images/5.jpg", SVG), changed_row(image="images/5.jpg")),
        "Split 'train', row 5: cannot read image: ./images/5.jpg: not an image that Pillow can read.",
    ),
    BadInput(
        "evaluate",
        "an SVG named .jpg",
        "",
        content(PHOTO, SVG),
        "SugarCrepe: image data/coco/val2017/000000085329.jpg cannot be read: not an image that Pillow can read.",
    ),
    BadInput(
        "ccneg",
        "an SVG named .jpg",
        "",
        content(CC3M, SVG),
        "Row 2: the image CC-Neg/ccneg_images/cc3m_subset_images_extracted_final/000002.jpg is empty or not an "
        "image; replace it, or skip such rows with skip_broken_images.",
    ),
    BadInput(
        "negate",
        "a path with .. to a file that is no image",
        "--image_column image",
        changed_row(image="images/../README.md"),
        "rows.jsonl, split 'train', row 5: cannot read image: ./images/../README.md: not an image that Pillow can "
        "read.",
    ),
    BadInput(
        "train",
        "an absolute path to a file that is no image",
        "",
        changed_row(image="/dev/null"),
        "Split 'train', row 5: cannot read image: /dev/null: not an image that Pillow can read.",
    ),
    BadInput(
        "train",
        "a link to a file that is no image",
        "",
        link("images/5.png", "../README.md"),
        "Split 'train', row 5: cannot read image: ./images/5.png: not an image that Pillow can read.",
    ),
    BadInput(
        "embed",
        "a link to nothing",
        "",
        link("images/5.png", "nowhere"),
        "Split 'images', row 5: cannot read image: images/5.png: No such file or directory.",
    ),
    BadInput(
        "ccneg",
        "a path with ..",
        "",
        changed_pairs(path="/workspace/datasets/cc3m/../../etc/x.jpg"),
        "Row 2: the image path '/workspace/datasets/cc3m/../../etc/x.jpg' has '..' and may lead out of CC-Neg: "
        "correct it.",
    ),
    BadInput(
        "ccneg",
        "a link out of the folder",
        "",
        link(CC3M, "../../../images/5.png"),
        "CC-Neg/ccneg_images/cc3m_subset_images_extracted_final/000002.jpg is a link that leads out of CC-Neg: put "
        "the images themselves there.",
    ),
    BadInput(
        "ccneg",
        "a path with .. in COCO's captions",
        "",
        content(COCO, json.dumps({"images": [{"id": number, "file_name": "../weights.pt"} for number in range(4)]})),
        "Row 0: the image path '../weights.pt' has '..' and may lead out of coco: correct it.",
    ),
    BadInput(
        "train",
        "a path with a NUL",
        "",
        changed_row(image="images/\0.png"),
        "Split 'train', row 5: cannot read image: ./images/\\x00.png: ….",
    ),
    BadInput(
        "train",
        "a path of 5,000 characters",
        "",
        changed_row(image="a" * 5_000),
        "Split 'train', row 5: cannot read image: ./aaaaaaaa…File name too long.",
    ),
    BadInput(
        "train",
        "a URL of a server that does not answer",
        "",
        changed_row(image="http://127.0.0.1:9/5.png"),
        "Split 'train', row 5: cannot read image: http://127.0.0.1:9/5.png: Connection refused.",
    ),
    BadInput(
        "negate",
        "a URL of an unknown kind",
        "--image_column image",
        changed_row(image="gopher://127.0.0.1/5.png"),
        "rows.jsonl, split 'train', row 5: cannot read image: gopher://127.0.0.1/5.png: …",
    ),
    BadInput(
        "search",
        "an image as the query that cannot be read",
        "+ query.png",
        content("query.png", b""),
        "query.png: not an image that Pillow can read.",
    ),
    BadInput(
        "embed",
        "a folder that does not exist",
        "--image_dir nowhere",
        None,
        "--image_dir nowhere: there is no such folder.",
    ),
    BadInput(
        "embed",
        "a folder without images",
        "--image_dir clip",
        None,
        "--image_dir clip holds no images; subfolders are not read.",
    ),
    BadInput(
        "negate",
        "a table of distractors that does not exist",
        MAPPING,
        None,
        "--distractor_mapping mine.parquet: there is no such file.",
    ),
    BadInput(
        "negate",
        "a table of distractors that is no Parquet",
        MAPPING,
        content("mine.parquet", b"PAR1"),
        "--distractor_mapping mine.parquet cannot be read: …",
    ),
    BadInput(
        "negate",
        "a table of distractors of other rows",
        MAPPING,
        table("mine.parquet", distractor_indices=[[1]]),
        "--distractor_mapping mine.parquet has 1 rows, the dataset 8: repeat `conclip distractors` with the images of "
        "this dataset.",
    ),
    BadInput(
        "negate",
        "a table that names a negative image",
        MAPPING,
        table("mine.parquet", distractor_indices=[[-1]] * 8),
        "--distractor_mapping mine.parquet names image -1, but --distractor_dir images holds 8: it has to be the "
        "folder that was embedded.",
    ),
    BadInput(
        "negate",
        "a table with text in place of numbers",
        MAPPING,
        table("mine.parquet", distractor_indices=[["5"]] * 8),
        "--distractor_mapping mine.parquet: distractor_indices holds list<element: string>, not lists of integers: "
        "name the table that `conclip distractors` wrote.",
    ),
    BadInput(
        "negate",
        "a table with a row without a distractor",
        MAPPING,
        table("mine.parquet", distractor_indices=[[1]] * 7 + [[]]),
        "--distractor_mapping mine.parquet, row 7: distractor_indices holds [], but --num_distractors 1 needs as "
        "many numbers: repeat `conclip distractors`.",
    ),
]
