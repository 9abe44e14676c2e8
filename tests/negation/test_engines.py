"""Batches of any size and order give the rows of `negate_captions`; the engines themselves are in test_clusters."""

import pickle
import subprocess
import sys
from functools import reduce
from operator import add

import pyarrow as pa
import pytest
from negate_runs import IMAGES, captions

from conclip.errors import UsageError
from conclip.negation import AbsentNouns, CaptionNegator, NameCounts, PairCounts, engines, negate_captions

pytest_plugins = ["negate_runs"]
TABLE = pa.table({"index": range(IMAGES), "caption": [captions(image)[0] for image in range(IMAGES)]})
ORDER = [7 * row % IMAGES for row in range(IMAGES)]


def cut(table: pa.Table, size: int) -> list[pa.Table]:
    return [table.slice(first, size) for first in range(0, len(table), size)]


def rows_of(tables) -> list[dict]:
    return sorted(pa.concat_tables(tables).to_pylist(), key=lambda row: row["index"])


@pytest.fixture(scope="module")
def expected() -> list[dict]:
    rows = negate_captions(TABLE["caption"].to_pylist(), seed=3)
    assert sum(bool(row["true_negations"]) for row in rows) > IMAGES / 2
    return [{"index": index, **row} for index, row in enumerate(rows)]


@pytest.fixture(scope="module")
def negator() -> CaptionNegator:
    """As on several machines: each batch is counted by itself, and the counts travel as JSON."""
    batches = list(map(engines.add_objects, cut(TABLE, 7)))

    def total(kind, function, **options) -> NameCounts | PairCounts:
        made = pa.concat_tables(function(batch, **options) for batch in reversed(batches))
        return reduce(add, map(kind.from_json, made["counts"].to_pylist()))

    names = total(NameCounts, engines.batch_name_counts).commonest()
    pairs = total(PairCounts, engines.batch_pair_counts, names=names)
    return CaptionNegator(AbsentNouns.of_counts(pairs), seed=3, index_column="index")


def as_read(rows: list[dict]) -> list[dict]:
    """Arrow gives lists for the tuples of a span."""
    return [
        {name: [*map(list, value)] if name.endswith("spans") else value for name, value in sorted(row.items())}
        for row in rows
    ]


@pytest.mark.parametrize("size", [1, 13, IMAGES])
def test_batches_of_any_size_and_order_give_the_same_rows(size, negator, expected):
    assert sorted(ORDER) == list(range(IMAGES)) != ORDER
    made = rows_of(engines.negate(batch, negator) for batch in cut(TABLE.take(ORDER), size))
    assert as_read(made) == as_read(expected)


def test_pandas_frames_give_the_same_rows(negator, expected):
    frames = (batch.to_pandas() for batch in cut(TABLE, 25))
    made = engines.in_pandas(engines.negate, negator=negator)(frames)
    assert as_read(rows_of(pa.Table.from_pandas(frame) for frame in made)) == as_read(expected)


def test_other_columns_stay_and_an_empty_batch_has_the_same_columns(negator):
    table = TABLE.slice(0, 2).append_column("url", pa.array(["a", "b"])).append_column("objects", pa.array([[], []]))
    made, empty = engines.negate(table, negator), engines.negate(table.slice(0, 0), negator)
    assert made.schema == empty.schema and len(empty) == 0
    assert made["url"].to_pylist() == ["a", "b"] and made["objects"].to_pylist()[0]
    assert made.schema.field("negation_spans").type == pa.list_(pa.list_(pa.int32()))


def test_the_schema_for_spark_names_each_column_once():
    class Type:
        def simpleString(self):  # noqa: N802
            return "array<string>"

    class Field:
        def __init__(self, name):
            self.name, self.dataType = name, Type()

    class Frame:
        schema = [Field("tags"), Field("objects")]

    columns = engines.spark_schema(Frame).split(", ")
    assert columns[0] == "`tags` array<string>" and "`negation_spans` array<array<int>>" in columns
    assert columns.count("`objects` array<string>") == 1


def test_an_index_is_needed():
    for value in (-1, 1.5, None, "0", True):
        with pytest.raises(UsageError, match=r"column 'index' holds .*; an index has to be an integer of at least 0"):
            CaptionNegator(index_column="index")({"caption": ["a dog"], "index": [value]})
    with pytest.raises(UsageError, match="caption 12 is ''"):
        engines.add_objects(pa.table({"caption": ["a dog", ""], "index": [3, 12]}))
    with pytest.raises(UsageError, match="or name the index_column of CaptionNegator"):
        engines.negate(TABLE, CaptionNegator())
    with pytest.raises(UsageError, match="caption 12 is None"):
        CaptionNegator(index_column="index")({"caption": [None], "index": [12]})


# In a process that has nothing loaded: what is unpickled there loads spaCy with the first batch, once.
WORKER = """
import pickle, sys
negator = pickle.load(open(sys.argv[1], "rb"))
from conclip.negation.grammar.generator import load_spacy
assert "spacy" not in sys.modules and "torch" not in sys.modules
# Which spaCy would import, if there is one: seconds that this test has no use for.
sys.modules["torch"] = None
for index in (0, 1):
    assert negator({"caption": ["a dog on a couch"], "index": [index]})["negated_captions"][0]
assert load_spacy.cache_info().misses == 1
"""


def test_what_travels_is_small_and_loads_spacy_late(negator, tmp_path):
    (tmp_path / "negator").write_bytes(pickle.dumps(negator))
    assert (tmp_path / "negator").stat().st_size < 100_000
    subprocess.run([sys.executable, "-c", WORKER, tmp_path / "negator"], check=True)
