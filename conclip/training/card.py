"""
The model card of a training run, made from what the run did.

model_card.md, the card of the default model, is the card of the default run:

    python -c "from conclip.training.card import copy_card; copy_card('outputs/conclip-scenes', 'model_card.md',
    'docs/scores.png')"
"""

import json
from pathlib import Path

from datasets import Dataset
from huggingface_hub import ModelCardData

from conclip.atomic_write import write_atomically
from conclip.data import text_lists
from conclip.model_cards import eval_result
from conclip.training.arguments import DISTILLATION, PLAIN_CAPTIONS, ConCLIPTrainingArguments
from conclip.training.pair_rows import NEGATED_LOSSES
from conclip.training.report import FIGURE_FILE, RESULTS_FILE, results_markdown

PAPERS = {
    "conclip": """@article{singh2024learn,
  title   = {Learn "No" to Say "Yes" Better: Improving Vision-Language Models via Negations},
  author  = {Singh, Jaisidh and Shrivastava, Ishaan and Vatsa, Mayank and Singh, Richa and Bharati, Aparna},
  journal = {arXiv preprint arXiv:2403.20312},
  year    = {2024}
}""",
    "negclip": """@inproceedings{yuksekgonul2023when,
  title     = {When and Why Vision-Language Models Behave like Bags-of-Words, and What to Do About It?},
  author    = {Yuksekgonul, Mert and Bianchi, Federico and Kalluri, Pratyusha and Jurafsky, Dan and Zou, James},
  booktitle = {International Conference on Learning Representations},
  year      = {2023}
}""",
    "clip": """@inproceedings{radford2021learning,
  title     = {Learning Transferable Visual Models From Natural Language Supervision},
  author    = {Radford, Alec and Kim, Jong Wook and Hallacy, Chris and Ramesh, Aditya and Goh, Gabriel and
    Agarwal, Sandhini and Sastry, Girish and Askell, Amanda and Mishkin, Pamela and Clark, Jack and Krueger, Gretchen
    and Sutskever, Ilya},
  booktitle = {International Conference on Machine Learning},
  year      = {2021}
}""",
}
LOSSES = {
    "conclip": "the loss of CoN-CLIP ([arXiv 2403.20312](https://arxiv.org/abs/2403.20312)), which uses negated "
    "captions and distractors (similar images) as extra negatives",
    "negclip": "the loss of NegCLIP ([arXiv 2210.01936](https://arxiv.org/abs/2210.01936)), which uses negated "
    "captions as extra negatives",
    "clip": "CLIP's own contrastive loss, without negated captions",
    DISTILLATION: "negation distillation: from texts alone, its text encoder learned to embed a text with negation as "
    "the base model embeds what the text wants, less what it denies",
}
PAPERS[DISTILLATION] = PAPERS["clip"]
CARD_FILE = "README.md"
NOT_EVALUATED = "Not evaluated."


def model_card(results: dict) -> str:
    """
    Return the text of README.md.

    Args:
        results: as in results.json; its entry "model" says what was trained, as `ConCLIPTrainer` makes it. Without
            the entries "before" and "after" the card says that the model was not evaluated.
    """
    model = results["model"]
    sections = [
        f"# {model['name']}",
        _description(results),
        f"## Use\n\n{_usage(model)}",
        f"## Results\n\n{results_markdown(results) if 'after' in results else NOT_EVALUATED}",
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in _limits(results)),
        f"## Data and licence\n\n{_terms(results)}",
        f"## Citation\n\n```bibtex\n{PAPERS[model['loss']]}\n```",
    ]
    return f"---\n{_metadata(results)}\n---\n\n" + "\n\n".join(sections) + "\n"


