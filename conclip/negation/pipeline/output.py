"""The folder that is written: Parquet files, card, report and a page of samples."""

import random
import re
import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import xxhash
from datasets import Dataset, DatasetInfo, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from conclip.atomic_write import write_atomically, written_beside
from conclip.negation.rows import COLUMNS_OF_TYPES, features, texts_of

CARD_TEMPLATE = Path(__file__).with_name("card.md")
PRETTY_NAME = "Negations of captions"
SAMPLES = 40
_QUANTILES = (5, 25, 50, 75, 95)
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def write_parquet(dataset: Dataset, path: Path, batch_size: int) -> None:
    """Write a Parquet file beside its place and rename it: it is there whole or not at all."""
    # Not `Dataset.to_parquet`, which decides the compression itself: rows of one image are neighbours, and zstd
    # stores its bytes only once.
    with (
        written_beside(path) as unfinished,
        pq.ParquetWriter(unfinished, dataset.features.arrow_schema, compression="zstd") as writer,
    ):
        for table in dataset.with_format("arrow").iter(batch_size):
            writer.write_table(table)


def uncompressed_bytes(path: Path) -> int:
    """Return the size of a Parquet file's columns before compression."""
    metadata = pq.ParquetFile(path).metadata
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))


def read_rows(files: list[Path]) -> Iterator[dict]:
    """Yield the rows of all files, without their images."""
    for path in files:
        file = pq.ParquetFile(path)
        columns = [name for name in file.schema_arrow.names if "image" not in name]
        for batch in file.iter_batches(batch_size=1_000, columns=columns):
            yield from batch.to_pylist()


def make_card(splits: dict[str, tuple[int, int]], output: Path, with_images: bool, summary: dict[str, str]) -> str:
    """Return README.md: the metadata that `load_dataset` reads, and the card.

    Args:
        splits: name -> rows and bytes.
        summary: the values of the template's other fields.
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
    body = string.Template(CARD_TEMPLATE.read_text(encoding="utf-8")).substitute(summary, rows=rows)
    return f"---\n{data}\n---\n\n{body}"


class _Tally:
    """Counts of one type of negation, in histograms: memory does not grow with the rows."""

    def __init__(self):
        self.texts = 0
        self.kinds: dict[str, int] = {}
        self.rules: dict[str, int] = {}
        self.generators: dict[str, int] = {}
        self.positions = np.zeros(101, np.int64)
        self.words = np.zeros(201, np.int64)

    def add(self, found: dict, caption: str) -> None:
        self.texts += 1
        for counts, key in ((self.kinds, "kind"), (self.rules, "rule"), (self.generators, "generator")):
            counts[found[key]] = counts.get(found[key], 0) + 1
        start, end = found["span"]
        self.positions[min(100, round(50 * (start + end) / max(1, len(caption))))] += 1
        self.words[min(200, len(_WORD.findall(found["text"])))] += 1

    def summary(self) -> dict:
        def ordered(counts):
            return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

        return {
            "kinds": ordered(self.kinds),
            "rules": ordered(self.rules),
            "generators": ordered(self.generators),
            "position_percent": quantiles(self.positions),
            "words": quantiles(self.words),
        }


def quantiles(histogram: np.ndarray) -> dict[str, int]:
    """The value below which each of some per cents of the counts lie; the last bin holds all that is larger."""
    cumulated = np.cumsum(histogram)
    if not cumulated[-1]:
        return {}
    return {f"{share}%": int(np.searchsorted(cumulated, cumulated[-1] * share / 100)) for share in _QUANTILES}


def make_report(files: list[Path], captions: int, reasons: dict, settings: dict) -> dict:
    """
    Args:
        captions: how many there were.
        reasons: negation_type -> reason -> how many captions have none for that reason.

    Returns:
        Counts as JSON has them. Shares are of the captions; positions are those of the middle of what was negated, in
        per cent of the caption's length; "duplicates" are texts that an earlier row has with the same type. Each text
        takes 8 bytes of memory for these.
    """
    tallies: dict[str, _Tally] = {}
    seen: dict[str, _Hashes] = {}
    rows, lengths = 0, np.zeros(201, np.int64)
    for row in read_rows(files):
        rows += 1
        lengths[min(200, len(_WORD.findall(row["caption"])))] += 1
        for negation_type in COLUMNS_OF_TYPES:
            for found in texts_of(row, negation_type):
                tallies.setdefault(negation_type, _Tally()).add(found, row["caption"])
                seen.setdefault(negation_type, _Hashes()).add(found["text"])
    return {
        "captions": captions,
        "rows": rows,
        "skipped": captions - rows,
        "yield": {
            negation_type: {"texts": tally.texts, "share": round(tally.texts / captions, 4)}
            for negation_type, tally in tallies.items()
        },
        "duplicates": {negation_type: hashes.duplicates() for negation_type, hashes in seen.items()},
        "not_made": {
            negation_type: dict(sorted(counts.items(), key=lambda item: -item[1]))
            for negation_type, counts in sorted(reasons.items())
        },
        "caption_words": quantiles(lengths),
        "negation_types": {negation_type: tally.summary() for negation_type, tally in tallies.items()},
        "too_long": f"over 77 tokens of {settings['tokenizer_name']}" if settings["tokenizer_name"] else "not checked",
        "settings": settings,
    }


class _Hashes:
    """64-bit hashes of texts, in arrays of a few megabytes."""

    def __init__(self):
        self.full: list[np.ndarray] = []
        self.last: list[int] = []

    def add(self, text: str) -> None:
        self.last.append(xxhash.xxh3_64_intdigest(text.lower().encode("utf-8", "surrogatepass")))
        if len(self.last) >= 100_000:
            self._store()

    def _store(self) -> None:
        self.full.append(np.array(self.last, np.uint64))
        self.last = []

    def duplicates(self) -> int:
        self._store()
        hashes = np.concatenate(self.full)
        return len(hashes) - len(np.unique(hashes))


def write_samples(path: Path, files: list[Path], seed: int) -> None:
    """A Markdown page of random rows: the caption with what was negated marked, and each text with its rule."""
    rows = [pq.ParquetFile(file).metadata.num_rows for file in files]
    chosen = set(random.Random(seed).sample(range(sum(rows)), min(SAMPLES, sum(rows))))
    pages = [f"# {len(chosen)} random rows of {sum(rows):,}\n"]
    first = 0
    for file, count in zip(files, rows, strict=True):
        wanted = sorted(number - first for number in chosen if first <= number < first + count)
        first += count
        if wanted:
            parquet = pq.ParquetFile(file)
            columns = [name for name in parquet.schema_arrow.names if "image" not in name]
            pages += map(_sample, parquet.read(columns=columns).take(wanted).to_pylist())
    write_atomically(path, "\n".join(pages).encode("utf-8", "replace"))


def _sample(row: dict) -> str:
    lines = [f"## {_plain(row['caption'])}\n", f"Source row {row['source_row']}, caption {row['source_caption']}.\n"]
    lines += ["| negation_type | text | kind | rule | target | in the caption |", "|---|---|---|---|---|---|"]
    for negation_type in COLUMNS_OF_TYPES:
        for found in texts_of(row, negation_type):
            start, end = found["span"]
            cells = (
                negation_type,
                found["text"],
                found["kind"],
                found["rule"],
                found["target"],
                row["caption"][start:end],
            )
            lines.append(f"| {' | '.join(map(_plain, cells))} |")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """`text` without line breaks, its marks of Markdown shown as they are."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))
