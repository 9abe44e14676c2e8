"""Who does what with what and where, for captions that are composed: parts that go together, chosen by hand."""

from pathlib import Path

from conclip.negation.lexicon.words import word_set

ACTIONS_FILE = Path(__file__).with_name("actions.txt")
WHO = {
    "people": word_set("man woman boy girl child person lady guy teenager"),
    "adults": word_set("man woman lady guy"),
    "dogs": word_set("dog puppy greyhound"),
    "cats": word_set("cat kitten"),
    "cattle": word_set("cow sheep goat horse pony"),
    "wild": word_set("elephant giraffe zebra bear deer"),
    "birds": word_set("bird pigeon duck seagull swan goose parrot owl"),
    "vehicles": word_set("car bus truck train taxi van motorcycle tractor jeep ambulance"),
    "boats": word_set("boat canoe kayak raft sailboat ship"),
    "things": word_set("book laptop phone hat bag towel blanket pillow guitar camera newspaper scarf backpack"),
    "dishes": word_set("bowl cup plate vase bottle mug glass candle lamp"),
    "furniture": word_set("chair table couch bed desk bookshelf lamp mirror bench piano cabinet stool"),
    "sights": word_set("statue fountain tower bench tent lighthouse windmill clock_tower palm_tree sign house"),
}
_OF_PEOPLE = "young tall smiling tired happy"
_OF_ANIMALS = "black white brown small big wet young"
_COLORS = "red blue green white black yellow brown pink gray orange"
HOW = {
    **dict.fromkeys(("dogs", "cats", "cattle"), word_set(_OF_ANIMALS)),
    "people": word_set(_OF_PEOPLE),
    "adults": word_set(f"{_OF_PEOPLE} old"),
    "wild": word_set("big young small adult"),
    "birds": word_set("white black small big"),
    "sights": word_set("old tall white small"),
    "furniture": word_set("white brown wooden old small"),
    **dict.fromkeys(("vehicles", "boats", "things", "dishes"), word_set(f"{_COLORS} old small")),
}
# What a thing in somebody's hands, or worn, may look like.
COLORED = word_set(
    "bike bicycle motorcycle scooter skateboard umbrella ball kite balloon flower flag cup bag bottle guitar backpack "
    "suitcase surfboard box basket frisbee canoe kayak raft car truck tractor bus hat jacket helmet coat dress scarf "
    "vest sweater stroller toy"
)
COLORS = word_set(_COLORS)
WORN = word_set("hat jacket helmet coat dress scarf uniform vest sweater backpack cap shirt tie sunglasses")
PEOPLE = ("people", "adults")


# Of whom an action may be denied: what always stands or lies is not.
DOERS = frozenset(WHO) - {"things", "dishes", "furniture", "sights"}


def actions() -> list[tuple[str, tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...]]]:
    """Return who, three forms of the verb, things, and (preposition, place) of each line of `actions.txt`."""
    found = []
    for line in ACTIONS_FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        who, verbs, things, places = line.split(" | ")
        pairs = [place.replace("_", " ").split(":") for place in places.split()]
        named = () if things == "-" else tuple(thing.replace("_", " ") for thing in things.split())
        found.append((who, tuple(verbs.split()), named, tuple((one, other) for one, other in pairs)))
    return found
