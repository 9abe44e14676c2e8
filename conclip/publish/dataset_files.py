"""Datasets of `conclip negate` and `conclip ccneg`: their annotations and, if asked for, the images."""

from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import DatasetInfo, Features, Image, List, SplitDict, SplitInfo, Value
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard

from conclip.errors import UsageError, one_line
from conclip.publish.contents import CARD_FILE, DATASET, Contents, sort_files

# The configuration of CC-Neg's folder that holds no images.
ANNOTATIONS = "annotations"
# Column of images -> the column that names their files in its place, as in CC-Neg's annotations.
FILE_COLUMNS = {"image": "image_file", "distractor_images": "distractor_files"}
BATCH = 1_000


def dataset_contents(folder: Path, repo_id: str, work: Path, with_images: bool) -> Contents:
    """
    Return what of a dataset's folder is uploaded.

    Without images, their columns become columns of file names, where the file names are known, and the card says so.
    Of CC-Neg's folder, only the configuration without images is uploaded.

    Args:
        folder: with README.md, whose metadata names the Parquet files of each split.
        repo_id: written into the snippets of the card.
        work: see `Contents`.

    Raises:
        UsageError: the card or a file is damaged, a file is missing, or there are no images to upload.
    """
    card = _read_card(folder / CARD_FILE)
    configs = MetadataConfigs.from_dataset_card_data(card.data)
    parts = {name: _parquet_files(folder, name, config) for name, config in configs.items()}
    if not with_images and ANNOTATIONS in configs:
        configs = MetadataConfigs({ANNOTATIONS: configs[ANNOTATIONS]})
    chosen = {file for name in configs for file in _files(parts[name])}
    left_out = {file for splits in parts.values() for file in _files(splits)} - chosen
    contents = sort_files(folder, DATASET, work, chosen, images=left_out)
    # Files are opened one by one: there may be more than a process may open.
    holding_images = [file for file in sorted(chosen) if _image_columns(_open(folder / file))]
    if with_images and not holding_images:
        raise UsageError(f"--with_images has no effect: {folder} holds no images.")
    body = card.text.replace("path/to/this/folder", repo_id)
    body = body.replace('load_dataset("ccneg"', f'load_dataset("{repo_id}"')
    body = body.replace("  # from the directory that holds this folder", "")
    if not with_images:
        for file in holding_images:
            _write_without_images(_open(folder / file), contents.place(file))
        if holding_images or left_out:
            body = _with_note(body)
            contents.notes.append(
                "The images are not uploaded: you need the right to pass them on. --with_images uploads them."
            )
        card.data.dataset_info = card.data.configs = None
        infos = {name: _describe(parts[name], contents) for name in configs}
        DatasetInfosDict(infos).to_dataset_card_data(card.data)
        configs.to_dataset_card_data(card.data)
    contents.place(CARD_FILE).write_text(f"---\n{card.data}\n---\n{body}", "utf-8")
    return contents


def _files(splits: dict[str, list[str]]) -> list[str]:
    return [file for files in splits.values() for file in files]


def is_dataset(folder: Path) -> bool:
    """Return whether the folder has a card whose metadata names data files."""
    if not (folder / CARD_FILE).is_file():
        return False
    return bool(MetadataConfigs.from_dataset_card_data(_read_card(folder / CARD_FILE).data))


def _read_card(path: Path) -> DatasetCard:
    try:
        return DatasetCard(path.read_bytes().decode("utf-8"))
    # Of YAML, of the metadata's types, of the encoding.
    except Exception as error:
        raise UsageError(
            f"{path}: its metadata cannot be read ({one_line(error)}): write the dataset again."
        ) from error


