"""
Load models in a separate process, for test_loading: `python loading_worker.py request.json`.

The request names the cells to run, in order, and the file for the results. With `"package": false` this process cannot
import modeling_conclip, wherever it may be installed.
"""

import json
import sys
import time
import warnings

REQUEST = json.loads(open(sys.argv[1], encoding="utf-8").read())
if not REQUEST["package"]:
    sys.modules["modeling_conclip"] = None

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import AutoConfig, AutoModel, CLIPModel, pipeline  # noqa: E402


def load(loader: str, source: str, revision: str | None):
    """Return the model, its loading_info and, for a pipeline, the scores of the request's image and labels."""
    arguments = {"trust_remote_code": True} if loader.endswith("trusted") else {}
    if revision:
        arguments["revision"] = revision
    if loader.startswith("pipeline"):
        classify = pipeline("zero-shot-image-classification", model=source, **arguments)
        answers = classify(Image.open(REQUEST["image"]), candidate_labels=REQUEST["labels"])
        scores = {answer["label"]: answer["score"] for answer in answers}
        return classify.model, {}, [scores[label] for label in REQUEST["labels"]]
    if loader == "ConCLIPModel":
        from modeling_conclip import ConCLIPModel as cls
    else:
        cls = CLIPModel if loader == "CLIPModel" else AutoModel
    return *cls.from_pretrained(source, output_loading_info=True, **arguments), None


def run(cell: dict, batch: dict) -> dict:
    """Load the model of one cell and return what the test checks."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, info, scores = load(cell["loader"], cell["source"], cell["revision"])
        seconds = time.perf_counter() - start
        with torch.no_grad():
            logits = model(**batch).logits_per_image
        if cell.get("save_to"):
            model.save_pretrained(cell["save_to"])
        if cell.get("save_config_to"):
            AutoConfig.from_pretrained(cell["source"], trust_remote_code=True).save_pretrained(cell["save_config_to"])
    return {
        "class": type(model).__name__,
        "module": type(model).__module__,
        "config_class": type(model.config).__name__,
        "image_encoder_is_trained": any(parameter.requires_grad for parameter in model.vision_model.parameters()),
        "distractor_weight": getattr(model.config, "distractor_weight", None),
        "problems": {name: sorted(map(str, found)) for name, found in info.items() if found},
        "warnings": [str(warning.message) for warning in caught],
        "logits": logits.tolist(),
        "scores": scores,
        "seconds": seconds,
    }


def main():
    try:
        import modeling_conclip
    except ImportError:
        modeling_conclip = None
    assert (modeling_conclip is not None) == REQUEST["package"]
    batch = torch.load(REQUEST["batch"])
    results = {cell["name"]: run(cell, batch) for cell in REQUEST["cells"]}
    with open(REQUEST["result"], "w", encoding="utf-8") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main()
