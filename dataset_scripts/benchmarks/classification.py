"""
Zero-shot classification: the CoN-CLIP paper's 8 datasets, and any folder of class folders.

A dataset is read from `<data_dir>/<name>/`, if that holds Parquet files or class folders, and from the Hub otherwise.
ImageNet runs CLIP's published protocol: OpenAI's names in OpenAI's 80 templates. The classes of the other datasets
have the names of the source, in lower case, which are not always those of CLIP's authors. A file `classes.txt` in that
folder, with one name per line in the order of the labels, replaces the names.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub

from conclip.errors import UsageError
from dataset_scripts.benchmarks import imagenet
from dataset_scripts.benchmarks.class_images import ClassImages, find_images
from dataset_scripts.benchmarks.class_prompts import PLAIN, TEMPLATES, clean_name, is_code, prompts_of
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item


@dataclass(frozen=True)
class ClassSet:
    """
    A dataset for classification.

    Args:
        name, title, split: see `Benchmark`.
        hub: id of the dataset on the Hub; "" if it is not there.
        hub_split: the name of the split in the Parquet files on the Hub.
        splits: possible names of the split in folders and files under `--data_dir`; the first that exists is read.
        label: the column with the class.
        excluded: labels that are not classes, after `clean_name`.
        openai_names: takes the labels, and the folder with them for messages, and returns OpenAI's names for them.
            With these names, the templates come first and so give the headline, as in CLIP's protocol.
        note: the end of `source`.
    """

    name: str
    title: str
    split: str
    hub: str = ""
    hub_split: str = "test"
    splits: tuple[str, ...] = ("test", "val", "validation")
    label: str = "label"
    excluded: frozenset[str] = frozenset()
    openai_names: Callable[[list[str], Path], list[str]] | None = None
    note: str = ""

    @property
    def source(self) -> str:
        what = "as class folders with images or as Parquet files with a ClassLabel"
        if not self.hub:
            return f"Put the images there {what}."
        place = f"<data_dir>/{self.name}"
        files = f"--repo-type dataset --include '*{self.hub_split}-*.parquet' --local-dir {place}"
        return f"Put it into {place} {what}, or run `hf download {self.hub} {files}`{self.note}."


# Ids, splits and columns are those that the pages of the Hub state.
CLASS_SETS = (
    ClassSet(
        "imagenet",
        "ImageNet-1k",
        "val",
        "ILSVRC/imagenet-1k",
        hub_split="validation",
        splits=("val", "validation"),
        openai_names=imagenet.openai_names_of,
        note=" after you have accepted its terms on the Hub and logged in with `hf auth login`",
    ),
    ClassSet("cifar10", "CIFAR-10", "test", "uoft-cs/cifar10"),
    ClassSet("cifar100", "CIFAR-100", "test", "uoft-cs/cifar100", label="fine_label"),
    ClassSet("stanford-cars", "Stanford Cars", "test", "tanganke/stanford_cars"),
    # There is no official split: as in torchvision, all images count, and the folder of clutter is not a class.
    ClassSet(
        "caltech101",
        "Caltech-101",
        "all",
        "flwrlabs/caltech101",
        hub_split="train",
        splits=("test", "train"),
        excluded=frozenset({"background google"}),
    ),
    # The split that its authors call test is validation on the Hub.
    ClassSet("food101", "Food-101", "test", "ethz/food101", hub_split="validation"),
    ClassSet("flowers102", "Flowers-102", "test", "dpdl-benchmark/oxford_flowers102"),
    ClassSet("oxford-pets", "Oxford Pets", "test", "timm/oxford-iiit-pet"),
)


def class_folder(name: str, path: str | Path) -> Benchmark:
    """
    Return a benchmark of any folder of class folders, `<path>/<class>/<image>`, or of Parquet files with a ClassLabel
    `label`. If `path` holds `test`, `val` or `validation`, the first of them is read. Classes are in the order of
    their names, by number if all are numbers. `path` is not below `--data_dir`. The only template is "a photo of a
    {}."
    """
    return _benchmark(ClassSet(name, name, "test or val where there is one, otherwise all"), Path(path))


def _benchmark(class_set: ClassSet, path: Path | None = None) -> Benchmark:
    templates = PLAIN if path else imagenet.TEMPLATES if class_set.openai_names else TEMPLATES[class_set.name]

    def read(data_dir: Path) -> Iterator[dict]:
        return _items(class_set, path or Path(data_dir) / class_set.name)

    def classes(data_dir: Path) -> dict[str, list[list[str]]]:
        root = path or Path(data_dir) / class_set.name
        names, origin = _names(class_set, root, _find(class_set, root))
        _warn_of_equal_names(names, class_set.title)
        prompts = prompts_of(names, templates, origin)
        return dict(reversed(prompts.items())) if class_set.openai_names else prompts

    return Benchmark(
        name=class_set.name,
        title=class_set.title,
        kind=Kind.CLASSES,
        read=read,
        source=class_set.source,
        split=class_set.split,
        classes=classes,
    )


def _items(class_set: ClassSet, root: Path) -> Iterator[dict]:
    images = _find(class_set, root)
    names, _ = _names(class_set, root, images)
    labels = _class_indices(class_set, images.labels) if images.labels else range(len(names))
    answers = {label: answer for answer, label in enumerate(labels)}
    count = len(images.labels or names)
    for id, image, label, place in images.rows():
        if not isinstance(label, int) or not 0 <= label < count:
            raise UsageError(f"{place}: label {label!r} is not one of the {count}; use a split that has labels.")
        if label in answers:
            yield item(id, [image], [], answers[label])


def _find(class_set: ClassSet, root: Path) -> ClassImages:
    images = find_images(root, class_set.splits, class_set.label)
    if images is None and class_set.hub:
        root = _download(class_set)
        images = find_images(root, (class_set.hub_split,), class_set.label)
    if images is None:
        what = "holds neither class folders nor Parquet files" if root.is_dir() else "is not a folder"
        raise UsageError(f"{root} {what}. {class_set.source}")
    return images


def _download(class_set: ClassSet) -> Path:
    # load_dataset would download the other splits too: 150 GB for ImageNet.
    files = f"{class_set.hub_split}-*.parquet"
    try:
        return Path(
            huggingface_hub.snapshot_download(class_set.hub, repo_type="dataset", allow_patterns=[files, f"*/{files}"])
        )
    # The client raises errors of its HTTP library, which depend on its version.
    except Exception as error:
        raise UsageError(
            f"{class_set.hub} cannot be downloaded from the Hub ({type(error).__name__}). {class_set.source}"
        ) from error


def _class_indices(class_set: ClassSet, labels: list[str]) -> list[int]:
    return [index for index, label in enumerate(labels) if clean_name(label) not in class_set.excluded]


def _names(class_set: ClassSet, root: Path, images: ClassImages) -> tuple[list[str], str]:
    """Return the names of the classes, in the order of the answers, and where they come from."""
    labels = [images.labels[index] for index in _class_indices(class_set, images.labels)] if images.labels else None
    file = root / "classes.txt"
    if file.is_file():
        names, origin = _listed(file), "names of classes.txt"
        if labels and len(names) != len(labels):
            raise UsageError(f"{file} has {len(names)} lines for {len(labels)} classes; write one for each.")
    elif labels is None:
        raise UsageError(f"{images.where} does not name its classes; write them into {file}, one per line.")
    elif class_set.openai_names:
        names, origin = class_set.openai_names(labels, images.where), "OpenAI's names"
    else:
        names, origin = [clean_name(label) for label in labels], "names of the dataset"
        _check_codes(names, labels, images.where, file)
    if "" in names:
        raise UsageError(
            f"{file if file.is_file() else images.where} leaves class {names.index('')} blank; write a name for each "
            f"class into {file}, one per line."
        )
    return names, origin


def _warn_of_equal_names(names: list[str], title: str) -> None:
    shared = [name for name, count in Counter(map(str.lower, names)).items() if count > 1]
    if shared:
        warnings.warn(
            f"{title}: {len(shared)} {'names belong' if len(shared) > 1 else 'name belongs'} to two or more classes "
            f"({', '.join(shared)}). No model can tell "
            "these classes apart; the first of them is predicted, as in CLIP's protocol.",
            stacklevel=2,
        )


def _listed(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text ({error}); save it as UTF-8.") from error
    return [" ".join(line.split()).lower() for line in lines]


def _check_codes(names: list[str], labels: list[str], where: Path, file: Path) -> None:
    code = next((label for label, name in zip(labels, names, strict=True) if is_code(name)), None)
    if code is not None:
        # Files on the Hub have the labels 1, 10, 100, …, while lists of names are in the order 1, 2, 3, ….
        order = ", ".join(labels[:3])
        raise UsageError(
            f"{where} calls a class {code!r}, which makes no prompt; write {len(labels)} names into {file}, one per "
            f"line, in the order of the labels ({order}, …)."
        )


CLASSIFICATION = tuple(map(_benchmark, CLASS_SETS))
