"""
ARO's two benchmarks on Visual Genome (Yuksekgonul et al., ICLR 2023): which object has a relation or an attribute.
ARO's other two, on word order, are in `caption_orders.py`. Format and averaging are those of the official code,
https://github.com/mertyg/vision-language-models-are-bows, `dataset_zoo/aro_datasets.py`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import corners, field, image_folder, read_json
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

_FILES = (
    "Download {name}.json (https://drive.google.com/uc?id={id}) into aro/, and vgr_vga_images.zip "
    "(https://drive.google.com/uc?id=1qaPlrwhGNMrR3a11iopZUT_GPP_LrgP9), whose images go into aro/images/; "
    "https://github.com/mertyg/vision-language-models-are-bows downloads the same files."
)

# The official notebook, "Replicate ARO! VG-Relation, VG-Attribution.ipynb", excludes these from the mean over
# relations and calls them symmetric, though many are not. It averages all others, whatever their count.
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
    """Yield items, numbered as the rows of the file: an image, and even a box, may occur several times."""
    path = data_dir / "aro" / f"{name}.json"
    rows = read_json(path, source)
    if not isinstance(rows, list):
        raise UsageError(f"{path} holds no list of rows. {source}")
    folder = image_folder(data_dir, "aro/images")
    for index, row in enumerate(rows):
        image = folder / field(row, "image_path", str, path, index)
        captions = [field(row, which, str, path, index) for which in ("true_caption", "false_caption")]
        yield item(index, [image], captions, category=category(row, path, index), boxes=[_box(row, path, index)])


def _box(row: dict, path: Path, index: int) -> tuple[float, float, float, float]:
    return corners([field(row, f"bbox_{side}", (int, float), path, index) for side in "xywh"], path, index)


def _relation(row: dict, path: Path, index: int) -> str:
    return field(row, "relation_name", str, path, index)


def _attributes(row: dict, path: Path, index: int) -> str:
    """Return the two attributes in the order of the row, joined as in the official code: "a_b" is not "b_a"."""
    pair = field(row, "attributes", list, path, index)
    if len(pair) != 2 or not all(isinstance(name, str) and name.strip() for name in pair):
        raise UsageError(
            f"{path}, row {index}: 'attributes' is {pair!r}, not two names; correct it or download the file again."
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
    skipped_categories=SYMMETRIC,
)
# 28,748 rows; two `attributes` instead of `relation_name`. The mean excludes pairs with fewer than 25 rows.
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
