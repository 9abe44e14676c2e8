"""
VL-CheckList (Zhao et al., EMNLP 2022): an image, texts that are true of it, and texts that are not.

Format and scoring are those of https://github.com/om-ai-lab/VL-CheckList: JSON files, each a list of
[image, {"POS": [texts], "NEG": [texts]}]. `evaluate.py` (task "itc") compares the first true text with the first false
one; `radar.py` averages the files of an aspect within a source of images, and then the sources.
"""

from collections.abc import Iterator
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import field, image_folder, read_rows, texts
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

SWIG = ("agent", "destination", "item", "tool")
# Aspect -> files of each source of images; a file is named by its path without .json.
ASPECTS: dict[str, list[list[str]]] = {
    **{
        f"object, {aspect}": [
            [f"Object/{kind}/vg_{kind.lower()}/vg_{role}_{aspect}" for role in ("obj", "subj")],
            [f"Object/{kind}/swig_{kind.lower()}/swig_{role}/swig_{role}_{aspect}" for role in SWIG],
            [f"Object/{kind}/hake_{kind.lower()}/hake_obj_{aspect}"],
        ]
        for kind, aspects in {"Size": ("large", "medium", "small"), "Location": ("center", "mid", "margin")}.items()
        for aspect in aspects
    },
    **{
        f"attribute, {aspect}": [[f"Attribute/vg/{aspect}"], [f"Attribute/vaw/{aspect}"]]
        for aspect in ("color", "material", "action", "size", "state")
    },
    "relation, action": [["Relation/vg/action"], ["Relation/swig_action"], ["Relation/hake_action"]],
    "relation, spatial": [["Relation/vg/spatial"]],
}
FILES = tuple(name for lists in ASPECTS.values() for names in lists for name in names)
SOURCE = (
    "The annotations: the folder data of https://github.com/om-ai-lab/VL-CheckList, into vl_checklist/data. The "
    "images: as DATASETS.md there says, into vg, hake and swig."
)


def read_vl_checklist(data_dir: Path) -> Iterator[dict]:
    """
    Yield the items of all files; ids such as "Attribute/vg/color/0" are file and row, and the category is the file.

    Raises:
        UsageError: a file is missing or a row is damaged.
    """
    for name in FILES:
        path = data_dir / "vl_checklist" / "data" / f"{name}.json"
        root = next((root for root in ("hake", "swig") if root in name), "vg")
        folder = image_folder(data_dir, root, f"vl_checklist/{root}")
        for index, row in read_rows(path, SOURCE):
            if not isinstance(row, list) or len(row) != 2:
                raise UsageError(
                    f"{path}, row {index} is not an image with its texts; correct it or download the file again."
                )
            image = field({"image": row[0]}, "image", str, path, index)
            captions = [_first(row[1], which, path, index) for which in ("POS", "NEG")]
            yield item(f"{name}/{index}", [folder / image], captions, category=name)


def _first(row: object, name: str, path: Path, index: int) -> str:
    found = texts(row, name, path, index)
    if not found:
        raise UsageError(f"{path}, row {index}: {name!r} holds no text; correct it or download the file again.")
    return found[0]


VL_CHECKLIST = Benchmark(
    name="vl-checklist",
    title="VL-CheckList",
    kind=Kind.CAPTIONS,
    read=read_vl_checklist,
    source=SOURCE,
    split="test",
    mean_groups=ASPECTS,
)
