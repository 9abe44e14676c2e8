"""Results of a training run, written by hand: helpers, not a test."""


def metric(value, count=100, **more):
    return {"value": value, "count": count, "ties": 0, "chance": 0.5, **more}


BEFORE = {
    "pairs": metric(0.5, categories={"object": {"accuracy": 0.25, "count": 40, "ties": 0}}),
    "recall": metric(0.3),
}


AFTER = {
    "pairs": metric(0.9, categories={"object": {"accuracy": 0.75, "count": 40, "ties": 2}}),
    "recall": metric(0.1),
}


RESULTS = {
    "title": "me/data, test split, before and after training with the conclip loss",
    "base_model": "openai/clip-vit-base-patch32",
    "dataset": "me/data",
    "split": "test",
    "model": {
        "family": "clip",
        "class": "CLIPModel",
        "zero_shot": True,
        "name": "my-clip",
        "repository": "me/my-clip",
        "base_model": "openai/clip-vit-base-patch32",
        "base_is_on_hub": True,
        "dataset_is_on_hub": True,
        "license": "apache-2.0",
        "loss": "conclip",
        "loss_weights": {"image_to_text_weight": 1.0, "distractor_weight": 0.5},
        "image_encoder_is_frozen": True,
        "lora": None,
        "example": ["a dog", 'a "dog" that is not there'],
    },
    "before": BEFORE,
    "after": AFTER,
    "verdict": "Worse: recall.",
    "image_processor": "CLIPImageProcessorPil",
    "command": "conclip train",
}
