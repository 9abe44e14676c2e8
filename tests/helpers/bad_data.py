"""Bad rows, images, embeddings and benchmarks: helpers, not a test."""

import json

import numpy as np
from bad_inputs import (
    DEEP,
    SVG,
    BadInput,
    all_of,
    array,
    arrays,
    bomb,
    changed_json,
    changed_pairs,
    changed_row,
    content,
    cut,
    embeddings,
    folder_named,
    link,
    objects,
    removed,
    rows,
    table,
    with_value,
    write_lines,
)

EMBEDS = "--image_embeds_column at --image_embeds_file mine.npy"
MAPPING = "--image_column image --distractor_mapping mine.parquet --distractor_dir images"
TEXTS = "--negated_phrases phrases.json --pool_captions texts.json"
COCO = "coco/annotations/captions_train2017.json"
PHOTO = "data/coco/val2017/000000085329.jpg"
CC3M = "CC-Neg/ccneg_images/cc3m_subset_images_extracted_final/000002.jpg"
FOILS = "data/sugarcrepe/swap_obj.json"
PAIRS = "CC-Neg/ccneg_preprocessed.pt"
CREPE = "data/crepe/prod_hard_negatives"
CREPE_COLUMNS = "image_id,x,y,width,height,caption,hard_negs"
CHECKLIST = "Object/Size/vg_size/vg_obj_large"
EQBEN = {"image0": "0.npy", "image1": "1.png", "caption0": "a dog", "caption1": "no dog"}

CONFIGS = (
    "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*.parquet\n---\n"
)