def adapter_card(model: dict) -> str:
    """Return the text of adapter/README.md; `model` is the entry "model" of results.json."""
    data = ModelCardData(
        library_name="peft",
        pipeline_tag="zero-shot-image-classification",
        base_model=model["base_model"] if model["base_is_on_hub"] else None,
        base_model_relation="adapter" if model["base_is_on_hub"] else None,
        license=model["license"],
        tags=[model["family"], "lora"],
    )
    if model["base_is_on_hub"]:
        load = 'from peft import AutoPeftModel\n\nmodel = AutoPeftModel.from_pretrained("path/to/adapter")'
        base = f"The base model is `{model['base_model']}`."
    else:
        load = (
            f"from peft import PeftModel\nfrom transformers import {model['class']}\n\n"
            f'base = {model["class"]}.from_pretrained("path/to/{model["base_model"]}")\n'
            'model = PeftModel.from_pretrained(base, "path/to/adapter")'
        )
        base = (
            f"The base model is a local folder, `{model['base_model']}`. Its path is not recorded here, so load the "
            "base first."
        )
    return (
        "\n".join(
            [
                f"---\n{data}\n---\n",
                f"# Adapters of {model['name']}\n",
                f"Low-rank adapters of rank {model['lora']['rank']} for a {_kind(model)}. They were trained "
                f"with {LOSSES[model['loss']]}. {base} The folder above this one holds the merged model.\n",
                f"```python\n{load}\n```\n",
                f"The adapters are on the modules that match `{model['lora']['target_modules']}`; `lora_alpha` is "
                f"{model['lora']['alpha']}.",
            ]
        )
        + "\n"
    )


def example_texts(dataset: Dataset, args: ConCLIPTrainingArguments) -> list[str]:
    """Return two texts for the snippet of a card: a caption and its negated caption, or two captions."""
    rows = dataset.select(range(min(100, len(dataset))))
    captions = text_lists(rows, args.caption_column, "train")
    if args.loss in NEGATED_LOSSES and args.negated_caption_column in rows.column_names:
        negated = text_lists(rows, args.negated_caption_column, "train", may_be_empty=True)
        for own, others in zip(captions, negated, strict=True):
            if others:
                return [own[0], others[0]]
    return [captions[0][0], captions[-1][-1]]


def copy_card(output_dir: str | Path, card_file: str | Path, figure: str = FIGURE_FILE) -> None:
    """Write the card of a finished run to another file, from its results.json; `figure` is where the figure lies."""
    results = json.loads((Path(output_dir) / RESULTS_FILE).read_text("utf-8"))
    card = model_card(results).replace(f"]({FIGURE_FILE})", f"]({figure})")
    write_atomically(Path(card_file), card.encode())


def _metadata(results: dict) -> ModelCardData:
    model = results["model"]
    entries = [
        eval_result(results["dataset"], results["dataset"], results["split"], name, metric["value"])
        for name, metric in results.get("after", {}).items()
    ]
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="zero-shot-image-classification",
        license=model["license"],
        # The negated captions that this package makes or reads are English; others may be in any language.
        language="en" if model["loss"] != "clip" else None,
        base_model=model["base_model"] if model["base_is_on_hub"] else None,
        base_model_relation="finetune" if model["base_is_on_hub"] else None,
        datasets=[results["dataset"]] if model["dataset_is_on_hub"] else None,
        tags=[
            model["family"],
            *(["negation"] if model["loss"] != "clip" else []),
            *(["lora"] if model["lora"] else []),
        ],
        model_name=model["name"] if entries else None,
        eval_results=entries or None,
    )


def _description(results: dict) -> str:
    model = results["model"]
    trained = (
        f"A {_kind(model)}, fine-tuned from `{model['base_model']}` on {_data(results)} with {LOSSES[model['loss']]}."
    )
    if "distillation_weight" in model["loss_weights"] and model["loss"] != DISTILLATION:
        trained = f"{trained[:-1]}, and with {LOSSES[DISTILLATION]}."
    if model["loss_weights"].get("truth_weight"):
        trained += " The training images, with their captions, taught it when statements about things are true."
    if weights := {name: weight for name, weight in model["loss_weights"].items() if weight != 1}:
        trained += f" Weights of its terms: {', '.join(f'{name} {weight:g}' for name, weight in weights.items())}."
    if model["lora"]:
        part = (
            f"Low-rank adapters (rank {model['lora']['rank']}) were trained and merged into the weights. The folder "
            "`adapter/` holds them apart."
        )
    elif model["image_encoder_is_frozen"]:
        part = "The text encoder was trained. The image encoder was frozen: it is that of the base model."
    else:
        part = "The text encoder and the image encoder were trained."
    return f"{trained} {part}"


