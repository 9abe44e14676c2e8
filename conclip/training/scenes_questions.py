"""Multiple choice on the scenes: the questions, and the accuracy of linear probes on the image embeddings."""

import torch
from datasets import Dataset

from conclip.embedding.images import open_images
from conclip.embedding.probes import fit_probes, log_likelihood, with_constant
from conclip.metrics.choice_accuracy.choice_accuracy import choice_accuracy
from conclip.negation.questions import QUESTION_KINDS, Question
from conclip.training.evaluator import Evaluator
from dataset_scripts import scenes
from dataset_scripts.benchmarks.scenes_choice import PROBE_ROWS, claims, question_of
from dataset_scripts.scenes_drawing import COLOURS, SHAPES
from modeling_conclip import ConCLIPModel

# The benchmark's type "positive" is the report's kind "presence".
KINDS = {"positive": "presence"}
LABELS = (*SHAPES, *COLOURS)


def scenes_questions(rows: Dataset) -> list[Question]:
    """Return the questions of the benchmark scenes-choice about rows of the scenes' test split."""
    questions = []
    for row, objects in enumerate(rows["objects"][:]):
        texts, answer, kind = question_of(row, objects)
        others = texts[:answer] + texts[answer + 1 :]
        questions.append(Question(row, KINDS.get(kind, kind), (texts[answer], *others)))
    return questions


def ceiling(model: ConCLIPModel, evaluator: Evaluator) -> dict[str, float]:
    """
    Answer the questions by linear probes of shapes and colours on the image embeddings, fitted on training scenes.

    Args:
        model: embeds the images; its image encoder is frozen.
        evaluator: of rows of the scenes' test split, with `scenes_questions`.

    Returns:
        Kind of question -> accuracy, 0 to 1; "all" for all questions.
    """
    rows = scenes.load_scenes("train")
    rows = rows.select(range(min(PROBE_ROWS, len(rows))))
    images = open_images(rows, "image", "train", False, None)
    words = [{word for text in objects for word in text.split()} for objects in rows["objects"][:]]
    shown = torch.tensor([[label in own for label in LABELS] for own in words], dtype=torch.float32)
    probes = fit_probes(evaluator.embedder(model, images, "training images")[:], shown)
    logits = with_constant(evaluator.embedder(model, evaluator.images, "images")[:]) @ probes
    scores = []
    for question in evaluator.questions:
        row = int(evaluator.pool[question.image])
        read = [
            [([LABELS.index(label) for label in labels], affirmed) for labels, affirmed in claims(text)]
            for text in question.texts
        ]
        scores.append([log_likelihood(logits[row : row + 1], own).item() for own in read])
    result = choice_accuracy(scores, [0] * len(scores), [question.kind for question in evaluator.questions])
    kinds = {kind: result["categories"][kind] for kind in QUESTION_KINDS if kind in result["categories"]}
    return {"all": result["accuracy"], **{kind: part["accuracy"] for kind, part in kinds.items()}}
