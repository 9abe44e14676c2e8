"""Bad inputs of the section "Benchmarks and results" of docs/bad_inputs.md: helpers, not a test."""

import json

from bad_inputs import (
    DEEP,
    BadInput,
    all_of,
    changed_json,
    content,
    cut,
    folder_named,
    objects,
    removed,
    table,
)

PHOTO = "data/coco/val2017/000000085329.jpg"
FOILS = "data/sugarcrepe/swap_obj.json"
CREPE = "data/crepe/prod_hard_negatives"
CREPE_COLUMNS = "image_id,x,y,width,height,caption,hard_negs"
CHECKLIST = "Object/Size/vg_size/vg_obj_large"
EQBEN = {"image0": "0.npy", "image1": "1.png", "caption0": "a dog", "caption1": "no dog"}

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
