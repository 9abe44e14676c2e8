"""
The run: captions in, a folder out, in two stages that a repeated command continues.

Both stages are `Dataset.map` over units of some hundred captions, one shard (Parquet file) at a time. Stage 1 parses
the captions and names their objects; absent nouns are counted over these. Stage 2 negates and writes the shard. What
is finished stays in the folder: parses of a shard below `.work`, rows of a shard below `data`.
"""

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import multiprocess
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from datasets import Dataset, Features, Sequence, Value
from spacy.tokens import DocBin

from conclip.atomic_write import remove, write_atomically
from conclip.errors import UsageError, one_line
from conclip.negation import negator
from conclip.negation.lexicon.absent import AbsentNouns
from conclip.negation.lexicon.counts import NameCounts, PairCounts
from conclip.negation.pipeline.distractor_images import DistractorImages
from conclip.negation.pipeline.folder import WORK, begin, write_json
from conclip.negation.pipeline.output import make_card, make_report, uncompressed_bytes, write_parquet, write_samples
from conclip.negation.pipeline.source import Source
from conclip.negation.rows import as_columns, features, is_usable

REPORT_FILE, SAMPLES_FILE = "report.json", "samples.md"
NOUNS_FILE = "nouns.json"
# Rows of a row group; with images few, so that one fits in memory.
_ROW_GROUP, _ROW_GROUP_OF_IMAGES = 1_000, 128
_PARSED = Features(
    {
        "first": Value("int64"),
        "last": Value("int64"),
        # The parses in spaCy's own format, some 75 bytes a caption.
        "docs": Value("binary"),
        "objects": Sequence(Sequence(Value("string"))),
    }
)
_ATTRIBUTES = ["TAG", "LEMMA", "DEP", "HEAD"]


class NothingNegated(UsageError):
    """Report a split without a caption that could be negated."""


@dataclass(frozen=True)
class Shard:
    """One Parquet file: captions `first` to `last` (excluded) of a split."""

    split: str
    name: str
    first: int
    last: int

    def units(self) -> Dataset:
        """Return the units, a row each: what spaCy takes at a time is one unit, however many processes there are."""
        firsts = list(range(self.first, self.last, negator.BATCH))
        return Dataset.from_dict({"first": firsts, "last": [min(one + negator.BATCH, self.last) for one in firsts]})


def plan(source: Source, captions_per_shard: int) -> list[Shard]:
    """Return the shards of all splits."""
    shards = []
    for split in source.splits:
        first, last = int(source.offsets[split.first]), int(source.offsets[split.last])
        starts = range(first, last, captions_per_shard)
        shards += [
            Shard(
                split.name,
                f"{split.name}-{number:05}-of-{len(starts):05}",
                start,
                min(start + captions_per_shard, last),
            )
            for number, start in enumerate(starts)
        ]
    return shards


def write_folder(
    source: Source,
    output: Path,
    generator,
    settings: dict,
    distractors: DistractorImages | None = None,
    captions_per_shard: int = 10_240,
    num_proc: int = 1,
) -> str:
    """
    Write a folder of negations and return what to print.

    A folder that was begun with the same settings is continued: shards that are parsed or written are not made again.

    Args:
        source: the captions.
        output: the folder, new or begun by this function.
        generator: a `GrammarGenerator` or `LanguageModelGenerator`.
        settings: what the rows depend on besides the captions, as JSON has it; recorded in the folder.
        distractors: images to embed beside those of the source.
        captions_per_shard: captions of one Parquet file.
        num_proc: processes; the rows are the same whatever their number.

    Raises:
        UsageError: other settings than those of the folder, an image that cannot be read, or no row at all.
    """
    started = time.monotonic()
    settings = begin(output, source, settings)
    if (output / "README.md").exists():
        return f"{output} was finished before with these settings: nothing to do."
    shards = plan(source, captions_per_shard)
    # Loaded before the processes are forked, so that they share it.
    _ = generator.nlp
    try:
        for shard in shards:
            if not _parsed_path(output, shard).exists():
                parse_shard(source, shard, output, generator, num_proc)
        absent_nouns = fit_absent_nouns(source, shards, output)
        for shard in shards:
            if not _counts_path(output, shard).exists():
                write_shard(source, shard, distractors, output, generator, absent_nouns, num_proc)
    except pa.ArrowException as error:
        raise UsageError(
            f"a file in {output / WORK} is damaged ({one_line(error)}): delete this folder, and start again."
        ) from error
    except RuntimeError as error:
        if "subprocesses has abruptly died" not in str(error):
            raise
        raise UsageError(
            "a process was ended from outside, perhaps for lack of memory; the same command continues from here, "
            "with a smaller --num_proc if necessary."
        ) from error
    return finish(output, source, shards, settings, time.monotonic() - started, num_proc)


