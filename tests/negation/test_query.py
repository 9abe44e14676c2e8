"""A query's wanted and unwanted parts: sentences read by hand, and texts that must stay as they are."""

import random
import time

import pytest

from conclip.negation import Query, parse_query
from dataset_scripts.scenes import make_row


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("a street with no cars", "a street", ["cars"]),
        ("No dog.", "", ["dog"]),
        ("no person is visible, just two elephants", "just two elephants", ["person"]),
        ("There is no chair in the room, but a woman is reading.", "a woman is reading", ["chair"]),
        ("a room with no windows, no doors, and no furniture", "a room", ["windows", "doors", "furniture"]),
        ("a field with no dogs, cats, or horses", "a field", ["dogs", "cats", "horses"]),
        ("a harbor with no sign of a boat", "a harbor", ["boat"]),
        ("a man with no shirt plays basketball", "a man plays basketball", ["shirt"]),
        ("a girl with no shoes and a lunchbox", "a girl with a lunchbox", ["shoes"]),
        ("a street where no cars are parked", "a street", ["cars parked"]),
        ("a bench with nobody on it", "a bench", ["person"]),
        ("a beach without any umbrellas", "a beach", ["umbrellas"]),
        ("a man is holding no umbrella", "a man", ["umbrella"]),
        ("a woman wears no hat on the beach", "a woman on the beach", ["hat"]),
        ("a dog in the image shows no fear", "a dog in the image", ["fear"]),
        ("a street contains no cars", "a street", ["cars"]),
        ("food on display no people", "food on display", ["people"]),
        ("a man holding neither a cup nor a plate", "a man", ["cup", "plate"]),
        ("a man without a shirt is climbing a rock", "a man is climbing a rock", ["shirt"]),
        ("without people, a beach at sunset", "a beach at sunset", ["people"]),
        ("a man not wearing a hat", "a man", ["wearing a hat"]),
        ("a man not wearing a hat is running", "a man is running", ["wearing a hat"]),
        ("a not white cat", "cat", ["white cat"]),
        ("a bag that is not red", "a bag", ["red"]),
        ("a dog, but not a cat", "a dog", ["cat"]),
        ("dogs not cats", "dogs", ["cats"]),
        ("not a single car", "", ["car"]),
        ("A sink is not present in this image.", "", ["sink"]),
        ("A bird is in this image, but a sink is not.", "A bird", ["sink"]),
        ("A car and a bus are not visible.", "", ["car", "bus"]),
        ("a woman who isn't smiling and doesn't wear glasses", "a woman", ["smiling", "wear glasses"]),
        ("This image doesn’t include a cup", "", ["cup"]),
        ("This image shows a truck, but there isn't any horse.", "a truck", ["horse"]),
        ("people can't be seen", "", ["people"]),
        ("You won't find a chair in this image.", "", ["chair"]),
        ("a kitchen with neither a stove nor a fridge", "a kitchen", ["stove", "fridge"]),
        ("neither cats nor dogs are in the picture", "", ["cats", "dogs"]),
        ("this house lacks a roof", "this house", ["roof"]),
        ("a table free of clutter", "a table", ["clutter"]),
        ("a plaza devoid of any people", "a plaza", ["people"]),
        ("a car-free street", "street", ["car"]),
        ("Notably absent from this image is a tv.", "", ["tv"]),
        ("A cup is nowhere to be found, while a cat sleeps.", "a cat sleeps", ["cup"]),
        ("a cat instead of a dog", "a cat", ["dog"]),
        ("A dog runs, and the photo does not show a cat.", "A dog runs", ["cat"]),
        ("A dog runs, while the scene lacks a cat.", "A dog runs", ["cat"]),
        ("A dog runs, while we can see no cat anywhere.", "A dog runs", ["cat"]),
        ("a dog in the photo does not wear a collar", "a dog in the photo", ["wear a collar"]),
        ("A dog runs. This picture is without cats.", "A dog runs", ["cats"]),
        ("A dog runs, but the scene is cat-free.", "A dog runs", ["cat"]),
        ("a dog with no cat at all", "a dog", ["cat"]),
        ("no cat can be made out", "", ["cat"]),
        ("cats are not to be seen, but a dog runs", "a dog runs", ["cats"]),
        ("A cat is nowhere in the photo.", "", ["cat"]),
        ("without any sign of a cat", "", ["cat"]),
        ("not one cat is here", "", ["cat"]),
        ("a photo not showing a cat", "", ["cat"]),
        ("no building, only a dog", "only a dog", ["building"]),
        ("a field with no palm trees", "a field", ["palm trees"]),
        ("a room with no bed.", "a room", ["bed"]),
        ("no bunk bed, no roller skates", "", ["bunk bed", "roller skates"]),
        ("A dog with no cat is running.", "A dog is running", ["cat"]),
        ("A dog that is not brown licks its nose.", "A dog licks its nose", ["brown"]),
        ("Two boys who are not little are at a table.", "Two boys are at a table", ["little"]),
        ("a boy not wearing headphones poses", "a boy poses", ["wearing headphones"]),
        ("a boy not riding waves", "a boy", ["riding waves"]),
        ('street -cars -"traffic light"', "street", ["cars", "traffic light"]),
    ],
)
def test_parts(text, wanted, unwanted):
    assert parse_query(text) == Query(wanted, tuple(unwanted))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        "two dogs run on the beach",
        "a man not without his umbrella",
        "not only a dog but also a cat",
        "nothing but sand",
        "a no-parking sign",
        "a no parking sign on a wall",
        'a sign that says "no diving"',
        "No. 7 bus",
        "there is no doubt a red star above a circle",
        "a star that is without doubt red",
        "no more than two people",
        "a competitor not far behind",
        "a not-so-crowded pool",
        "a t-shirt on a hanger",
        "5 - 3 cats",
        "a player attempts to break free of an opposing player",
        "a lack dog on gravel",
        "a woman presses the Do Not Walk button",
    ],
)
def test_what_only_looks_negative_stays_to_the_letter(text):
    assert parse_query(text) == Query(text, ())


def test_captions_of_scenes_without_a_negation_stay():
    for index in range(500):
        caption = make_row("train", index, 0)["caption"]
        assert parse_query(caption) == Query(caption, ())


def test_any_words_at_all_give_parts():
    """Nothing fails, no part is empty, and a query without an unwanted part is left alone."""
    words = (
        "no not without neither nor is are n't don't a the car , . \" ' - on in with and or of lacks absent missing "
        "nowhere to be seen -x free one nobody can't ; visible both presence"
    ).split()
    draw = random.Random(0)
    for _ in range(5_000):
        text = " ".join(draw.choices(words, k=draw.randint(0, 9)))
        query = parse_query(text)
        assert all(phrase.strip() for phrase in query.unwanted), text
        assert query.unwanted or query.wanted == text


def test_a_query_takes_less_than_a_millisecond():
    text = "A man without a shirt, wearing a helmet, is jumping over a hill, but no bike is visible in the image."
    start = time.process_time()
    for _ in range(300):
        parse_query(text)
    assert time.process_time() - start < 0.3
