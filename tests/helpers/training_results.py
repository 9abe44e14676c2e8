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
    "title": "toys, test split",
    "base_model": "some/clip",
    "dataset": "toys",
    "split": "test",
    "before": BEFORE,
    "after": AFTER,
    "verdict": "Worse: recall.",
    "image_processor": "CLIPImageProcessorPil",
    "command": "accelerate launch train_accelerate.py",
}