def _parsed_path(output: Path, shard: Shard) -> Path:
    return output / WORK / f"{shard.name}.parquet"


def _counts_path(output: Path, shard: Shard) -> Path:
    return output / WORK / f"{shard.name}.json"


def _map(units: Dataset, function, columns: Features, num_proc: int, what: str, **options) -> Dataset:
    return units.map(
        function,
        batched=True,
        batch_size=1,
        remove_columns=units.column_names,
        features=columns,
        num_proc=min(num_proc, len(units)) if num_proc > 1 else None,
        load_from_cache_file=False,
        # Without one, `datasets` would hash the source with all its files.
        new_fingerprint=xxhash.xxh3_64_hexdigest(what.encode()),
        desc=what,
        **options,
    )


def parse_shard(source: Source, shard: Shard, output: Path, generator, num_proc: int) -> None:
    """Stage 1: parse the captions of a shard and name their objects."""
    options = {"fn_kwargs": {"source": source, "generator": generator}}
    parsed = _map(shard.units(), parse_unit, _PARSED, num_proc, f"Parsing {shard.name}", **options)
    write_parquet(parsed, _parsed_path(output, shard), _ROW_GROUP)


def parse_unit(unit: dict[str, list], source: Source, generator) -> dict[str, list]:
    """Return the parses of a unit's captions, and the objects that they name: a row of `_PARSED`."""
    end_with_parent()
    (first,), (last,) = unit["first"], unit["last"]
    docs = negator.parse_captions(generator, source.captions(first, last))
    content = DocBin(attrs=_ATTRIBUTES, docs=docs).to_bytes()
    return {"first": [first], "last": [last], "docs": [content], "objects": [negator.name_objects(docs)]}


def end_with_parent() -> None:
    """End this process with the one that started it, and by it alone: left behind, it would wait for work forever."""
    parent = multiprocess.parent_process()
    if parent is not None and not any(thread.name == "end_with_parent" for thread in threading.enumerate()):
        # The terminal sends Ctrl-C to all processes; the first one ends the others.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_after, args=(parent,), name="end_with_parent", daemon=True).start()


def _end_after(parent) -> None:
    parent.join()
    os._exit(1)


def fit_absent_nouns(source: Source, shards: list[Shard], output: Path) -> AbsentNouns:
    """Count nouns, or read what an earlier run counted, and fit how absent ones are sampled."""
    path = output / WORK / NOUNS_FILE
    if path.exists():
        try:
            return AbsentNouns.of_counts(PairCounts.from_json(path.read_text(encoding="utf-8")))
        except (ValueError, OSError) as error:
            raise UsageError(f"{path} cannot be read as counts of nouns: delete it, and start again.") from error

    def units():
        for shard in shards:
            for batch in pq.ParquetFile(_parsed_path(output, shard)).iter_batches(
                columns=["first", "last", "objects"]
            ):
                yield from batch.to_pylist()

    names = NameCounts.count(objects for unit in units() for objects in unit["objects"]).commonest()

    def rows():
        for unit in units():
            numbers = range(unit["first"], unit["last"])
            sampled = list(filter(names.is_sampled, numbers))
            texts = dict(zip(sampled, source.image_texts(sampled), strict=True))
            for number, objects in zip(numbers, unit["objects"], strict=True):
                yield number, objects, texts.get(number)

    counts = PairCounts.count(names, rows())
    write_atomically(path, counts.to_json().encode())
    return AbsentNouns.of_counts(counts)


def write_shard(
    source: Source,
    shard: Shard,
    distractors: DistractorImages | None,
    output: Path,
    generator,
    absent_nouns: AbsentNouns,
    num_proc: int,
) -> None:
    """Stage 2: negate the captions of a shard and write its rows. A shard is finished when its counts are written."""
    units = Dataset.from_dict(pq.read_table(_parsed_path(output, shard)).to_pydict(), features=_PARSED)
    with_images = source.image_column is not None
    columns = Features({**features(with_images), "usable": Value("bool"), "reasons": Value("string")})
    batch_size = _ROW_GROUP_OF_IMAGES if with_images else _ROW_GROUP
    rows = output / WORK / "rows"
    remove(rows)
    rows.mkdir()
    given = {"source": source, "generator": generator, "absent_nouns": absent_nouns, "distractors": distractors}
    try:
        made = _map(
            units,
            negate_unit,
            columns,
            num_proc,
            f"Negating {shard.name}",
            # On disk: the images of a shard may be larger than the memory.
            cache_file_name=str(rows / "rows.arrow"),
            writer_batch_size=batch_size,
            fn_kwargs=given,
        )
        reasons: dict[str, Counter] = {}
        for text, captions in Counter(made["reasons"]).items():
            for negation_type, reason in json.loads(text).items():
                reasons.setdefault(negation_type, Counter())[reason] += captions
        usable = np.flatnonzero(made.with_format("numpy")["usable"][:])
        selected = made.select(usable).remove_columns(["usable", "reasons"])
        path = output / "data" / f"{shard.name}.parquet"
        write_parquet(selected, path, batch_size)
        counts = {"split": shard.split, "rows": len(selected), "bytes": uncompressed_bytes(path), "reasons": reasons}
        write_json(_counts_path(output, shard), counts)
    finally:
        # Also after an error: on a full disk, they take the room that a repeated command needs.
        remove(rows)