def _kind(model: dict) -> str:
    """Return the family of a model in words."""
    return "CLIP model" if model["family"] == "clip" else f"model of the family `{model['family']}`"


def _data(results: dict) -> str:
    if _is_scenes(results):
        return "scenes (generated images of coloured shapes)"
    if results["dataset"] == PLAIN_CAPTIONS:
        return "captions composed from word lists"
    return f"`{results['dataset']}`"


def _is_scenes(results: dict) -> bool:
    return results["dataset"] == "scenes"


def _usage(model: dict) -> str:
    labels = ", ".join(json.dumps(text, ensure_ascii=False) for text in model["example"])
    snippet = f"""from transformers import pipeline

classify = pipeline("zero-shot-image-classification", model={json.dumps(model["repository"])})
labels = [{labels}]
print(classify("image.jpg", candidate_labels=labels, hypothesis_template="{{}}"))"""
    if model["family"] != "clip":
        if not model["zero_shot"]:
            snippet = f"""from transformers import AutoModel, AutoTokenizer

name = {json.dumps(model["repository"])}
model, tokenizer = AutoModel.from_pretrained(name), AutoTokenizer.from_pretrained(name)
print(model.get_text_features(**tokenizer([{labels}], padding=True, return_tensors="pt")))"""
        own = f"It is a `{model['class']}` of transformers, which loads it without this package."
        return f"```python\n{snippet}\n```\n\n{own}"
    return (
        f"```python\n{snippet}\n```\n\n"
        "`CLIPModel`, `AutoModel` and all other code that loads CLIP can load it. To train it further with the same "
        "loss, load it with `ConCLIPModel.from_pretrained(...)` of the package `conclip`, or without the package with "
        "`AutoModel.from_pretrained(..., trust_remote_code=True)`."
    )


def _limits(results: dict) -> list[str]:
    model, limits = results["model"], []
    if model["loss"] == "clip":
        limits.append(
            'It was not trained on negation. It may read a caption with "not" like one without, as CLIP does.'
        )
    elif "true negation accuracy" in results.get("after", {}):
        limits.append(
            "A model can score well on pairs by rejecting every caption with a negation. Read the accuracy on pairs "
            "together with that on true negations."
        )
    elif model["loss"] == DISTILLATION:
        limits.append(
            "It was trained on texts, not on images. What it says about images was not measured, unless the results "
            "above name images."
        )
    else:
        limits.append(
            "Its accuracy on true negations was not measured. If every negated caption of the training data is false "
            "of its image, as in CC-Neg, a model can learn to reject every negation, also a true one."
        )
    if _is_scenes(results):
        limits.append(
            "It knows only the words of the scenes: shapes, colours, sizes and places. The recipe was chosen while "
            "looking at the test split; the project's documentation has its scores on new scenes."
        )
    if model["image_encoder_is_frozen"]:
        limits.append("What the image encoder of the base model cannot see, this model cannot see either.")
    limits.append("Captions in other languages than those of the training data were not tested.")
    return limits


def _terms(results: dict) -> str:
    model = results["model"]
    if _is_scenes(results):
        return "The scenes are generated and have no licence terms. The weights have the licence of the project, MIT."
    data = f"The terms of the training data, {_data(results)}, apply to it."
    if results["dataset"] == PLAIN_CAPTIONS:
        data = "The captions that it was trained on are composed and have no licence terms."
    if "ccneg" in results["dataset"].lower() or "cc-neg" in results["dataset"].lower():
        data = (
            "CC-Neg's annotations belong to its authors. Its images come from CC3M and COCO, whose terms apply to "
            "them."
        )
    if model["license"]:
        return f"The licence is that of the base model: {model['license']}. {data}"
    return f"The licence of the base model, `{model['base_model']}`, applies; it is not known here. {data}"
