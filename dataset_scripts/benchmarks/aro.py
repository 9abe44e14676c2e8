"""
ARO's two benchmarks on Visual Genome (Yuksekgonul et al., ICLR 2023): whose relation, whose attribute it is. The
others, on the order of words, are in `caption_orders.py`. Format and averaging are those of the official code,
https://github.com/mertyg/vision-language-models-are-bows, `dataset_zoo/aro_datasets.py`.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from dataset_scripts.benchmarks.files import field, image_folder, read_json
from dataset_scripts.benchmarks.schema import Benchmark, BenchmarkError, Kind, item

_FILES = (
    "Fetch {name}.json (https://drive.google.com/uc?id={id}) into aro/, and vgr_vga_images.zip "
    "(https://drive.google.com/uc?id=1qaPlrwhGNMrR3a11iopZUT_GPP_LrgP9), of which the images belong into aro/images/; "
    "https://github.com/mertyg/vision-language-models-are-bows fetches the same files."
)

# As listed in the official notebook, "Replicate ARO! VG-Relation, VG-Attribution.ipynb", which drops them from the
# mean over relations and calls them symmetric, though many are not. What is left is averaged whatever its count.
SYMMETRIC = frozenset(
    " ".join(name.split())
    for name in """
    adjusting, attached to, between, bigger than, biting, boarding, brushing, chewing, cleaning, climbing, close to,
    coming from, coming out of, contain, crossing, dragging, draped over, drinking, drinking from, driving, driving
    down, driving on, eating from, eating in, enclosing, exiting, facing, filled with, floating in, floating on,
    flying, flying above, flying in, flying over, flying through, full of, going down, going into, going through,
    grazing in, growing in, growing on, guiding, hanging from, hanging in, hanging off, hanging over, higher than,
    holding onto, hugging, in between, jumping off, jumping on, jumping over, kept in, larger than, leading, leaning
    over, leaving, licking, longer than, looking in, looking into, looking out, looking over, looking through, lying
    next to, lying on top of, making, mixed with, mounted on, moving, on the back of, on the edge of, on the front of,
    on the other side of, opening, painted on, parked at, parked beside, parked by, parked in, parked in front of,
    parked near, parked next to, perched on, petting, piled on, playing, playing in, playing on, playing with, pouring,
    reaching for, reading, reflected on, riding on, running in, running on, running through, seen through, sitting
    behind, sitting beside, sitting by, sitting in front of, sitting near, sitting next to, sitting under, skiing down,
    skiing on, sleeping in, sleeping on, smiling at, sniffing, splashing, sprinkled on, stacked on, standing against,
    standing around, standing behind, standing beside, standing in front of, standing near, standing next to, staring
    at, stuck in, surrounding, swimming in, swinging, talking to, topped with, touching, traveling down, traveling on,
    tying, typing on, underneath, wading in, waiting for, walking across, walking by, walking down, walking next to,
    walking through, working in, working on, worn on, wrapped around, wrapped in, by, of, near, next to, with, beside,
    on the side of, around
    """.split(",")
)


def _read(data_dir: Path, name: str, source: str, category: Callable[[dict, Path, int], str]) -> Iterator[dict]:
    """Items are numbered as the rows of the file: an image, and even a box, may come several times."""
    path = data_dir / "aro" / f"{name}.json"
    rows = read_json(path, source)
    if not isinstance(rows, list):
        raise BenchmarkError(f"{path} holds no list of rows. {source}")
    folder = image_folder(data_dir, "aro/images")
    for index, row in enumerate(rows):
        image = folder / field(row, "image_path", str, path, index)
        captions = [field(row, which, str, path, index) for which in ("true_caption", "false_caption")]
        yield item(index, [image], captions, category=category(row, path, index), boxes=[_box(row, path, index)])


def _box(row: dict, path: Path, index: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the row's corner and extent, in pixels."""
    left, top, width, height = (field(row, f"bbox_{side}", (int, float), path, index) for side in "xywh")
    if not all(map(math.isfinite, (left, top, width, height))) or width <= 0 or height <= 0:
        raise BenchmarkError(
            f"{path}, row {index}: the box {[left, top, width, height]} is empty; correct it or fetch the file again."
        )
    return left, top, left + width, top + height


def _relation(row: dict, path: Path, index: int) -> str:
    return field(row, "relation_name", str, path, index)


def _attributes(row: dict, path: Path, index: int) -> str:
    """The two attributes in the order of the row, joined as in the official code: "a_b" is not "b_a"."""
    pair = field(row, "attributes", list, path, index)
    if len(pair) != 2 or not all(isinstance(name, str) and name.strip() for name in pair):
        raise BenchmarkError(
            f"{path}, row {index}: 'attributes' is {pair!r}, not two names; correct it or fetch the file again."
        )
    return "_".join(pair)


_RELATION_FILES = _FILES.format(name="visual_genome_relation", id="1kX2iCHEv0CADL8dSO1nMdW-V0NqIAiP3")
_ATTRIBUTION_FILES = _FILES.format(name="visual_genome_attribution", id="13tWvOrNOLHxl3Rm9cR3geAdHx2qR3-Tw")

# 23,937 rows {image_id, image_path, true_caption, false_caption, relation_name, bbox_x, bbox_y, bbox_w, bbox_h}.
VG_RELATION = Benchmark(
    name="vg-relation",
    title="ARO VG-Relation",
    kind=Kind.CAPTIONS,
    read=partial(_read, name="visual_genome_relation", source=_RELATION_FILES, category=_relation),
    source=_RELATION_FILES,
    split="test",
    macro=True,
    left_out=SYMMETRIC,
)
# 28,748 rows; `attributes`, two of them, in place of `relation_name`. Pairs with fewer than 25 rows are not averaged.
VG_ATTRIBUTION = Benchmark(
    name="vg-attribution",
    title="ARO VG-Attribution",
    kind=Kind.CAPTIONS,
    read=partial(_read, name="visual_genome_attribution", source=_ATTRIBUTION_FILES, category=_attributes),
    source=_ATTRIBUTION_FILES,
    split="test",
    macro=True,
    min_count=25,
)
