"""
SVO-Probes (Hendricks and Nematzadeh, 2021; CC BY 4.0): a sentence, an image that it describes, and one that differs in
the subject, the verb or the object.

One file, https://github.com/google-deepmind/svo_probes, `svo_probes.csv`: sentence, pos_image_id, neg_image_id,
pos_url, neg_url, subj_neg, verb_neg, obj_neg ("True" or "False"), … As in the authors' notebook, rows in which not
exactly one of the three is true are left out. Their score asks a model for a yes or no to each image, which the
similarity of two embeddings does not give. Here the right image has to score above the other one.
"""

from collections.abc import Iterator
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import field, image_folder, read_csv
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

DIFFERENCES = {"subj_neg": "subject", "verb_neg": "verb", "obj_neg": "object"}
IMAGES = ("pos_image_id", "neg_image_id")
SOURCE = (
    "Download svo_probes.csv of https://github.com/google-deepmind/svo_probes into svo_probes/, and the images at the "
    "addresses in its columns pos_url and neg_url as svo_probes/images/<image id>.jpg; some addresses no longer exist."
)


def read_svo_probes(data_dir: Path) -> Iterator[dict]:
    """
    Yield the items, numbered as the rows of the file, from 0; the category says what differs.

    Raises:
        UsageError: the file is missing or a row is damaged.
    """
    path = data_dir / "svo_probes" / "svo_probes.csv"
    folder = image_folder(data_dir, "svo_probes/images")
    for index, row in enumerate(read_csv(path, SOURCE, ["sentence", *IMAGES, *DIFFERENCES])):
        differs = [name for column, name in DIFFERENCES.items() if _is_true(row, column, path, index)]
        if len(differs) == 1:
            images = [folder / f"{field(row, name, str, path, index)}.jpg" for name in IMAGES]
            yield item(index, images, [field(row, "sentence", str, path, index)], category=differs[0])


def _is_true(row: dict, name: str, path: Path, index: int) -> bool:
    text = field(row, name, str, path, index)
    if text not in ("True", "False"):
        raise UsageError(
            f"{path}, row {index}: {name!r} is {text!r}, not True or False; correct it or download the file again."
        )
    return text == "True"


SVO_PROBES = Benchmark(
    name="svo-probes",
    title="SVO-Probes",
    kind=Kind.IMAGES,
    read=read_svo_probes,
    source=SOURCE,
    split="test",
)
