"""Recall over embeddings: small literal cases, a plain loop, and the rule of CLIP_benchmark written another way."""

import numpy as np
import pytest
import torch

import conclip.embedding.retrieval as retrieval
from conclip.embedding.retrieval import first_image_true, image_to_text_recall, pool_images, text_to_image_recall


def keys(letters: str) -> np.ndarray:
    return np.array([list(letter.encode() * 16) for letter in letters], np.uint8)


def embedded(scores) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn scores, (texts, images), into embeddings: texts are unit vectors, images are the columns."""
    scores = torch.tensor(scores)
    return torch.eye(len(scores)), scores.T.contiguous()


def text_to_image(scores, own, text_at=None, ks=(1,)) -> tuple:
    texts, images = embedded(scores)
    text_at = np.arange(len(texts)) if text_at is None else np.array(text_at)
    found = text_to_image_recall(texts, text_at, images, np.arange(len(images)), np.array(own), ks)
    return found["recall_at_1"], found["ties_at_1"], found["count"], found["chance_at_1"], found["items"]["rank"]


def image_to_text(scores, own, text_at=None) -> tuple:
    texts, images = embedded(scores)
    text_at = np.arange(len(texts)) if text_at is None else np.array(text_at)
    found = image_to_text_recall(texts, text_at, images, np.arange(len(images)), np.array(own), (1,))
    return found["recall_at_1"], found["ties_at_1"], found["count"], found["items"]["rank"]


def test_images_of_equal_content_are_pooled_in_the_order_of_the_rows():
    pool, content = pool_images(keys("zazbaz"))
    assert pool.tolist() == [0, 1, 3] and content.tolist() == [0, 1, 0, 2, 1, 0]


def test_the_first_image_is_one_of_those_of_which_the_caption_is_true():
    texts, images = embedded([[0.9, 0.8, 0.1], [0.2, 0.9, 0.9], [0.5, 0.5, 0.1], [0.3, 0.3, 0.4]])
    truth = np.array([[True, False, True], [False, True, False], [True, True, False], [True, True, False]])
    found = first_image_true(texts, np.arange(4), images, np.arange(3), truth)
    # The second caption's true image ties with a false one, and the third's with another true one.
    assert (found["recall_at_1"], found["ties_at_1"], found["count"]) == (2 / 4, 1, 4)
    assert found["chance_at_1"] == pytest.approx((2 + 1 + 2 + 2) / (4 * 3))


def test_a_caption_counts_if_its_image_is_first():
    scores = [[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.0, 0.1, 0.5]]
    assert text_to_image(scores, [0, 1, 2]) == (2 / 3, 0, 3, pytest.approx(1 / 3), [1, 2, 1])


def test_a_tie_is_an_error_and_counted():
    assert text_to_image([[0.5, 0.5], [0.1, 0.2]], [0, 1]) == (0.5, 1, 2, 0.5, [2, 1])


def test_of_two_images_with_the_same_caption_its_own_alone_is_right():
    # The first text is the caption of images 0 and 1, and finds image 1.
    found = text_to_image([[0.1, 0.9, 0.2], [0.3, 0.2, 0.5]], own=[0, 1, 2], text_at=[0, 0, 1])
    assert found == (2 / 3, 0, 3, pytest.approx(1 / 3), [3, 1, 1])


def test_all_captions_of_an_image_are_right_for_it():
    # Text 1 is first for image 0, text 0 for image 1; images 0 and 1 have captions 0, 1 and 2; image 2 has none.
    scores = [[0.2, 0.9, 0.0], [0.7, 0.1, 0.0], [0.1, 0.8, 0.9]]
    assert image_to_text(scores, own=[0, 0, 1]) == (0.5, 0, 2, [1, 2])


def test_the_same_caption_of_another_image_ties():
    # Image 0: its text 0 is also the caption of image 1. Image 1 has a better one, text 1, of its own.
    found = image_to_text([[0.9, 0.5], [0.1, 0.8]], own=[0, 1, 1], text_at=[0, 0, 1])
    assert found == (0.5, 1, 2, [2, 1])


def random_case(seed: int, levels: float) -> dict:
    """40 images, of which some rows repeat, with 1 to 3 captions a row, of which some repeat."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 40, 60)
    caption_rows = np.repeat(np.arange(60), rng.integers(1, 4, 60))
    texts, images = (
        torch.from_numpy((levels * rng.normal(size=(count, 6))).round() / levels).float() for count in (70, 40)
    )
    return {"rows": rows, "caption_rows": caption_rows, "text_at": rng.integers(0, 70, len(caption_rows))} | {
        "texts": texts,
        "images": images[rows],
    }


def ours(case: dict, ks) -> tuple[dict, dict]:
    pool, content = pool_images(np.repeat(case["rows"][:, None], 16, axis=1).astype(np.uint8) + 1)
    own = content[case["caption_rows"]]
    given = case["texts"], case["text_at"], case["images"], pool, own, ks
    return text_to_image_recall(*given), image_to_text_recall(*given)


@pytest.mark.parametrize("at_a_time", [7, 512])
@pytest.mark.parametrize("seed", range(3))
def test_equals_a_plain_loop(seed, at_a_time, monkeypatch):
    monkeypatch.setattr(retrieval, "QUERIES_AT_A_TIME", at_a_time)
    case, ks = random_case(seed, levels=1), (1, 2, 5)
    distinct = list(dict.fromkeys(case["rows"].tolist()))
    captions = [
        (case["texts"][text], int(case["rows"][row]))
        for text, row in zip(case["text_at"], case["caption_rows"], strict=True)
    ]
    pictures = {name: case["images"][list(case["rows"]).index(name)] for name in distinct}
    for found, queries in zip(
        ours(case, ks),
        (
            [([(float(text @ pictures[other]), other == own) for other in distinct]) for text, own in captions],
            [([(float(text @ pictures[name]), own == name) for text, own in captions]) for name in distinct],
        ),
        strict=True,
    ):
        ranks, tied = [], []
        for scored in queries:
            best = max(score for score, right in scored if right)
            ranks.append(1 + sum(score >= best for score, right in scored if not right))
            tied.append(sum(score == best for score, right in scored if not right))
        assert found["items"] == {"rank": ranks, "tied": tied} and any(tied)
        for k in ks:
            assert found[f"recall_at_{k}"] == pytest.approx(sum(rank <= k for rank in ranks) / len(ranks))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("levels", [1, 1e6])
def test_differs_from_clip_benchmark_by_ties_alone(seed, levels):
    """
    CLIP_benchmark (clip_benchmark/metrics/zeroshot_retrieval.py): the `topk` candidates of each query, of which one at
    least has to belong to it, by the index of the pair. Ties are broken by chance.
    """
    case, ks = random_case(seed, levels), (1, 5)
    distinct, own = np.unique(case["rows"][case["caption_rows"]], return_inverse=True)
    images = case["images"][[list(case["rows"]).index(name) for name in distinct]]
    scores = case["texts"][case["text_at"]] @ images.T
    belongs = torch.from_numpy(own[:, None] == np.arange(len(distinct)))
    for found, all_scores, right in zip(ours(case, ks), (scores, scores.T), (belongs, belongs.T), strict=True):
        for k in ks:
            published = right.gather(1, all_scores.topk(k, dim=1).indices).any(dim=1).double().mean().item()
            least = found[f"recall_at_{k}"]
            assert least - 1e-9 <= published <= least + found[f"ties_at_{k}"] / len(right) + 1e-9
    # Without equal scores, only equal captions of different images tie.
    assert (levels > 1) == (ours(case, ks)[0]["ties_at_1"] == 0)
