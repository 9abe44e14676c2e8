"""How likely statements are true of images, learned from captions that leave much unsaid."""

import random

import pytest
import torch

from conclip.errors import UsageError
from conclip.negation.query import Query
from conclip.training import image_truth
from conclip.training.image_truth import ImageTruth

THINGS = ["red circle", "star", "owl", "zebra"]


@pytest.fixture(scope="module")
def shown():
    """Which of three things each of 600 images shows."""
    rng = random.Random(0)
    return torch.tensor([[rng.random() < 0.5 for _ in range(3)] for _ in range(600)])


@pytest.fixture(scope="module")
def truth(shown):
    """Embeddings that add up directions of things; captions name what is there half of the time."""
    rng = random.Random(1)
    noise = 0.1 * torch.randn(600, 8, generator=torch.Generator().manual_seed(0))
    embeds = torch.nn.functional.normalize(shown.float() @ torch.eye(8)[:3] + torch.eye(8)[7] + noise, dim=1)
    captions = [
        [f"there are {thing}s" for thing, there in zip(THINGS[:3], own, strict=True) if there and rng.random() < 0.5]
        or ["a picture"]
        for own in shown.tolist()
    ]
    return ImageTruth(embeds, captions, THINGS, seed=3)


def test_what_captions_do_not_say_is_found(truth, shown):
    # The order of the images is the class's own: they are known by their embeddings.
    found = (truth.image_embeds[:, :3] / truth.image_embeds[:, 7:]).round().bool()
    assert found.sum(dim=0).tolist() == shown.sum(dim=0).tolist()
    presence = torch.from_numpy(truth.presence)
    assert presence.shape == (600, 3)
    assert presence[found].mean() > 0.9 and presence[~found].mean() < 0.1


def test_what_is_known_of_several_things_is_multiplied(truth):
    circle, star, owl = truth.presence.T.tolist()
    queries = [
        Query("a red circle"),
        Query("a star and an owl"),
        Query("", ("owl",)),
        Query("", ("owl", "star")),
        Query("a star", ("red circle",)),
    ]
    found = truth(queries)
    for row, (c, s, o) in enumerate(zip(circle, star, owl, strict=True)):
        expected = [c, s * o, 1 - o, (1 - o) * (1 - s), s * (1 - c)]
        assert found[:, row].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "query", [Query("a star on a table"), Query("a star", ("zebra",)), Query("a star", ("red",)), Query("a zebra")]
)
def test_other_statements_are_left_to_their_targets(truth, query):
    assert truth([query, Query("a star")]).isnan().all(dim=1).tolist() == [True, False]


def test_at_most_so_many_images(monkeypatch):
    monkeypatch.setattr(image_truth, "FITTED", 50)
    monkeypatch.setattr(image_truth, "SCORED", 20)
    embeds = torch.nn.functional.normalize(torch.randn(90, 4, generator=torch.Generator().manual_seed(1)), dim=1)
    captions = [["a star" if number % 2 else "a dog"] for number in range(90)]
    one, other = (ImageTruth(embeds, captions, ["star", "dog"], seed) for seed in (0, 1))
    assert one([Query("a star")]).shape == (1, 20)
    assert not torch.equal(one.image_embeds, other.image_embeds)


def test_too_few_captions_that_name_a_thing():
    with pytest.raises(UsageError, match="--truth_weight needs things that 10 captions or more name"):
        ImageTruth(torch.eye(8), [["a star"]] * 8, ["star"], 0)
