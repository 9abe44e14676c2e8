"""What holds for any input, tried on random ones that are the same in every run."""

import csv
import itertools
import json
import math
import unicodedata
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tiny import TEXT_LENGTH, VOCABULARY, tiny_tokenizer

import modeling_conclip.loss_conclip as loss
from conclip.data import load_split
from conclip.embedding.tokens import TextTokenizer
from conclip.errors import LONGEST_MESSAGE, UsageError
from conclip.metrics.choice_accuracy.choice_accuracy import choice_accuracy
from conclip.metrics.group_score.group_score import group_score
from conclip.metrics.itt_tot.itt_tot import itt_tot
from conclip.metrics.pair_accuracy.pair_accuracy import pair_accuracy
from conclip.metrics.retrieval_recall.retrieval_recall import retrieval_recall
from conclip.negation import negate_captions
from conclip.negation.query import parse_query
from conclip.training.collator import PairCollator
from modeling_conclip.packing_conclip import BLOCK, PADDING, pack_texts


def tries(count: int):
    """Settings for so many examples; a fixture of a test may serve all of them."""
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# Losses


@st.composite
def batches(draw, kinds=4):
    """(kinds, N, d) embeddings that are not normalised, float64."""
    rows, width, seed = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(0, 2**31))
    return torch.randn(kinds, rows, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


scales = st.floats(0, 100).map(lambda value: torch.tensor(value, dtype=torch.float64))


def cross_entropy(queries, keys, scale) -> float:
    """Minus the log of the softmax at the index of the row, in plain Python."""
    total = 0.0
    for index, query in enumerate(queries.tolist()):
        logits = [float(scale) * sum(a * b for a, b in zip(query, key, strict=True)) for key in keys.tolist()]
        highest = max(logits)
        total += highest + math.log(sum(math.exp(logit - highest) for logit in logits)) - logits[index]
    return total / len(queries)


@tries(40)
@given(batches(), scales, st.sampled_from(["clip", "negclip", "conclip"]), st.integers(1, 40))
def test_terms_equal_a_plain_loop(embeds, scale, kind, at_a_time):
    images, captions, negated, distractors = map(loss.l2_normalize, embeds)
    given_negated = None if kind == "clip" else negated
    given_distractors = distractors if kind == "conclip" else None
    columns = captions if kind == "clip" else torch.cat([captions, negated])
    expected = [cross_entropy(images, columns, scale)]
    if kind == "conclip":
        expected.append(cross_entropy(captions, torch.cat([images, distractors]), scale))
        expected.append(cross_entropy(distractors, torch.cat([negated, captions]), scale))
    else:
        expected.append(cross_entropy(captions, images, scale))
    for logits in (loss.LOGITS_AT_A_TIME, at_a_time):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loss, "LOGITS_AT_A_TIME", logits)
            found = loss.conclip_terms(images, captions, scale, given_negated, given_distractors)
        found = [float(term) for term in found if term is not None]
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert all(term > -1e-12 for term in found)


@tries(30)
@given(batches(), scales, st.randoms(use_true_random=False), st.floats(-50, 50))
def test_terms_do_not_depend_on_the_order_of_rows_nor_on_a_shift_of_the_logits(embeds, scale, random, shift):
    unit = [loss.l2_normalize(rows) for rows in embeds]
    order = random.sample(range(len(unit[0])), len(unit[0]))
    terms = [loss.conclip_terms(i, c, scale, n, d) for i, c, n, d in (unit, [rows[order] for rows in unit])]
    assert [*map(float, terms[1])] == pytest.approx([*map(float, terms[0])], rel=1e-9, abs=1e-12)
    # One more coordinate adds the same number to all logits.
    queries, keys = unit[:2]
    ones = torch.ones(len(queries), 1, dtype=torch.float64)
    shifted = loss.contrastive_loss(torch.cat([queries, ones], 1), torch.cat([keys, shift * ones], 1), scale)
    assert float(shifted) == pytest.approx(float(loss.contrastive_loss(queries, keys, scale)), rel=1e-6, abs=1e-6)


@tries(6)
@given(batches(), st.floats(0.5, 10), st.lists(st.floats(0, 3), min_size=3, max_size=3).filter(any))
def test_gradients_of_the_weighted_loss(embeds, scale, weights):
    def weighted(images, captions, negated, distractors, scale):
        unit = map(loss.l2_normalize, (images, captions, negated, distractors))
        images, captions, negated, distractors = unit
        return loss.weighted_mean(loss.conclip_terms(images, captions, scale, negated, distractors), tuple(weights))

    inputs = [rows[:3].clone().requires_grad_() for rows in embeds]
    scale = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(weighted, (*inputs, scale), atol=1e-4)


