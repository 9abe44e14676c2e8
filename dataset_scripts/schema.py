"""The columns of a row, which all datasets of this project have."""

from datasets import Features, Image, Sequence, Value

ANNOTATION_FEATURES = {
    # True of the image.
    "caption": Value("string"),
    # False of the image: what CC-Neg calls c'. `negation_kinds` names what was negated in each, e.g. "object".
    "negated_captions": Sequence(Value("string")),
    "negation_kinds": Sequence(Value("string")),
    # Objects that the caption names, if the source lists them; empty otherwise.
    "objects": Sequence(Value("string")),
    # True of the image, because they negate something that is absent from it. `true_negation_foils` holds, at the
    # same index, the foil: a false caption that differs in as few words as possible. `true_negation_kinds` says what
    # kind of foil it is.
    "true_negations": Sequence(Value("string")),
    "true_negation_foils": Sequence(Value("string")),
    "true_negation_kinds": Sequence(Value("string")),
}

FEATURES = Features(
    {
        "image": Image(),
        **ANNOTATION_FEATURES,
        # Images that look like `image`; the loss uses index 0 (in the paper, the most similar COCO train2017 image).
        "distractor_images": Sequence(Image()),
    }
)
