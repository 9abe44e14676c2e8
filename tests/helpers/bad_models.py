"""Bad inputs of the section "Models" of docs/bad_inputs.md: helpers, not a test."""

import json

import torch
from bad_inputs import (
    LANGUAGE_MODEL,
    SERVER,
    BadInput,
    adapters,
    all_of,
    changed_json,
    chat_model,
    content,
    cut,
    folder_named,
    removed,
    saved,
    zipped,
)

MODELS = [
    BadInput(
        "push",
        "no weights in safetensors format",
        "clip me/x",
        removed("clip/model.safetensors"),
        "clip is not complete: model.safetensors is missing: save the model again.",
    ),
    BadInput(
        "push",
        "code that the config names and that is not there",
        "clip me/x",
        removed("clip/modeling_conclip.py"),
        "clip is not complete: modeling_conclip.py is missing: save the model again.",
    ),
    BadInput(
        "push",
        "weights cut short",
        "clip me/x",
        cut("clip/model.safetensors", 1_000),
        "clip/model.safetensors is cut short or damaged (…); download it again.",
    ),
    BadInput(
        "push",
        "a card that is not UTF-8",
        "clip me/x",
        content("clip/README.md", b"\xff"),
        "clip/README.md is not UTF-8 text: write it again or move it out of the folder.",
    ),
    BadInput(
        "push",
        "a metric that cannot be a Space",
        "mine me/mine",
        content("mine/mine.py", "import evaluate"),
        "mine is not complete: a Space needs README.md, app.py, requirements.txt; follow evaluate/pair_accuracy.",
    ),
    BadInput(
        "train",
        "a folder that does not exist",
        "--model_name_or_path ./nowhere",
        None,
        "--model_name_or_path ./nowhere: there is no such folder.",
    ),
    BadInput(
        "evaluate",
        "a file in place of a folder",
        "--model_name_or_path weights.pt",
        None,
        "--model_name_or_path weights.pt is a file: convert it to a folder first, with conclip convert "
        "--model_name_or_path weights.pt --output_dir FOLDER.",
    ),
    BadInput(
        "embed",
        "an empty folder",
        "--model_name_or_path empty",
        folder_named("empty"),
        "--model_name_or_path empty: no model there (config.json missing).",
    ),
    BadInput(
        "train",
        "a name on the Hub, without a network and not in the cache",
        "--model_name_or_path someone/clip",
        None,
        "--model_name_or_path someone/clip cannot be loaded: We couldn't connect to …",
    ),
    BadInput(
        "embed",
        "a folder that does not exist beside others, which could be a name on the Hub",
        "--model_name_or_path images/clip",
        None,
        "--model_name_or_path images/clip cannot be loaded: there is no folder images/clip, and on the Hub: "
        "We couldn't connect to …",
    ),
    BadInput(
        "train",
        "config.json cut short",
        "",
        cut("clip/config.json", 40),
        "--model_name_or_path clip cannot be loaded: clip/config.json is not valid JSON; download it again.",
    ),
    BadInput(
        "embed",
        "config.json with a list",
        "",
        content("clip/config.json", "[]"),
        "--model_name_or_path clip cannot be loaded: clip/config.json does not hold a JSON object; download it again.",
    ),
    BadInput(
        "evaluate",
        "config.json that is not UTF-8",
        "",
        content("clip/config.json", b"\xff\xfe{"),
        "--model_name_or_path clip cannot be loaded: clip/config.json is not valid JSON; download it again.",
    ),
    BadInput(
        "train",
        "config.json with text in place of a number",
        "",
        changed_json("clip/config.json", projection_dim="many"),
        "--model_name_or_path clip cannot be loaded: Validation error for field 'projection_dim': …",
    ),
    BadInput(
        "train",
        "config.json with a negative size",
        "",
        changed_json("clip/config.json", projection_dim=-1),
        "--model_name_or_path clip cannot be loaded: Trying to create tensor with negative dimension -1…",
    ),
    BadInput(
        "embed",
        "config.json of another kind of model",
        "",
        changed_json("clip/config.json", model_type="bert"),
        "--model_name_or_path clip: a bert model; supported are clip, align, blip, chinese_clip, flava, siglip, "
        "siglip2.",
    ),
    BadInput(
        "train",
        "model.safetensors cut short",
        "",
        cut("clip/model.safetensors", 5_000),
        "--model_name_or_path clip cannot be loaded: clip/model.safetensors is cut short or damaged (…); download "
        "it again.",
    ),
    BadInput(
        "evaluate",
        "model.safetensors empty",
        "",
        content("clip/model.safetensors", b""),
        "--model_name_or_path clip cannot be loaded: clip/model.safetensors is cut short or damaged (…); download "
        "it again.",
    ),
    BadInput(
        "embed",
        "a folder named model.safetensors",
        "",
        folder_named("clip/model.safetensors"),
        "--model_name_or_path clip cannot be loaded: Error no file named …",
    ),
    BadInput(
        "train",
        "weights of another size",
        "",
        changed_json("clip/config.json", projection_dim=24),
        "--model_name_or_path clip: its weights do not fill the model of its config.json: text_projection.weight "
        "and 1 more are missing or of another shape.",
    ),
    BadInput(
        "evaluate",
        "pytorch_model.bin cut short",
        "",
        all_of(removed("clip/model.safetensors"), content("clip/pytorch_model.bin", b"PK\x03\x04")),
        "--model_name_or_path clip cannot be loaded: clip/pytorch_model.bin is cut short or damaged; download it "
        "again.",
    ),
    BadInput(
        "embed",
        "an index of weights that names a file outside the folder",
        "",
        all_of(
            removed("clip/model.safetensors"),
            content(
                "clip/model.safetensors.index.json",
                json.dumps({"metadata": {}, "weight_map": {"logit_scale": "../../secret"}}),
            ),
        ),
        "--model_name_or_path clip cannot be loaded: clip/../../secret: No such file or directory",
    ),
    BadInput(
        "train",
        "tokenizer.json cut short",
        "",
        cut("clip/tokenizer.json", 40),
        "--model_name_or_path clip cannot be loaded: clip/tokenizer.json is not valid JSON; download it again.",
    ),
    BadInput(
        "evaluate",
        "tokenizer.json with a list",
        "",
        content("clip/tokenizer.json", "[]"),
        "--model_name_or_path clip cannot be loaded: clip/tokenizer.json does not hold a JSON object; download it "
        "again.",
    ),
    BadInput(
        "embed",
        "tokenizer_config.json with a list",
        "",
        content("clip/tokenizer_config.json", "[]"),
        "--model_name_or_path clip cannot be loaded: clip/tokenizer_config.json does not hold a JSON object; "
        "download it again.",
    ),
    BadInput(
        "train",
        "processor_config.json with a list",
        "",
        content("clip/processor_config.json", "[]"),
        "--model_name_or_path clip cannot be loaded: clip/processor_config.json does not hold a JSON object; "
        "download it again.",
    ),
    BadInput(
        "evaluate",
        "no files of a processor",
        "",
        removed("clip/processor_config.json", "clip/tokenizer.json", "clip/tokenizer_config.json"),
        "--model_name_or_path clip: needs the files of a CLIPProcessor (preprocessor_config.json and the "
        "tokenizer's) beside the weights.",
    ),
    BadInput(
        "train",
        "a processor of a class that does not exist",
        "",
        changed_json("clip/processor_config.json", "image_processor", image_processor_type="Missing"),
        "--model_name_or_path clip: needs the files of a CLIPProcessor (preprocessor_config.json and the "
        "tokenizer's) beside the weights.",
    ),
    BadInput(
        "train",
        "a processor of other images",
        "",
        changed_json("clip/processor_config.json", "image_processor", crop_size={"height": 48, "width": 48}),
        "--model_name_or_path clip: its processor makes images of 48 x 48 pixels, but its model takes 32 x 32: "
        "correct `crop_size` in preprocessor_config.json or processor_config.json.",
    ),
    BadInput(
        "evaluate",
        "adapters without weights",
        "--model_name_or_path adapters",
        adapters(),
        "--model_name_or_path adapters: the adapters cannot be loaded: adapters holds no "
        "adapter_model.safetensors; copy it there.",
    ),
    BadInput(
        "evaluate",
        "adapters of a model that does not exist",
        "--model_name_or_path adapters",
        adapters(base_model_name_or_path="./nowhere"),
        "--model_name_or_path adapters: its base model ./nowhere: there is no such folder.",
    ),
    BadInput(
        "negate",
        "a tokenizer that does not exist",
        "--tokenizer_name ./nowhere",
        None,
        "--tokenizer_name ./nowhere: there is no such folder.",
    ),
    BadInput(
        "negate",
        "a damaged tokenizer",
        "--tokenizer_name clip",
        content("clip/tokenizer.json", "[]"),
        "--tokenizer_name clip: clip/tokenizer.json does not hold a JSON object; download it again.",
    ),
    BadInput(
        "negate",
        "a language model that is not named",
        "--generator language_model",
        None,
        "--generator language_model needs --model_name_or_path: the name of a model.",
    ),
    BadInput(
        "negate",
        "a language model that is a CLIP",
        f"{LANGUAGE_MODEL} clip",
        None,
        "The language model clip cannot be loaded: it is a clip model, which writes no text.",
    ),
    BadInput(
        "negate",
        "a language model without some of its weights",
        f"{LANGUAGE_MODEL} chat",
        chat_model(left_out="lm_head.weight"),
        "The language model chat lacks the weight lm_head.weight.",
    ),
    BadInput(
        "negate",
        "a language model without a chat template",
        f"{LANGUAGE_MODEL} chat",
        chat_model(template=None),
        "chat has no chat template: it has to be a model tuned on instructions.",
    ),
    BadInput(
        "negate",
        "a server that does not answer",
        f"{SERVER} --base_url http://127.0.0.1:9/v1",
        None,
        "no negation could be made of any caption of the split 'train' (most often: no answer from the model); "
        "the column caption has to hold English sentences that name things.",
    ),
    BadInput(
        "negate",
        "a server's address that is none",
        f"{SERVER} --base_url file:///etc/passwd",
        None,
        "base_url has to be an address such as http://localhost:8000, without user, password or query.",
    ),
    BadInput(
        "negate",
        "an environment variable without a key",
        f"{SERVER} --base_url http://127.0.0.1:9/v1 --api_key_env NO_SUCH_KEY",
        None,
        "The environment variable NO_SUCH_KEY is empty; it has to hold the API key.",
    ),
    BadInput(
        "negate",
        "prompts that do not exist",
        f"{SERVER} --base_url http://127.0.0.1:9/v1 --prompts_dir nowhere",
        None,
        "nowhere/negated-pair.json cannot be read: No such file or directory.",
    ),
    BadInput(
        "negate",
        "a prompt that is a list",
        f"{SERVER} --base_url http://127.0.0.1:9/v1 --prompts_dir prompts",
        content("prompts/negated-pair.json", "[]"),
        "prompts/negated-pair.json is no prompt: …",
    ),
    BadInput(
        "negate",
        "a folder as file of answers",
        f"{SERVER} --base_url http://127.0.0.1:9/v1 --answers_file images",
        None,
        "The file of answers, images, is a folder: name a file.",
    ),
    BadInput(
        "export",
        "a file in place of a folder",
        "--model_name_or_path weights.pt",
        None,
        "--model_name_or_path weights.pt is a file: convert it to a folder first, with conclip convert "
        "--model_name_or_path weights.pt --output_dir FOLDER.",
    ),
    BadInput(
        "convert",
        "a checkpoint that does not exist",
        "--model_name_or_path nowhere.pt",
        None,
        "--model_name_or_path nowhere.pt: there is no such file; for a folder or Hub id, add --to openai or --to "
        "open_clip.",
    ),
    BadInput(
        "convert",
        "an empty checkpoint",
        "",
        content("weights.pt", b""),
        "weights.pt is cut short or not a checkpoint of PyTorch or safetensors; download it again.",
    ),
    BadInput(
        "convert",
        "a checkpoint cut short",
        "",
        cut("weights.pt", 3_000),
        "weights.pt is cut short or not a checkpoint of PyTorch or safetensors; download it again.",
    ),
    BadInput(
        "convert",
        "text in place of a checkpoint",
        "",
        content("weights.pt", "weights"),
        "weights.pt holds objects other than weights, which is not loaded because that could run code: save the "
        "weights alone with torch.save(model.state_dict(), FILE).",
    ),
    BadInput(
        "convert",
        "a zip archive of other files",
        "",
        zipped("weights.pt", {"a.txt": b"a"}),
        "weights.pt is cut short or not a checkpoint of PyTorch or safetensors; download it again.",
    ),
    BadInput(
        "convert",
        "a list in place of weights",
        "",
        saved("weights.pt", [1]),
        "weights.pt holds no weights: expected a state dict, alone or as `state_dict` or `model`.",
    ),
    BadInput(
        "convert",
        "numbers in place of weights",
        "",
        saved("weights.pt", {"a": 3}),
        "weights.pt holds 'a' among its weights, which is no tensor.",
    ),
    BadInput(
        "convert",
        "weights of another model",
        "",
        saved("weights.pt", {"a": torch.zeros(3)}),
        "weights.pt is no CLIP with a vision transformer in OpenAI's layout: unknown weight a.",
    ),
]
