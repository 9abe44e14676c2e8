"""What the rows hold, counted over the written files, and a page of samples to read."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import xxhash

from conclip.negation.pipeline.folder import HYBRID_KIND

SAMPLES = 40
_QUANTILES = (5, 25, 50, 75, 95)
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
# Product -> its column of texts, the prefix of its record, and whether it is the hybrids of that column.
_PRODUCTS = {
    "false": ("negated_captions", "negation", None),
    "true": ("true_negations", "true_negation", False),
    "true_foil": ("true_negation_foils", "true_negation_foil", False),
    "hybrid": ("true_negations", "true_negation", True),
    "hybrid_foil": ("true_negation_foils", "true_negation_foil", True),
    "swap": ("hard_negatives", "hard_negative", None),
}
_KINDS = {"negation": "negation_kinds", "hard_negative": "hard_negative_kinds"}


def read_rows(files: list[Path]) -> Iterator[dict]:
    """The rows of all files, without their images."""
    for path in files:
        file = pq.ParquetFile(path)
        columns = [name for name in file.schema_arrow.names if "image" not in name]
        for batch in file.iter_batches(batch_size=1_000, columns=columns):
            yield from batch.to_pylist()


def texts_of(row: dict, product: str) -> list[dict]:
    """The texts of a product in a row: dicts of text, kind, rule, maker, target, span."""
    column, prefix, hybrid = _PRODUCTS[product]
    kinds = row[_KINDS.get(prefix, "true_negation_kinds")]
    record = (row[f"{prefix}_{name}"] for name in ("rules", "makers", "targets", "spans"))
    return [
        dict(zip(("text", "kind", "rule", "maker", "target", "span"), values, strict=True))
        for values in zip(row[column], kinds, *record, strict=True)
        if hybrid is None or (values[1] == HYBRID_KIND) is hybrid
    ]


class _Tally:
    """What is counted of one product, in histograms: memory does not grow with the rows."""

    def __init__(self):
        self.texts = 0
        self.kinds: dict[str, int] = {}
        self.rules: dict[str, int] = {}
        self.makers: dict[str, int] = {}
        self.positions = np.zeros(101, np.int64)
        self.words = np.zeros(201, np.int64)

    def add(self, found: dict, caption: str) -> None:
        self.texts += 1
        for counts, key in ((self.kinds, "kind"), (self.rules, "rule"), (self.makers, "maker")):
            counts[found[key]] = counts.get(found[key], 0) + 1
        start, end = found["span"]
        self.positions[min(100, round(50 * (start + end) / max(1, len(caption))))] += 1
        self.words[min(200, len(_WORD.findall(found["text"])))] += 1

    def told(self) -> dict:
        def ordered(counts):
            return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

        return {
            "kinds": ordered(self.kinds),
            "rules": ordered(self.rules),
            "makers": ordered(self.makers),
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
        reasons: product -> reason -> how many captions have none for that reason.

    Returns:
        Counts as JSON has them. Shares are of the captions; positions are those of the middle of what was negated, in
        per cent of the caption's length; "duplicates" are texts that stood in an earlier row of the same product.
        8 bytes a text are held for these.
    """
    tallies: dict[str, _Tally] = {}
    seen: dict[str, _Hashes] = {}
    rows, lengths = 0, np.zeros(201, np.int64)
    for row in read_rows(files):
        rows += 1
        lengths[min(200, len(_WORD.findall(row["caption"])))] += 1
        for product in _PRODUCTS:
            for found in texts_of(row, product):
                tallies.setdefault(product, _Tally()).add(found, row["caption"])
                seen.setdefault(product, _Hashes()).add(found["text"])
    return {
        "captions": captions,
        "rows": rows,
        "left_out": captions - rows,
        "yield": {
            product: {"texts": tally.texts, "share": round(tally.texts / captions, 4)}
            for product, tally in tallies.items()
        },
        "duplicates": {product: hashes.duplicates() for product, hashes in seen.items()},
        "not_made": {
            product: dict(sorted(counts.items(), key=lambda item: -item[1]))
            for product, counts in sorted(reasons.items())
        },
        "caption_words": quantiles(lengths),
        "products": {product: tally.told() for product, tally in tallies.items()},
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
    path.write_text("\n".join(pages), encoding="utf-8")


def _sample(row: dict) -> str:
    lines = [f"## {_plain(row['caption'])}\n", f"Source row {row['source_row']}, caption {row['source_caption']}.\n"]
    lines += ["| product | text | kind | rule | target | in the caption |", "|---|---|---|---|---|---|"]
    for product in _PRODUCTS:
        for found in texts_of(row, product):
            start, end = found["span"]
            cells = (product, found["text"], found["kind"], found["rule"], found["target"], row["caption"][start:end])
            lines.append(f"| {' | '.join(map(_plain, cells))} |")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """`text` without line breaks, its marks of Markdown shown as they are."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))