def _parquet_files(folder: Path, name: str, config: dict) -> dict[str, list[str]]:
    """Return split -> paths of its files below the folder."""
    entries = config.get("data_files", [])
    if not isinstance(entries, list) or not all(
        isinstance(one, dict) and {"split", "path"} <= one.keys() for one in entries
    ):
        raise UsageError(
            f"{folder}: {CARD_FILE} does not name the data files of {name} by split: write the dataset again."
        )
    everything = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))
    found = {}
    for entry in entries:
        patterns = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
        files = [file for file in everything if any(fnmatchcase(file, pattern) for pattern in patterns)]
        if not files:
            raise UsageError(
                f"{folder} is not complete: no file {patterns[0]}, which {CARD_FILE} names; write the dataset again."
            )
        found[entry["split"]] = files
    return found


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read ({one_line(error)}): write the dataset again.") from error


def _image_columns(table: pq.ParquetFile) -> list[str]:
    return [name for name, feature in _features(table).items() if _holds_images(feature)]


def _features(table: pq.ParquetFile) -> Features:
    """Return the types of the columns; images are known by their fields too, for files that do not name the type."""
    found = Features.from_arrow_schema(table.schema_arrow)
    return Features({name: _as_images(feature) for name, feature in found.items()})


def _as_images(feature):
    if isinstance(feature, List):
        return List(_as_images(feature.feature), length=feature.length)
    return Image() if isinstance(feature, dict) and feature.keys() == {"bytes", "path"} else feature


def _holds_images(feature) -> bool:
    if isinstance(feature, List):
        feature = feature.feature
    return isinstance(feature, Image)


def _write_without_images(table: pq.ParquetFile, path: Path) -> None:
    """Write a Parquet file with the names of image files in place of the images; memory holds one batch."""
    features, images = _features(table), _image_columns(table)
    # The bytes of the images are not read.
    columns = [name for name in features if name not in images]
    columns += [column for column in _leaves(table) if column.split(".")[0] in images and column.endswith("path")]
    named = {name: FILE_COLUMNS.get(name, f"{name}_file") for name in images}
    kept = {name: feature for name, feature in features.items() if name not in images}
    kept |= {
        named[name]: List(Value("string")) if isinstance(features[name], List) else Value("string") for name in images
    }
    schema = Features(kept).arrow_schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in table.iter_batches(BATCH, columns=columns):
            rows = batch.select([name for name in batch.schema.names if name not in images]).to_pydict()
            for name in images:
                rows[named[name]] = [_file_names(value) for value in batch.column(name).to_pylist()]
            writer.write_table(pa.table(rows, schema=schema))


def _leaves(table: pq.ParquetFile) -> list[str]:
    return [table.schema.column(number).path for number in range(len(table.schema))]


def _file_names(value):
    """Return the name of an image's file, or those of a list of images, without folders of this machine."""
    if isinstance(value, list):
        return [_file_names(one) for one in value]
    path = value and value["path"]
    return PurePosixPath(path.replace("\\", "/")).name if path else None


def _describe(splits: dict[str, list[str]], contents: Contents) -> DatasetInfo:
    """Return the entry `dataset_info` of a configuration, with the sizes of what is uploaded."""
    found, features = SplitDict(), None
    for name, files in splits.items():
        features = _features(_open(contents.files[files[0]]))
        metadata = [_open(contents.files[file]).metadata for file in files]
        groups = [own.row_group(n) for own in metadata for n in range(own.num_row_groups)]
        rows = sum(own.num_rows for own in metadata)
        found.add(SplitInfo(name, num_bytes=sum(group.total_byte_size for group in groups), num_examples=rows))
    return DatasetInfo(
        features=features,
        splits=found,
        dataset_size=sum(split.num_bytes for split in found.values()),
        download_size=sum(contents.files[file].stat().st_size for file in _files(splits)),
    )


def _with_note(body: str) -> str:
    """Return the card's text with a sentence about the images below its title."""
    title, newline, rest = body.lstrip("\n").partition("\n")
    note = (
        "**This repository holds no images.** The columns "
        + " and ".join(f"`{name}`" for name in FILE_COLUMNS.values())
        + " name their files, where the names are known."
    )
    return f"\n{title}{newline}\n{note}\n{rest}"
