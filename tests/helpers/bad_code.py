"""Files that try to run code: helpers, not a test."""

import json

from bad_inputs import (
    EPS,
    LANGUAGE_MODEL,
    REPORT,
    RUNS,
    SERVER,
    BadInput,
    adapters,
    all_of,
    begun_negations,
    changed_json,
    changed_row,
    chat_model,
    checkpoint,
    content,
    ghostscript,
    npy_header,
    objects,
    openai_weights,
    own_code,
    pickled,
    prompts,
    removed,
    rows,
    tarred,
    torchscript,
    write_lines,
    zipped,
)

YAML_CODE = "!!python/object/apply:os.open [ran, 64]"

CODE = [
    BadInput(
        "train",
        "pytorch_model.bin: a pickle",
        "",
        pickled("clip/pytorch_model.bin", in_place_of="clip/model.safetensors"),
        "--model_name_or_path clip cannot be loaded: clip/pytorch_model.bin holds more than plain data, which "
        "could run code, and was not loaded; ask for weights in .safetensors format.",
    ),
    BadInput(
        "evaluate",
        "pytorch_model.bin: a pickle as torch saves it",
        "",
        pickled("clip/pytorch_model.bin", "torch", "clip/model.safetensors"),
        "--model_name_or_path clip cannot be loaded: clip/pytorch_model.bin holds more than plain data, which "
        "could run code, and was not loaded; ask for weights in .safetensors format.",
    ),
    BadInput(
        "embed",
        "a shard of weights: a pickle",
        "",
        all_of(
            pickled("clip/part.bin", "torch", "clip/model.safetensors"),
            content(
                "clip/pytorch_model.bin.index.json",
                json.dumps({"metadata": {}, "weight_map": {"logit_scale": "part.bin"}}),
            ),
        ),
        "--model_name_or_path clip cannot be loaded: clip/part.bin holds more than plain data, which could run "
        "code, and was not loaded; ask for weights in .safetensors format.",
    ),
    BadInput(
        "embed",
        "model.safetensors: a pickle",
        "",
        pickled("clip/model.safetensors", "torch"),
        "--model_name_or_path clip cannot be loaded: clip/model.safetensors is cut short or damaged (…); download "
        "it again.",
    ),
    BadInput(
        "train",
        "code beside the model, which its files name (`auto_map`)",
        "",
        own_code("clip"),
        "--model_name_or_path clip: a sent model, not a CLIP: other families can be trained only with --loss "
        "negation_distillation, from texts alone.",
    ),
    BadInput(
        "evaluate",
        "code beside the model, which only its processor names",
        "",
        own_code("clip", "processor_config.json", "tokenizer_config.json"),
        "--model_name_or_path clip: needs the files of a CLIPProcessor (preprocessor_config.json and the "
        "tokenizer's) beside the weights.",
    ),
    BadInput(
        "embed",
        "code of another repository for the attention",
        "",
        changed_json("clip/config.json", attn_implementation="someone/kernel"),
        "--model_name_or_path clip cannot be loaded: attn_implementation in config.json names code on the Hub, "
        "someone/kernel, which is not run; remove this line.",
    ),
    BadInput(
        "evaluate",
        "adapter_model.bin: a pickle",
        "--model_name_or_path adapters",
        all_of(adapters(), pickled("adapters/adapter_model.bin", "torch")),
        "--model_name_or_path adapters: the adapters cannot be loaded: adapters/adapter_model.bin holds more than "
        "plain data, which could run code, and was not loaded; ask for weights in .safetensors format.",
    ),
    BadInput(
        "evaluate",
        "adapter_config.json that names a module",
        "--model_name_or_path adapters",
        all_of(
            adapters(
                megatron_config={"a": 1},
                megatron_core="sent",
                auto_mapping={"base_model_class": "Sent", "parent_library": "sent"},
            ),
            own_code("adapters"),
            own_code("."),
        ),
        "--model_name_or_path adapters: the adapters cannot be loaded: adapters holds no "
        "adapter_model.safetensors; copy it there.",
    ),
    BadInput(
        "negate",
        "code beside a tokenizer",
        "--tokenizer_name clip",
        own_code("clip"),
        "--tokenizer_name clip: it needs code of its own, which is not run.",
    ),
    BadInput(
        "negate",
        "code beside a language model",
        f"{LANGUAGE_MODEL} chat",
        all_of(chat_model(), own_code("chat")),
        "The language model chat cannot be loaded: it needs code of its own, which is not run.",
    ),
    BadInput(
        "negate",
        "a language model with generation code of its own (`custom_generate`)",
        f"{LANGUAGE_MODEL} chat --max_new_tokens 1",
        all_of(chat_model(), content("chat/custom_generate/generate.py", RUNS)),
        "no negation could be made of any caption of the split 'train' (most often: answer not in the form asked "
        "for); the column caption has to hold English sentences that name things.",
    ),
    BadInput(
        "negate",
        "weights of a language model: a pickle",
        f"{LANGUAGE_MODEL} chat",
        all_of(chat_model(), pickled("chat/pytorch_model.bin", "torch", "chat/model.safetensors")),
        "The language model chat cannot be loaded: chat/pytorch_model.bin holds more than plain data, which could "
        "run code, and was not loaded; ask for weights in .safetensors format.",
    ),
    BadInput(
        "negate",
        "a chat template that reaches for Python's objects",
        f"{LANGUAGE_MODEL} chat",
        chat_model(template="{{ ''.__class__.__mro__[1].__subclasses__() }}"),
        "The chat template of chat cannot be used: …",
    ),
    BadInput(
        "negate",
        "a prompt that reaches for Python's objects",
        f"{SERVER} --base_url http://127.0.0.1:9/v1 --prompts_dir prompts",
        prompts("{caption.__class__.__init__.__globals__}"),
        "prompts/negated-pair.json is no prompt: …",
    ),
    BadInput(
        "train",
        "a config file (YAML)",
        "--config mine.yaml",
        content("mine.yaml", f"seed: {YAML_CODE}\n"),
        "--config mine.yaml cannot be read: could not determine a constructor for the tag … (line 1).",
    ),
    BadInput(
        "train",
        "the metadata of a dataset's README.md (YAML)",
        "--dataset_name mine",
        all_of(
            content("mine/README.md", f"---\nconfigs: {YAML_CODE}\n---\n"), write_lines("mine/train.jsonl", rows())
        ),
        "--dataset_name mine, split 'train': the metadata of mine/README.md is damaged: could not determine a "
        "constructor for the tag … (line 1)",
    ),
    BadInput(
        "card",
        "the metadata of a model card (YAML)",
        "",
        all_of(content("README.md", f"---\nlicense: {YAML_CODE}\n---\n"), content("benchmarks.json", REPORT)),
        "--model_card README.md: The model card's metadata, between its first two lines of ---, is damaged: could "
        "not determine a constructor for the tag … (line 1)",
    ),
    BadInput(
        "train",
        "a dataset script",
        "--dataset_name mine",
        content("mine/mine.py", RUNS),
        "--dataset_name mine, split 'train': …",
    ),
    BadInput(
        "train",
        "JSON Lines: a pickle",
        "--dataset_name mine.jsonl",
        pickled("mine.jsonl"),
        "--dataset_name mine.jsonl, line 1: a zero byte, as in UTF-16 without a byte order mark; convert it: iconv "
        "-f utf-16le -t utf-8 mine.jsonl > mine-utf8.jsonl",
    ),
    BadInput(
        "negate",
        "CSV: a pickle",
        "--dataset_name mine.csv",
        pickled("mine.csv"),
        "--dataset_name mine.csv, line 1: a zero byte, as in UTF-16 without a byte order mark; convert it: iconv "
        "-f utf-16le -t utf-8 mine.csv > mine-utf8.csv",
    ),
    BadInput(
        "negate",
        "a text file: a pickle",
        "--dataset_name mine.txt",
        pickled("mine.txt"),
        "--dataset_name mine.txt, line 1: a zero byte, as in UTF-16 without a byte order mark; convert it: iconv "
        "-f utf-16le -t utf-8 mine.txt > mine-utf8.txt",
    ),
    BadInput(
        "train",
        "Parquet: a pickle",
        "--dataset_name mine.parquet",
        pickled("mine.parquet"),
        "--dataset_name mine.parquet, split 'train': Parquet magic bytes not found…",
    ),
    BadInput(
        "train",
        "a folder of pickles",
        "--dataset_name mine",
        pickled("mine/train.pkl"),
        "--dataset_name mine, split 'train': No (supported) data files found…",
    ),
    BadInput(
        "train",
        "a WebDataset with pickles",
        "--dataset_name mine",
        tarred("mine/train-0.tar", "pkl", "pyd", "pth"),
        "--dataset_name mine, split 'train': a file holds more than plain data, which could run code, and was not "
        "loaded",
    ),
    BadInput(
        "train",
        "a zip archive that writes outside its folder",
        "--dataset_name mine",
        zipped("mine/train.zip", {"../../ran": b"", "../ran": b""}),
        "--dataset_name mine, split 'train': No (supported) data files found…",
    ),
    BadInput(
        "train",
        "a dataset that `save_to_disk` wrote, with pickles in it",
        "--dataset_name mine",
        all_of(
            content("mine/state.json", "{}"),
            content("mine/dataset_info.json", "{}"),
            pickled("mine/data-00000-of-00001.arrow"),
        ),
        "--dataset_name mine, split 'train': You are trying to load a dataset that was saved using `save_to_disk`…",
    ),
    BadInput(
        "train",
        "an EPS named .jpg, which Ghostscript would run",
        "",
        all_of(ghostscript, content("images/5.jpg", EPS), changed_row(image="images/5.jpg")),
        "Split 'train', row 5: cannot read image: ./images/5.jpg: an EPS file, which is a program and is not run; "
        "save it as PNG or JPEG.",
    ),
    BadInput(
        "negate",
        "an EPS named .jpg, which Ghostscript would run",
        "--image_column image",
        all_of(ghostscript, content("images/5.jpg", EPS), changed_row(image="images/5.jpg")),
        "rows.jsonl, split 'train', row 5: cannot read image: ./images/5.jpg: an EPS file, which is a program and "
        "is not run; save it as PNG or JPEG.",
    ),
    BadInput(
        "evaluate",
        "an EPS named .jpg, which Ghostscript would run",
        "",
        all_of(ghostscript, content("data/coco/val2017/000000085329.jpg", EPS)),
        "SugarCrepe: image data/coco/val2017/000000085329.jpg cannot be read: an EPS file, which is a program and "
        "is not run; save it as PNG or JPEG.",
    ),
    BadInput(
        "ccneg",
        "an EPS named .jpg, which Ghostscript would run",
        "",
        all_of(ghostscript, content("CC-Neg/ccneg_images/cc3m_subset_images_extracted_final/000002.jpg", EPS)),
        "Row 2: the image CC-Neg/ccneg_images/cc3m_subset_images_extracted_final/000002.jpg is an EPS file, which "
        "is a program and is not run; replace it, or skip such rows with skip_broken_images.",
    ),
    BadInput(
        "embed",
        "an image: a pickle",
        "",
        pickled("images/5.png"),
        "Split 'images', row 5: cannot read image: images/5.png: not an image that Pillow can read.",
    ),
    BadInput(
        "train",
        "embeddings (.npy): an array of objects",
        "--image_embeds_column at --image_embeds_file mine.npy",
        objects("mine.npy"),
        "mine.npy cannot be read as .npy or .npz (a file holds more than plain data, which could run code, and was "
        "not loaded): write it again.",
    ),
    BadInput(
        "train",
        "embeddings (.npy): a header with code",
        "--image_embeds_column at --image_embeds_file mine.npy",
        content("mine.npy", npy_header("__import__('os').open('ran', 64)")),
        "mine.npy cannot be read as .npy or .npz (…): write it again.",
    ),
    BadInput(
        "distractors",
        "embeddings (.npz): an array of objects",
        "",
        objects("queries.npz", "embeds"),
        "queries.npz cannot be read as .npy or .npz (a file holds more than plain data, which could run code, and "
        "was not loaded): write it again.",
    ),
    BadInput(
        "distractors",
        "embeddings (.npz): names that are objects",
        "",
        objects("queries.npz", "names"),
        "queries.npz cannot be read as .npy or .npz (a file holds more than plain data, which could run code, and "
        "was not loaded): write it again.",
    ),
    BadInput(
        "distractors",
        "embeddings: a pickle",
        "",
        pickled("queries.npz"),
        "queries.npz is neither .npy nor .npz: write it with numpy.save or numpy.savez.",
    ),
    BadInput(
        "distractors",
        "embeddings: a pickle as torch saves it",
        "",
        pickled("queries.npz", "torch"),
        "queries.npz holds more than arrays: write it with numpy.savez.",
    ),
    BadInput(
        "distractors",
        "texts (JSON): a pickle",
        "--negated_phrases phrases.json --pool_captions texts.json",
        pickled("texts.json"),
        "texts.json cannot be read as JSON (…): write it again.",
    ),
    BadInput(
        "negate",
        "a table of distractors (Parquet): a pickle",
        "--image_column image --distractor_mapping mine.parquet --distractor_dir images",
        pickled("mine.parquet"),
        "--distractor_mapping mine.parquet cannot be read: …",
    ),
    BadInput(
        "evaluate",
        "annotations (JSON): a pickle",
        "",
        pickled("data/sugarcrepe/swap_obj.json"),
        "data/sugarcrepe/swap_obj.json is damaged (…). The seven annotation files: folder data of "
        "https://github.com/RAIVNLab/sugar-crepe, into sugarcrepe. The images: "
        "http://images.cocodataset.org/zips/val2017.zip, unpacked into coco/val2017. `conclip "
        "fetch sugarcrepe` downloads all.",
    ),
    BadInput(
        "evaluate",
        "images in class folders (Parquet): a pickle",
        "--benchmarks classes:mine",
        pickled("mine/test.parquet"),
        "mine/test.parquet is damaged (…); download it again.",
    ),
    BadInput(
        "card",
        "results (JSON): a pickle",
        "",
        pickled("benchmarks.json"),
        "benchmarks.json holds no results of benchmarks. Write it with `conclip evaluate`.",
    ),
    BadInput(
        "shortcut",
        "negations (Parquet): a pickle",
        "",
        pickled("negations/data/train.parquet"),
        "negations/data cannot be read (…): repeat `conclip negate`.",
    ),
    BadInput(
        "convert",
        "a checkpoint: a pickle",
        "",
        pickled("weights.pt"),
        "weights.pt holds objects other than weights, which is not loaded because that could run code: save the "
        "weights alone with torch.save(model.state_dict(), FILE).",
    ),
    BadInput(
        "convert",
        "a checkpoint: a pickle as torch saves it",
        "",
        pickled("weights.pt", "torch"),
        "weights.pt holds _io.FileIO, an object other than weights, which is not loaded because that could run code: "
        "save the weights alone with torch.save(model.state_dict(), FILE).",
    ),
    BadInput(
        "convert",
        "a checkpoint: a pickle as old versions of torch saved it",
        "",
        pickled("weights.pt", "old torch"),
        "weights.pt holds _io.FileIO, an object other than weights, which is not loaded because that could run code: "
        "save the weights alone with torch.save(model.state_dict(), FILE).",
    ),
    BadInput(
        "convert",
        "a TorchScript archive with another pickle",
        "",
        torchscript("weights.pt"),
        "weights.pt holds _io.FileIO, an object other than weights, which is not loaded because that could run code: "
        "save the weights alone with torch.save(model.state_dict(), FILE).",
    ),
    BadInput(
        "convert",
        "open_clip_config.json: a pickle",
        "",
        all_of(openai_weights, pickled("open_clip_config.json")),
        "open_clip_config.json cannot be read as a config of open_clip: download it again.",
    ),
    BadInput(
        "negate",
        "a folder that somebody began: counts of nouns, a pickle",
        "--image_column image",
        all_of(begun_negations, pickled("out/.work/nouns.json")),
        "out/.work/nouns.json cannot be read as counts of nouns: delete it, and start again.",
    ),
    BadInput(
        "negate",
        "a folder that somebody began: parsed captions, a pickle",
        "--image_column image",
        all_of(begun_negations, removed("out/.work/nouns.json"), pickled("out/.work/train-00000-of-00001.parquet")),
        "a file in out/.work is damaged (…): delete this folder, and start again.",
    ),
    BadInput(
        "ccneg",
        "ccneg_preprocessed.pt: a pickle",
        "",
        pickled("CC-Neg/ccneg_preprocessed.pt", "torch"),
        "CC-Neg/ccneg_preprocessed.pt was refused: it is damaged or holds more than plain data, which could run "
        "code when loaded; download it again from CC-Neg's authors.",
    ),
    BadInput(
        "ccneg",
        "distractor_image_mapping.pt: a pickle",
        "",
        pickled("CC-Neg/distractor_image_mapping.pt"),
        "CC-Neg/distractor_image_mapping.pt was refused: it is damaged or holds more than plain data, which could "
        "run code when loaded; download it again from CC-Neg's authors.",
    ),
    BadInput(
        "ccneg",
        "COCO's captions (JSON): a pickle",
        "",
        pickled("coco/annotations/captions_train2017.json"),
        "coco/annotations/captions_train2017.json is not a COCO captions file or is cut short; download it again.",
    ),
    *(
        BadInput(
            "train",
            f"a checkpoint to resume from: {name}, a pickle",
            "--max_steps 2 --save_steps 1 --resume_from_checkpoint checkpoint",
            all_of(checkpoint, pickled(f"checkpoint/{name}", "torch")),
            f"checkpoint/{name} holds more than plain data, which could run code, and was not loaded: resume "
            "from another checkpoint.",
        )
        for name in ("optimizer.bin", "random_states_0.pkl")
    ),
]
