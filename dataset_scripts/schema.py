"""The one row every builder of this project writes, whatever the source of the data."""

from datasets import Features, Image, Sequence, Value

ANNOTATION_FEATURES = {
    # True of the image.
    "caption": Value("string"),
    # False of the image: what CC-Neg calls c'. `negation_kinds` names what was negated in each, e.g. "object".
    "negated_captions": Sequence(Value("string")),
    "negation_kinds": Sequence(Value("string")),
    # What the caption names, where the source knows it; empty otherwise.
    "objects": Sequence(Value("string")),
    # True of the image because of what is absent from it. `true_negation_foils` holds, at the same index, a caption
    # that differs in as few words as possible and is false; `true_negation_kinds` says what kind of foil it is.
    "true_negations": Sequence(Value("string")),
    "true_negation_foils": Sequence(Value("string")),
    "true_negation_kinds": Sequence(Value("string")),
}

FEATURES = Features(
    {
        "image": Image(),
        **ANNOTATION_FEATURES,
        # Images that look like `image`; index 0 is the one the loss uses (paper: nearest COCO train2017 image).
        "distractor_images": Sequence(Image()),
    }
)
