"""Things that captions name again and again."""

import pytest

from conclip.negation.recurring_things import recurring_things


@pytest.mark.parametrize(
    ("caption", "things"),
    [
        ("a small red star left of a blue circle", ["blue circle", "small red star"]),
        ("there is a red circle that is not large above an orange thing", ["orange thing", "red circle"]),
        ("a picture of not only a cross at the top left but also a white square", ["cross", "white square"]),
        ("A black and white dog holds a stick .", ["stick"]),
        ("A man wearing a red shirt rides a bicycle on the street .", ["bicycle", "man", "red shirt"]),
        ("a girl quickly eats a cup of tea", ["cup", "girl"]),
        ("a very big bright yellow car", []),
        ("an image with a thing", []),
    ],
)
def test_what_one_caption_names(caption, things):
    assert recurring_things([caption, caption]) == things


def test_commonest_first_and_rare_ones_left_out():
    captions = ["a dog"] * 5 + ["a cat and a dog"] * 3 + ["a bird"]
    assert recurring_things(captions) == ["dog", "cat"]
    assert recurring_things(captions, share=0.5) == ["dog"]
    # A caption counts once.
    assert recurring_things(["a cat, a cat and a cat"]) == []