@tries(25)
@given(batches(kinds=3), scales, st.integers(0, 2**31))
def test_distillation_terms_equal_a_plain_loop(embeds, scale, seed):
    texts, targets, images = map(loss.l2_normalize, embeds)
    moment = images.T @ images / len(images)
    truth = torch.rand(len(texts), len(images), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    l4 = l5 = l6 = 0.0
    for text, target, true in zip(texts.tolist(), targets.tolist(), truth.tolist(), strict=True):
        dots = [
            [sum(a * b for a, b in zip(one, image, strict=True)) for image in images.tolist()]
            for one in (text, target)
        ]
        l4 += 1 - sum(a * b for a, b in zip(text, target, strict=True))
        l5 += sum((float(scale) * (one - other)) ** 2 for one, other in zip(*dots, strict=True)) / len(images)
        logits = [float(scale) * dot for dot in dots[0]]
        rejected = sum(t * math.log1p(math.exp(-z)) for t, z in zip(true, logits, strict=True)) / max(1, sum(true))
        accepted = sum((1 - t) * math.log1p(math.exp(z)) for t, z in zip(true, logits, strict=True))
        l6 += (rejected + accepted / max(1, sum(1 - t for t in true))) / 2
    found = [*loss.distillation_terms(texts, targets, moment, scale), loss.truth_loss(texts, images, truth, scale)]
    assert [*map(float, found)] == pytest.approx([one / len(texts) for one in (l4, l5, l6)], rel=1e-8, abs=1e-8)


# Packed texts and batches

START = 9


@st.composite
def token_lists(draw):
    """Texts of few different tokens, so that many begin alike; all begin with the start token."""
    texts = draw(st.lists(st.lists(st.integers(0, 2), max_size=9), min_size=1, max_size=14))
    return [[START, *text] for text in texts]


def padded(texts: list[list[int]]) -> np.ndarray:
    length = max(map(len, texts))
    return np.array([[*text, *[PADDING] * (length - len(text))] for text in texts])


def path_to(packed: dict, node: int) -> list[int]:
    """The nodes that a node attends to, by the definition of `subtree_end`."""
    ends = packed["subtree_end"].tolist()
    return [other for other in range(node + 1) if node < ends[other]]


@tries(60)
@given(token_lists(), st.integers(1, 4), st.booleans())
def test_unpacking_packed_texts_gives_the_texts(texts, pieces, static_shapes):
    batches = pack_texts(padded(texts), min(pieces, len(texts)), static_shapes)
    unpacked = {}
    for packed in batches:
        size, ids = len(packed["input_ids"]), packed["input_ids"].tolist()
        assert size % BLOCK == 0
        for row, end in zip(packed["rows"].tolist(), packed["ends"].tolist(), strict=True):
            path = path_to(packed, end)
            assert row not in unpacked, "each text is once in all pieces"
            unpacked[row] = [ids[node] for node in path]
            assert packed["position_ids"][path].tolist() == list(range(len(path)))
        used = {node for end in packed["ends"].tolist() for node in path_to(packed, end)}
        assert used == set(range(len(used))), "padding is at the end alone"
        assert all(path_to(packed, node) == [node] for node in range(len(used), size)), "padding sees itself alone"
        own = [texts[row] for row in packed["rows"].tolist()]
        beginnings = {tuple(text[:stop]) for text in own for stop in range(1, len(text) + 1)}
        assert len(used) == len(beginnings), "what texts share is there once"
        for block, listed in enumerate(packed["ancestors"].tolist()):
            nodes = range(block * BLOCK, (block + 1) * BLOCK)
            outside = {other for node in nodes for other in path_to(packed, node) if other < nodes[0]}
            assert sorted(node for node in listed if node >= 0) == sorted(outside)
    assert [unpacked[row] for row in range(len(texts))] == texts


@tries(40)
@given(token_lists(), st.integers(1, 5), st.integers(0, 3))
def test_a_batch_holds_every_caption_once(texts, mini_batch_size, statements):
    captions, negated = texts, [text[::-1] for text in texts]
    columns = {"texts": padded([*captions, *negated]), "image_embeds": torch.zeros(len(texts), 2)}
    if statements:
        columns |= {"statements": padded(texts[:statements]), "text_targets": torch.zeros(len(texts[:statements]), 2)}
    batch = PairCollator(None, mini_batch_size)(columns)
    packed = batch.pop("packed_texts")
    rows = sorted(itertools.chain.from_iterable(piece["rows"].tolist() for piece in packed))
    assert rows == list(range(2 * len(texts) + len(texts[:statements])))
    assert len(packed) == -(-len(texts) // mini_batch_size)
    assert set(batch) == set(columns) - {"texts", "statements"}


TOKENIZE = TextTokenizer(tiny_tokenizer(), TEXT_LENGTH, VOCABULARY["<|endoftext|>"])


@tries(25)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_tokens_of_any_text_begin_and_end_as_the_model_expects(texts):
    tokens = TOKENIZE(texts)
    for row in tokens[range(len(texts))]:
        row = row[row != PADDING]
        assert row[0] == VOCABULARY["<|startoftext|>"] and row[-1] == VOCABULARY["<|endoftext|>"]
        assert len(row) <= TEXT_LENGTH


# Metrics: of few different scores, so that there are ties

few_scores = st.sampled_from([-1.0, 0.0, 0.1, 0.3])


def tables(width: int, least: int = 1):
    return st.lists(st.lists(few_scores, min_size=width, max_size=width), min_size=least, max_size=8)


@tries(40)
@given(tables(2))
def test_pair_accuracy_equals_counting(rows):
    found = pair_accuracy([true for true, _ in rows], [false for _, false in rows])
    correct, ties = sum(true > false for true, false in rows), sum(true == false for true, false in rows)
    assert (found["correct"], found["ties"], found["count"]) == (correct, ties, len(rows))
    assert found["accuracy"] == correct / len(rows) and 0 <= found["accuracy"] <= 1
    # A tie is an error on both sides.
    other = pair_accuracy([false for _, false in rows], [true for true, _ in rows])
    assert found["correct"] + other["correct"] + ties == len(rows)


@tries(40)
@given(st.integers(2, 5).flatmap(tables), st.data())
def test_choice_accuracy_equals_counting(rows, data):
    answers = [data.draw(st.integers(0, len(row) - 1)) for row in rows]
    rivals = [row[:answer] + row[answer + 1 :] for row, answer in zip(rows, answers, strict=True)]
    best = [(row[answer], max(others)) for row, answer, others in zip(rows, answers, rivals, strict=True)]
    found = choice_accuracy(rows, answers)
    assert found["correct"] == sum(right > wrong for right, wrong in best)
    assert found["ties"] == sum(right == wrong for right, wrong in best)
    assert found == choice_accuracy(rows[::-1], answers[::-1])


@tries(40)
@given(tables(4))
def test_group_score_equals_counting(rows):
    found = group_score([[row[:2], row[2:]] for row in rows])
    text = [a > c and d > b for a, b, c, d in rows]
    image = [a > b and d > c for a, b, c, d in rows]
    assert (found["text_correct"], found["image_correct"]) == (sum(text), sum(image))
    assert found["group_correct"] == sum(map(min, text, image)) <= min(sum(text), sum(image))


@tries(40)
@given(tables(6))
def test_itt_and_tot_equal_counting(rows):
    found = itt_tot([row[:3] for row in rows], [row[3:] for row in rows])
    assert found["itt_correct"] == sum(row[0] > row[2] and row[1] > row[2] for row in rows)
    assert found["tot_correct"] == sum(row[3] > row[4] and row[3] > row[5] for row in rows)
    assert found["itt_ties"] == sum(row[0] == row[2] or row[1] == row[2] for row in rows)


@tries(40)
@given(st.integers(1, 6).flatmap(tables), st.data())
def test_recall_equals_ranking(rows, data):
    width = len(rows[0])
    positives = [data.draw(st.sets(st.integers(0, width - 1), min_size=1).map(sorted)) for _ in rows]
    ranks = [
        1 + sum(row[at] >= max(row[right] for right in rights) for at in range(width) if at not in rights)
        for row, rights in zip(rows, positives, strict=True)
    ]
    found = retrieval_recall(rows, positives, ks=(1, 2, 5), return_items=True)
    assert found["items"]["rank"] == ranks
    recalls = [found[f"recall_at_{k}"] for k in (1, 2, 5)]
    assert recalls == [sum(rank <= k for rank in ranks) / len(ranks) for k in (1, 2, 5)] and recalls == sorted(recalls)


# Negation

WORDS = "a man woman dog with without no not and or red ball on the beach is are there holding , . ' - \" n't".split()
OTHERS = [word for word in WORDS if word not in ("no", "not", "without", "n't", "-")]
# Any characters, and words of captions between them.
any_text = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=9).map(" ".join)


def control_characters(text: str) -> set[str]:
    return {letter for letter in text if unicodedata.category(letter) in ("Cc", "Zl", "Zp")}


@tries(5)
@given(st.lists(any_text.filter(str.strip), min_size=4, max_size=6), st.integers(0, 9))
def test_negations_of_any_text_are_plain_texts_and_the_same_each_time(captions, seed):
    captions += ["A man with a red ball is on the beach.", "A dog runs."]
    rows = negate_captions(captions, seed=seed)
    assert [row["caption"] for row in rows] == captions
    for row in rows:
        for name in ("negated_captions", "true_negations", "true_negation_foils", "hard_negatives"):
            for text in row[name]:
                assert text.strip() and control_characters(text) <= control_characters(row["caption"]), text
    assert rows == negate_captions(captions, seed=seed)


@pytest.mark.parametrize("caption", ["a dog \ud800 with a ball", " ", "", None, 7])
def test_captions_that_are_no_texts_are_refused(caption):
    with pytest.raises(UsageError, match="caption 1 is "):
        negate_captions(["a dog", caption])


@tries(150)
@given(any_text)
def test_a_query_of_any_text_is_split_without_an_error(text):
    query = parse_query(text)
    assert query == parse_query(text)
    assert all(phrase.strip() for phrase in query.unwanted)
    if not query.unwanted:
        assert query.wanted == text


@tries(80)
@given(st.lists(st.sampled_from(OTHERS), max_size=12).map(" ".join))
def test_a_query_without_a_negation_stays_as_it_is(text):
    assert parse_query(text).wanted == text and not parse_query(text).unwanted


# Readers

cells = st.one_of(st.sampled_from(["N/A", "null", "007", "nan", "", "=1+1", '"', "a, b;\tc"]), st.text(max_size=12))
# Of a CSV file: no zero byte, which is refused, and no line ends, which the csv module writes in other ways.
csv_cells = cells.map(lambda text: "".join(letter for letter in text if unicodedata.category(letter) != "Cc"))


@st.composite
def columns(draw, of):
    names = draw(st.lists(st.sampled_from(["caption", "image", "x y"]), min_size=1, max_size=3, unique=True))
    count = draw(st.integers(1, 5))
    return {name: draw(st.lists(of, min_size=count, max_size=count)) for name in names}


def read_back(path) -> dict[str, list]:
    dataset = load_split(str(path))
    return {name: dataset[name][:] for name in dataset.column_names}


@tries(12)
@given(columns(csv_cells), st.sampled_from([",", ";", "\t"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_csv_is_read_as_it_was_written(tmp_path, table, separator, encoding):
    path = tmp_path / f"{uuid.uuid4()}.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL)
        writer.writerows([[*table], *zip(*table.values(), strict=True)])
    assert read_back(path) == table


@tries(12)
@given(columns(cells))
def test_json_lines_are_read_as_they_were_written(tmp_path, table):
    path = tmp_path / f"{uuid.uuid4()}.jsonl"
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8", newline="")
    assert read_back(path) == table


@tries(8)
@given(columns(cells))
def test_parquet_is_read_as_it_was_written(tmp_path, table):
    path = tmp_path / f"{uuid.uuid4()}.parquet"
    pq.write_table(pa.table(table), path)
    assert read_back(path) == table


text_lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@tries(12)
@given(st.lists(st.one_of(st.sampled_from(["", " ", "\t"]), text_lines), min_size=1, max_size=6))
def test_text_files_lose_blank_lines_alone(tmp_path, lines):
    path = tmp_path / f"{uuid.uuid4()}.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    expected = [line for line in lines if line.strip()]
    if not expected:
        with pytest.raises(UsageError):
            load_split(str(path))
    else:
        assert load_split(str(path))["caption"][:] == expected


# Messages


@tries(60)
@given(st.text(st.characters(), max_size=40), st.integers(0, 60))
def test_a_message_is_one_printable_line_of_bounded_length(text, times):
    message = str(UsageError(text * times))
    # An escaped character takes up to ten.
    assert message.isprintable() and len(message) <= 10 * (LONGEST_MESSAGE + 3)