DATA = [
    BadInput(
        "push",
        "a card with damaged metadata",
        "mine me/mine",
        content("mine/README.md", "---\nconfigs: [\n---\n"),
        "mine/README.md: its metadata cannot be read (…): write the dataset again.",
    ),
    BadInput(
        "push",
        "Parquet files that the card names and that are not there",
        "mine me/mine",
        content("mine/README.md", CONFIGS),
        "mine is not complete: no file data/train-*.parquet, which README.md names; write the dataset again.",
    ),
    BadInput(
        "push",
        "a Parquet file that is none",
        "mine me/mine",
        all_of(content("mine/README.md", CONFIGS), content("mine/data/train-0.parquet", "x")),
        "mine/data/train-0.parquet cannot be read (…): write the dataset again.",
    ),
    BadInput(
        "train",
        "a folder that does not exist",
        "--dataset_name ./nowhere",
        None,
        "--dataset_name ./nowhere: there is no such file or folder.",
    ),
    BadInput(
        "negate",
        "a file that does not exist",
        "--dataset_name nowhere.csv",
        None,
        "--dataset_name nowhere.csv: there is no such file or folder.",
    ),
    BadInput(
        "train",
        "a pattern of no file",
        "--streaming --max_steps 1 --dataset_name shards/*.tar",
        None,
        "--dataset_name shards/*.tar: there is no such file or folder.",
    ),
    BadInput(
        "train",
        "a .tar file that is none",
        "--streaming --max_steps 1 --dataset_name mine.tar",
        content("mine.tar", b"not a tar file " * 100),
        "--dataset_name mine.tar: a .tar file is damaged (invalid header): write it again.",
    ),
    BadInput(
        "train",
        "a .tar file without --streaming",
        "--dataset_name mine.tar",
        content("mine.tar", b"not a tar file " * 100),
        "--dataset_name mine.tar: a file has to end in .csv, .tsv, .json, .jsonl, .parquet, .txt; add --streaming to "
        "train on .tar files.",
    ),
    BadInput(
        "train",
        "an empty folder",
        "--dataset_name empty",
        folder_named("empty"),
        "--dataset_name empty, split 'train': …doesn't contain any data files…",
    ),
    BadInput(
        "train",
        "an empty file",
        "--dataset_name mine.jsonl",
        content("mine.jsonl", b""),
        "--dataset_name mine.jsonl: the file is empty; it needs a row for each caption.",
    ),
    BadInput(
        "negate",
        "blank lines",
        "--dataset_name mine.csv",
        content("mine.csv", "\n\n"),
        "--dataset_name mine.csv: the file is empty; it needs a row for each caption.",
    ),
    BadInput(
        "train",
        "a header without rows",
        "--dataset_name mine.csv",
        content("mine.csv", "image,caption\n"),
        "--dataset_name mine.csv: the split 'train' has no rows.",
    ),
    BadInput(
        "negate",
        "a file with another ending",
        "--dataset_name mine.xlsx",
        content("mine.xlsx", "PK"),
        "--dataset_name mine.xlsx: a file has to end in .csv, .tsv, .json, .jsonl, .parquet, .txt.",
    ),
    BadInput(
        "train",
        "a folder named like a file",
        "--dataset_name mine.csv",
        folder_named("mine.csv"),
        "--dataset_name mine.csv, split 'train': …doesn't contain any data files…",
    ),
    BadInput(
        "negate",
        "no column of captions",
        "--dataset_name mine.csv",
        content("mine.csv", "image,text\n1.png,a dog\n"),
        "--caption_column caption: the split 'train' has no such column, only image, text.",
    ),
    BadInput(
        "train",
        "two columns of one name",
        "--dataset_name mine.csv",
        content("mine.csv", "caption,caption\na dog,a cat\n"),
        "--dataset_name mine.csv: two columns have the name 'caption'; rename one.",
    ),
    BadInput(
        "negate",
        "a file that is not UTF-8",
        "--dataset_name mine.csv",
        content("mine.csv", b"caption\na dog\na caf\xe9\n"),
        "--dataset_name mine.csv, line 3: the byte 0xe9 is not UTF-8; convert it: iconv -f cp1252 -t utf-8 "
        "mine.csv > mine-utf8.csv (cp1252 is the encoding of Windows in western languages).",
    ),
    BadInput(
        "negate",
        "a text file that is not UTF-8",
        "--dataset_name mine.txt",
        content("mine.txt", b"a dog\na caf\xe9\n"),
        "--dataset_name mine.txt, line 2: the byte 0xe9 is not UTF-8; convert it: iconv -f cp1252 -t utf-8 "
        "mine.txt > mine-utf8.txt (cp1252 is the encoding of Windows in western languages).",
    ),
    BadInput(
        "train",
        "UTF-16 without a byte order mark",
        "--dataset_name mine.jsonl",
        content("mine.jsonl", '{"caption": "a dog"}\n'.encode("utf-16le")),
        "--dataset_name mine.jsonl, line 1: a zero byte, as in UTF-16 without a byte order mark; convert it: iconv "
        "-f utf-16le -t utf-8 mine.jsonl > mine-utf8.jsonl",
    ),
    BadInput(
        "train",
        "UTF-16 with a byte order mark, in JSON",
        "--dataset_name mine.jsonl",
        content("mine.jsonl", '{"caption": "a dog"}\n'.encode("utf-16")),
        "--dataset_name mine.jsonl is in utf-16: convert it: iconv -f utf-16 -t utf-8 mine.jsonl > mine-utf8.jsonl",
    ),
    BadInput(
        "train",
        "a comma in a text without quotes",
        "--dataset_name mine.csv",
        content("mine.csv", "image,caption\n1.png,a dog, a cat\n"),
        "--dataset_name mine.csv: the first row has 3 fields, but there are 2 columns; put texts that contain ',' "
        "in double quotes.",
    ),
    BadInput(
        "negate",
        "a comma in a text without quotes, further down",
        "--dataset_name mine.csv",
        content("mine.csv", "image,caption\n1.png,a dog\n2.png,a dog, a cat\n"),
        "--dataset_name mine.csv, split 'train': …line 3…",
    ),
    BadInput(
        "train",
        "a quote that is not closed",
        "--dataset_name mine.csv",
        content("mine.csv", 'image,caption\n1.png,"a dog\n'),
        "--dataset_name mine.csv, split 'train': …EOF inside string…",
    ),
    BadInput(
        "train",
        "a line that is no JSON",
        "--dataset_name mine.jsonl",
        content("mine.jsonl", '{"caption": "a dog"}\n{"caption": \n'),
        "--dataset_name mine.jsonl, split 'train': JSON parse error: …",
    ),
    BadInput(
        "negate",
        "a number in place of rows",
        "--dataset_name mine.json",
        content("mine.json", "3"),
        "--dataset_name mine.json, split 'train': JSON parse error: …",
    ),
    BadInput(
        "train",
        "an object in place of a caption",
        "--dataset_name mine.jsonl",
        write_lines("mine.jsonl", [{**row, "caption": {"en": "a dog"}} for row in rows()]),
        "Split 'train', row 0: caption holds {'en': 'a dog'}, not a caption: correct or remove the row.",
    ),
    BadInput(
        "negate",
        "Parquet cut short",
        "--dataset_name mine.parquet",
        content("mine.parquet", b"PAR1 and so on"),
        "--dataset_name mine.parquet, split 'train': Parquet magic bytes not found…",
    ),
    BadInput(
        "train",
        "damaged metadata in README.md",
        "--dataset_name mine",
        all_of(content("mine/README.md", "---\nconfigs: [\n---\n"), write_lines("mine/train.jsonl", rows())),
        "--dataset_name mine, split 'train': the metadata of mine/README.md is damaged: … (line 1)",
    ),
    BadInput(
        "train",
        "a split that does not exist",
        "--dataset_name mine --train_split training",
        write_lines("mine/train.jsonl", rows()),
        "--dataset_name mine, split 'training': Unknown split …",
    ),
    BadInput(
        "negate",
        "a split that is no split",
        "--split train[",
        None,
        "--dataset_name rows.jsonl, split 'train[': Unrecognized instruction format…",
    ),
    BadInput(
        "negate",
        "two splits of one name",
        "--split train[:2] train[2:]",
        None,
        "--split: two splits would both be written as 'train'; choose others.",
    ),
    BadInput(
        "negate",
        "a test split as large as the data",
        "--test_size 8",
        None,
        "--test_size 8: the split has 8 rows in all; choose fewer.",
    ),
    BadInput(
        "train",
        "a caption that is missing",
        "",
        changed_row(caption=None),
        "Split 'train', row 5: caption holds None, not a caption: correct or remove the row.",
    ),
    BadInput(
        "negate",
        "a blank caption",
        "",
        changed_row(caption=" "),
        "rows.jsonl, split 'train', row 5 (the first is row 0): caption is empty; correct or remove the row.",
    ),
    BadInput(
        "train",
        "half of a character (a lone surrogate)",
        "",
        changed_row(caption="a dog \ud800"),
        "--dataset_name rows.jsonl, split 'train': JSON parse error: …",
    ),
    BadInput(
        "train",
        "no negated caption",
        "",
        changed_row(negated_captions=[]),
        "Split 'train', row 5: negated_captions is an empty list: add a caption or remove the row.",
    ),
    BadInput(
        "train",
        "no distractors",
        "--loss conclip",
        None,
        "--loss conclip needs distractor images, and the column distractor_images has none: find them with "
        "`conclip distractors`, name the column with --distractor_image_column, or choose --loss negclip.",
    ),
    BadInput(
        "train",
        "fewer rows than a batch",
        "--per_device_train_batch_size 64",
        None,
        "8 training rows do not fill one batch of 64, --per_device_train_batch_size times the number of processes "
        "(1): lower --per_device_train_batch_size.",
    ),
    BadInput(
        "negate",
        "captions that are no sentences",
        "--dataset_name mine.txt",
        content("mine.txt", "running\n"),
        "no negation could be made of any caption of the split 'train' (most often: unsure parse); the column "
        "caption has to hold English sentences that name things.",
    ),
    BadInput(
        "negate",
        "labels that are no texts",
        "--objects_column labels",
        write_lines("rows.jsonl", [{**row, "labels": [1]} for row in rows()]),
        "rows.jsonl, split 'train', row 0: labels holds [1], not names; correct it.",
    ),
    BadInput(
        "shortcut",
        "a folder without rows",
        "--negation_dir images",
        None,
        "images holds no data/*.parquet: give a folder that `conclip negate` wrote.",
    ),
    BadInput(
        "shortcut",
        "Parquet cut short",
        "",
        content("negations/data/train.parquet", b"PAR1"),
        "negations/data cannot be read (…): repeat `conclip negate`.",
    ),
    BadInput(
        "shortcut",
        "rows of another kind",
        "",
        table("negations/data/train.parquet", a=[1]),
        "negations/data has other columns: give a folder that `conclip negate` wrote.",
    ),
    BadInput(
        "ccneg",
        "a folder that does not exist",
        "--data_dir nowhere",
        None,
        "data_dir must be the folder that holds ccneg_preprocessed.pt and ccneg_images/; nowhere is not a folder.",
    ),
    BadInput(
        "ccneg",
        "a folder of COCO that does not exist",
        "--coco_dir nowhere",
        None,
        "There is no nowhere/annotations/captions_train2017.json: coco_dir must be the folder that holds "
        "train2017/ and annotations/captions_train2017.json.",
    ),
    BadInput(
        "ccneg",
        "annotations cut short",
        "",
        cut(PAIRS, 100),
        "CC-Neg/ccneg_preprocessed.pt cannot be read: it is cut short or not a PyTorch file; download it again.",
    ),
    BadInput(
        "ccneg",
        "a caption that is a number",
        "",
        changed_pairs("json", caption=3),
        "Row 2 of CC-Neg/ccneg_preprocessed.pt (the first is row 0): the caption is no text; correct or remove the "
        "row.",
    ),
    BadInput(
        "ccneg",
        "half of a character (a lone surrogate)",
        "",
        changed_pairs("json", caption="a \ud800"),
        "Row 2 of CC-Neg/ccneg_preprocessed.pt (the first is row 0): the caption holds half of a character; "
        "correct or remove the row.",
    ),
    BadInput(
        "ccneg",
        "COCO's captions cut short",
        "",
        cut(COCO, 40),
        "coco/annotations/captions_train2017.json is not a COCO captions file or is cut short; download it again.",
    ),
    BadInput(
        "ccneg",
        "100,000 brackets in COCO's captions",
        "",
        content(COCO, DEEP),
        "coco/annotations/captions_train2017.json is not a COCO captions file or is cut short; download it again.",
    ),
    BadInput(
        "ccneg",
        "more distractors than the files have",
        "--num_distractors 9",
        None,
        "Row 0 of CC-Neg/distractor_image_mapping.pt has fewer than num_distractors=9 entries, [0, 1, 2]: lower it.",
    ),
    BadInput(
        "ccneg",
        "a test split as large as the data",
        "--test_size 4",
        None,
        "4 rows cannot be split into train and a test split of 4: change test_size.",
    ),
]

