"""The rows of the output and the folder around them: CC-Neg's layout, plus the record of what was negated."""

import os
import string
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import DatasetInfo, Features, SplitDict, SplitInfo, Value
from datasets import Sequence as ListOf
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from conclip.negation.grammar.rows import Negation, Result
from dataset_scripts.schema import FEATURES

CARD_TEMPLATE = Path(__file__).with_name("card.md")
PRETTY_NAME = "Negations of captions"
# What is recorded of each text, in columns aligned with its list.
_RECORD = {
    "rules": ("rule", Value("string")),
    "makers": ("maker", Value("string")),
    "targets": ("target", Value("string")),
    "spans": ("span", ListOf(Value("int32"))),
}
# Prefix of the record's columns -> the products whose texts the list holds, in this order.
_LISTS = {
    "negation": ("false",),
    "true_negation": ("true", "hybrid"),
    "true_negation_foil": ("true_foil", "hybrid_foil"),
    "hard_negative": ("swap",),
}
HYBRID_KIND = "hybrid"
# Rows of images read together; texts alone are read whole units at a time.
_ROW_GROUP = 128


def features(with_images: bool) -> Features:
    """`schema.FEATURES`, without the image columns where there are no images, and the record."""
    kept = {name: value for name, value in FEATURES.items() if with_images or "image" not in name}
    kept |= {"hard_negatives": ListOf(Value("string")), "hard_negative_kinds": ListOf(Value("string"))}
    for prefix in _LISTS:
        kept |= {f"{prefix}_{name}": ListOf(value) for name, (_, value) in _RECORD.items()}
    return Features(kept | {"source_row": Value("int64"), "source_caption": Value("int32")})


def make_row(caption: str, result: Result, nouns: Sequence[str]) -> dict:
    """The text columns of one row."""
    made = {prefix: [result.negations.get(product) for product in _LISTS[prefix]] for prefix in _LISTS}
    lists: dict[str, list[Negation]] = {name: [one for one in found if one] for name, found in made.items()}
    row = {
        "caption": caption,
        "negated_captions": [one.text for one in lists["negation"]],
        "negation_kinds": [one.kind for one in lists["negation"]],
        "objects": list(nouns),
        "true_negations": [one.text for one in lists["true_negation"]],
        "true_negation_foils": [one.text for one in lists["true_negation_foil"]],
        "true_negation_kinds": [
            HYBRID_KIND if one.product == "hybrid" else one.kind for one in lists["true_negation"]
        ],
        "hard_negatives": [one.text for one in lists["hard_negative"]],
        "hard_negative_kinds": [one.kind for one in lists["hard_negative"]],
    }
    for prefix, negations in lists.items():
        row |= {f"{prefix}_{name}": [getattr(one, field) for one in negations] for name, (field, _) in _RECORD.items()}
    return row


def is_kept(row: dict, products: Sequence[str]) -> bool:
    """Whether training can use a row: with a false negation, where these are made; else with any text at all."""
    if "false" in products:
        return bool(row["negated_captions"])
    return bool(row["true_negations"] or row["hard_negatives"])


class ShardWriter:
    """A Parquet file that is there whole or not at all: written beside, renamed by `close`."""

    def __init__(self, path: Path, with_images: bool):
        self.path, self.with_images = path, with_images
        self.schema = features(with_images).arrow_schema
        self.unfinished = path.with_name(f"unfinished-{uuid4().hex}")
        # Rows of one image lie together: zstd keeps its bytes but once.
        self._writer = pq.ParquetWriter(self.unfinished, self.schema, compression="zstd")
        self.rows, self.nbytes = 0, 0

    def write(self, rows: list[dict]) -> None:
        columns = {name: [row[name] for row in rows] for name in self.schema.names}
        table = pa.table(columns, schema=self.schema)
        self._writer.write_table(table, row_group_size=_ROW_GROUP if self.with_images else None)
        self.rows, self.nbytes = self.rows + len(rows), self.nbytes + table.nbytes

    def close(self) -> None:
        self._writer.close()
        os.replace(self.unfinished, self.path)

    def discard(self) -> None:
        self._writer.close()
        self.unfinished.unlink(missing_ok=True)


def make_card(splits: dict[str, tuple[int, int]], output: Path, with_images: bool, told: dict[str, str]) -> str:
    """README.md: the metadata `load_dataset` reads, and the card.

    Args:
        splits: name -> rows and bytes in memory.
        told: what the template's other fields say.
    """
    total = sum(rows for rows, _ in splits.values())
    sizes = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"))
    data = DatasetCardData(
        language="en",
        license="other",
        license_name="that-of-the-captions",
        pretty_name=PRETTY_NAME,
        tags=["negation", "contrastive-learning", "clip", "arxiv:2403.20312"],
        size_categories=next((name for limit, name in sizes if total < limit), "n>10M"),
    )
    found = SplitDict()
    for name, (rows, nbytes) in splits.items():
        found.add(SplitInfo(name, num_bytes=nbytes, num_examples=rows))
    info = DatasetInfo(
        features=features(with_images),
        splits=found,
        dataset_size=sum(nbytes for _, nbytes in splits.values()),
        download_size=sum(path.stat().st_size for path in (output / "data").iterdir()),
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    files = [{"split": name, "path": f"data/{name}-*.parquet"} for name in splits]
    MetadataConfigs({"default": {"data_files": files}}).to_dataset_card_data(data)
    rows = "\n".join(f"| {name} | {rows:,} |" for name, (rows, _) in splits.items())
    body = string.Template(CARD_TEMPLATE.read_text(encoding="utf-8")).substitute(told, rows=rows)
    return f"---\n{data}\n---\n\n{body}"