def negate_unit(
    unit: dict[str, list],
    source: Source,
    generator,
    absent_nouns: AbsentNouns,
    distractors: DistractorImages | None,
) -> dict[str, list]:
    """Return the rows of a unit's captions, and for each whether it is usable and why others were not made."""
    end_with_parent()
    (first,), (last,), (objects,) = unit["first"], unit["last"], unit["objects"]
    numbers = range(first, last)
    docs = list(DocBin().from_bytes(unit["docs"][0]).get_docs(generator.nlp.vocab))
    image_texts = source.image_texts(numbers)
    rows = []
    made = negator.negate_docs(generator, docs, objects, numbers, image_texts, absent_nouns)
    for number, (row, result) in zip(numbers, made, strict=True):
        row["source_row"], row["source_caption"] = source.place(number)
        row["usable"], row["reasons"] = is_usable(row, generator.negation_types), json.dumps(result.reasons)
        rows.append(row)
    if source.image_column is not None:
        _add_images(rows, source, distractors)
    return as_columns(rows, rows[0])


def _add_images(rows: list[dict], source: Source, distractors: DistractorImages | None) -> None:
    """Add the images of the usable rows."""
    usable = [row for row in rows if row["usable"]]
    at = [row["source_row"] for row in usable]
    found = zip(source.images(at), distractors.images(at) if distractors else [[]] * len(at), strict=True)
    for row in rows:
        row["image"], row["distractor_images"] = next(found) if row["usable"] else (None, [])


def finish(output: Path, source: Source, shards: list[Shard], settings: dict, seconds: float, num_proc: int) -> str:
    """Write report, samples and card, the card last: a folder with a card is finished."""
    splits: dict[str, tuple[int, int]] = {}
    reasons: dict[str, Counter] = {}
    for shard in shards:
        counts = json.loads(_counts_path(output, shard).read_text(encoding="utf-8"))
        rows, nbytes = splits.get(shard.split, (0, 0))
        splits[shard.split] = (rows + counts["rows"], nbytes + counts["bytes"])
        for negation_type, found in counts["reasons"].items():
            reasons.setdefault(negation_type, Counter()).update(found)
    empty = next((name for name, (rows, _) in splits.items() if not rows), None)
    if empty:
        # The same command makes them again: a server of a language model may answer by then.
        for shard in shards:
            if shard.split == empty:
                _counts_path(output, shard).unlink()
                (output / "data" / f"{shard.name}.parquet").unlink()
        ((reason, _),) = sum(reasons.values(), Counter()).most_common(1) or [("no reason", 0)]
        raise NothingNegated(
            f"no negation could be made of any caption of the split {empty!r} (most often: {reason}); "
            f"the column {source.caption_column} has to hold English sentences that name things."
        )
    files = [output / "data" / f"{shard.name}.parquet" for shard in shards]
    report = make_report(files, source.num_captions, reasons, settings)
    write_json(output / REPORT_FILE, report)
    write_samples(output / SAMPLES_FILE, files, settings["seed"])
    rows = sum(rows for rows, _ in splits.values())
    yields = {name: (made["texts"], made["share"]) for name, made in report["yield"].items()}
    fields = {
        "captions": f"{source.num_captions:,}",
        "skipped": f"{source.num_captions - rows:,}",
        "strategy": settings["strategy"],
        "generator": settings["generator"].replace("_", " "),
        "seed": str(settings["seed"]),
        "yields": "\n".join(f"| {name} | {texts:,} | {share:.1%} |" for name, (texts, share) in yields.items()),
    }
    card = make_card(splits, output, source.image_column is not None, fields)
    write_atomically(output / "README.md", card.encode())
    shutil.rmtree(output / WORK)
    speed = f"{seconds:.0f} s ({source.num_captions / seconds:.0f} captions/s, --num_proc {num_proc})"
    lines = [
        f"Wrote {output}: {rows:,} rows from {source.num_captions:,} captions in {speed}.",
        *(f"  {name}: {share:.1%} of the captions" for name, (_, share) in yields.items()),
        f"Examples are in {output / SAMPLES_FILE}, counts in {output / REPORT_FILE}. Load the rows with:",
        f"  python -c 'import datasets; print(datasets.load_dataset(\"{output}\"))'",
    ]
    return "\n".join(lines)