IMAGES = [
    BadInput(
        "train",
        "an image that does not exist",
        "",
        changed_row(image="images/none.png"),
        "Split 'train', row 5: cannot read image: ./images/none.png: No such file or directory.",
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

BENCHMARKS = [
    BadInput(
        "evaluate",
        "a folder that does not exist",
        "--data_dir nowhere",
        None,
        "nowhere/sugarcrepe/add_att.json: No such file or directory. The seven annotation files: folder data of "
        "https://github.com/RAIVNLab/sugar-crepe, into sugarcrepe. The images: "
        "http://images.cocodataset.org/zips/val2017.zip, unpacked into coco/val2017. `conclip "
        "fetch sugarcrepe` downloads all.",
    ),
    BadInput(
        "evaluate",
        "a benchmark that does not exist",
        "--benchmarks sugarcrape",
        None,
        "--benchmarks sugarcrape: no such benchmark; did you mean sugarcrepe?",
    ),
    BadInput(
        "evaluate",
        "annotations that do not exist",
        "",
        removed(FOILS),
        "data/sugarcrepe/swap_obj.json: No such file or directory. The seven annotation files: folder data of "
        "https://github.com/RAIVNLab/sugar-crepe, into sugarcrepe. The images: "
        "http://images.cocodataset.org/zips/val2017.zip, unpacked into coco/val2017. `conclip "
        "fetch sugarcrepe` downloads all.",
    ),
    BadInput(
        "evaluate",
        "annotations cut short",
        "",
        cut(FOILS, 40),
        "data/sugarcrepe/swap_obj.json is damaged (…). The seven annotation files: folder data of "
        "https://github.com/RAIVNLab/sugar-crepe, into sugarcrepe. The images: "
        "http://images.cocodataset.org/zips/val2017.zip, unpacked into coco/val2017. `conclip "
        "fetch sugarcrepe` downloads all.",
    ),
    BadInput(
        "evaluate",
        "annotations without rows",
        "",
        content(FOILS, "{}"),
        "data/sugarcrepe/swap_obj.json holds no rows. The seven annotation files: folder data of "
        "https://github.com/RAIVNLab/sugar-crepe, into sugarcrepe. The images: "
        "http://images.cocodataset.org/zips/val2017.zip, unpacked into coco/val2017. `conclip "
        "fetch sugarcrepe` downloads all.",
    ),
    BadInput(
        "evaluate",
        "annotations that are not UTF-8",
        "",
        content(FOILS, b"\xff\xfe{}"),
        "data/sugarcrepe/swap_obj.json is damaged (…). The seven annotation files: folder data of "
        "https://github.com/RAIVNLab/sugar-crepe, into sugarcrepe. The images: "
        "http://images.cocodataset.org/zips/val2017.zip, unpacked into coco/val2017. `conclip "
        "fetch sugarcrepe` downloads all.",
    ),
    BadInput(
        "evaluate",
        "100,000 brackets",
        "",
        content(FOILS, DEEP),
        "data/sugarcrepe/swap_obj.json is damaged (…). The seven annotation files: folder data of "
        "https://github.com/RAIVNLab/sugar-crepe, into sugarcrepe. The images: "
        "http://images.cocodataset.org/zips/val2017.zip, unpacked into coco/val2017. `conclip "
        "fetch sugarcrepe` downloads all.",
    ),
    BadInput(
        "evaluate",
        "a caption that is a number",
        "",
        changed_json(FOILS, "2", caption=3),
        "data/sugarcrepe/swap_obj.json, row 2: 'caption' is 3; correct it or download the file again.",
    ),
    BadInput(
        "evaluate",
        "half of a character (a lone surrogate)",
        "",
        changed_json(FOILS, "2", caption="a \ud800"),
        "data/sugarcrepe/swap_obj.json, row 2: 'caption' is 'a \\ud800'; correct it or download the file again.",
    ),
    BadInput(
        "evaluate",
        "an image that does not exist",
        "",
        removed(PHOTO),
        "SugarCrepe, item add_att/0: there is no image data/coco/val2017/000000085329.jpg. The seven annotation "
        "files: folder data of https://github.com/RAIVNLab/sugar-crepe, into sugarcrepe. The images: "
        "http://images.cocodataset.org/zips/val2017.zip, unpacked into coco/val2017. `conclip "
        "fetch sugarcrepe` downloads all. To skip such items, add "
        "--allow_missing_images.",
    ),
    BadInput(
        "evaluate",
        "an image cut short",
        "",
        cut(PHOTO, 300),
        "SugarCrepe: image data/coco/val2017/000000085329.jpg cannot be read: not an image that Pillow can read.",
    ),
    BadInput(
        "evaluate",
        "a path with .. to a file that is no image",
        "",
        changed_json(FOILS, "2", filename="../../../README.md"),
        "SugarCrepe: image data/coco/val2017/../../../README.md cannot be read: not an image that Pillow can read.",
    ),
    BadInput(
        "evaluate",
        "a folder without classes",
        "--benchmarks classes:empty",
        folder_named("empty"),
        "empty holds neither class folders nor Parquet files. Put the images there as class folders with images or "
        "as Parquet files with a ClassLabel.",
    ),
    BadInput(
        "evaluate",
        "a row that is no JSON",
        "--benchmarks two_by_two:mine",
        content("mine/examples.jsonl", '{"id": 0}\n{'),
        "mine/examples.jsonl, row 1 is damaged (…). mine must hold examples.jsonl and the folder images, as "
        "Winoground does.",
    ),
    BadInput(
        "evaluate",
        "a row without its fields",
        "--benchmarks two_by_two:mine",
        content("mine/examples.jsonl", '{"id": 0}\n'),
        "mine/examples.jsonl, row 0: 'image_0' is None; correct it or download the file again.",
    ),
    BadInput(
        "evaluate",
        "a pair without its second caption",
        "--benchmarks pairs:mine.jsonl",
        content("mine.jsonl", '{"image": "images/0.png", "caption": "a dog"}\n'),
        "mine.jsonl, row 0: 'negative_caption' is None; correct it or download the file again.",
    ),
    BadInput(
        "evaluate",
        "an answer that is no caption's",
        "--benchmarks choice:mine.jsonl",
        content("mine.jsonl", '{"image": "images/0.png", "captions": ["a dog", "no dog"], "answer": 2}\n'),
        "mine.jsonl, row 0: 'answer' is 2, but it has to be the index of the right one of two or more captions, from "
        "0; there are 2. Correct it.",
    ),
    BadInput(
        "evaluate",
        "CREPE without a list of negatives",
        "--benchmarks crepe-negate",
        content(
            f"{CREPE}/negate/prod_vg_hard_negs_negate_complexity_4.csv", f"{CREPE_COLUMNS}\n1,0,0,9,9,a dog,no dog\n"
        ),
        f"{CREPE}/negate/prod_vg_hard_negs_negate_complexity_4.csv, row 0: there is no list of captions; correct it "
        "or download the file again.",
    ),
    BadInput(
        "evaluate",
        "SVO-Probes with a date for a yes or no",
        "--benchmarks svo-probes",
        content(
            "data/svo_probes/svo_probes.csv",
            "sentence,pos_image_id,neg_image_id,subj_neg,verb_neg,obj_neg\na dog,1,2,True,False,2021-06-16\n",
        ),
        "data/svo_probes/svo_probes.csv, row 0: 'obj_neg' is '2021-06-16', not True or False; correct it or download "
        "the file again.",
    ),
    BadInput(
        "evaluate",
        "VL-CheckList with a row that is an object",
        "--benchmarks vl-checklist",
        content(f"data/vl_checklist/data/{CHECKLIST}.json", '[{"POS": ["a dog"], "NEG": ["a cat"]}]'),
        f"data/vl_checklist/data/{CHECKLIST}.json, row 0 is not an image with its texts; correct it or download the "
        "file again.",
    ),
    BadInput(
        "evaluate",
        "What'sUp with two captions in place of four",
        "--benchmarks whatsup-a",
        content(
            "data/whatsup/controlled_images_dataset.json",
            '[{"image_path": "data/mug_on_table.jpeg", "caption_options": ["a mug on a table", "a mug under it"]}]',
        ),
        "data/whatsup/controlled_images_dataset.json, row 0: 'mug_on_table.jpeg' has 2 captions; an image named "
        "<object>_<place>_<object> with four captions was expected; correct it or download the file again.",
    ),
    BadInput(
        "evaluate",
        "SPEC with a label past the options",
        "--benchmarks spec-image-to-text",
        content(
            "data/spec/count/image2text.json", '[{"query": "1.jpg", "keys": ["one dog", "two dogs"], "label": 2}]'
        ),
        "data/spec/count/image2text.json, row 0: 'label' is 2, which is none of the 2 in 'keys'; correct it or "
        "download the file again.",
    ),
    BadInput(
        "evaluate",
        "EqBen with an array of pickled objects",
        "--benchmarks eqben",
        all_of(
            content("data/eqben/eqben_subset_10percent_final.json", json.dumps([EQBEN])),
            content("data/eqben/image_subset/0.npy", b""),
            objects("data/eqben/image_subset/0.npy"),
        ),
        "data/eqben/image_subset/0.npy is not an array of height × width × 3 bytes (…); download it again. Download "
        "eqben_subset_10percent_final.json and subset_image.tar.gz from "
        "https://storage.googleapis.com/eqben-data/eqben_subset/ (linked from https://github.com/Wangt-CN/EqBen) into "
        "eqben/; its folder image_subset with the images goes there, too.",
    ),
    BadInput(
        "evaluate",
        "ColorSwap without an image",
        "--benchmarks colorswap",
        content("data/colorswap/test.json", '[{"id": 0, "caption_1": "a", "caption_2": "b", "image_1": "a.png"}]'),
        "data/colorswap/test.json, row 0: 'image_2' is None; correct it or download the file again.",
    ),
    BadInput(
        "evaluate",
        "BiVLC without its columns",
        "--benchmarks bivlc",
        table("data/bivlc/test.parquet", caption=["a dog"]),
        "data/bivlc cannot be read (…). The Hub has it, https://huggingface.co/datasets/imirandam/BiVLC; or put its "
        "Parquet files into bivlc.",
    ),
    BadInput(
        "evaluate",
        "Cola with one image",
        "--benchmarks cola",
        content("data/cola/COLA_multiobjects_matching_benchmark.json", '[["https://images.org/1.jpg", "a dog"]]'),
        "data/cola/COLA_multiobjects_matching_benchmark.json, row 0 is not two images with a caption each; correct it "
        "or download the file again.",
    ),
    BadInput(
        "evaluate",
        "a model card that does not exist",
        "--model_card nowhere.md",
        None,
        "--model_card nowhere.md: there is no such file.",
    ),
    BadInput(
        "evaluate",
        "a model card with damaged metadata",
        "--model_card README.md",
        content("README.md", "---\nlicense: [mit\n---\n"),
        "--model_card README.md: The model card's metadata, between its first two lines of ---, is damaged: "
        "expected ',' or ']'… (line 1)",
    ),
    BadInput(
        "reproduce",
        "a table that does not exist",
        "--tables table3",
        None,
        "argument --tables: invalid choice: 'table3' (choose from …) (--help lists the options)",
    ),
    BadInput(
        "reproduce",
        "files that do not exist",
        "--data_dir nowhere --clip_b32 nowhere",
        None,
        "… files, datasets or models are missing: get them as the lines above say.",
    ),
    BadInput(
        "card",
        "results that do not exist",
        "",
        None,
        "benchmarks.json: No such file or directory. Write it with `conclip evaluate`.",
    ),
    BadInput(
        "card",
        "results cut short",
        "",
        content("benchmarks.json", "{"),
        "benchmarks.json holds no results of benchmarks. Write it with `conclip evaluate`.",
    ),
    BadInput(
        "card",
        "another JSON file",
        "",
        content("benchmarks.json", '{"rows": []}'),
        "benchmarks.json holds no results of benchmarks. Write it with `conclip evaluate`.",
    ),
]
