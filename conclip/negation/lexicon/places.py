"""What may be missed where: no boat is missed in a kitchen, and no dog in the sky."""

from collections.abc import Set

from conclip.negation.lexicon.words import ANIMALS, ANYONE, CHILDREN, FEMALE, FOODS, MALE, SYNONYMS, WILD, word_set

_PEOPLE = MALE | FEMALE | CHILDREN | ANYONE
_STREETS = word_set(
    "street road roadside sidewalk pavement alley curb crosswalk intersection plaza square parking driveway market"
)
_YARDS = word_set("grass lawn yard backyard garden park playground field path trail meadow")
_BEACHES = word_set("beach shore coast sand")
_WATERS = word_set(
    "ocean sea lake river pond beach shore coast dock pier harbor boat ship sailboat wave surfboard surfer"
)
_OPEN = word_set(
    "water tree fence rock snow roof bench statue tower clock sign building sky kite train airplane plane jet "
    "helicopter runway bridge pole cow sheep"
)
_HEIGHTS = word_set("mountain hill hillside cliff valley canyon forest woods trail")
_HOMES = word_set(
    "bedroom bathroom kitchen room couch sofa bed toilet sink bathtub stove oven refrigerator microwave desk lamp "
    "carpet rug curtain laptop computer keyboard monitor television fireplace pillow"
)
# Where nobody is, these stand in rooms too.
_FURNITURE = word_set(
    "table chair box shelf cabinet window door furniture mirror vase candle suitcase luggage blanket phone book "
    "scissors bag backpack umbrella toy"
)
_VEHICLES = word_set("car bus truck van vehicle motorcycle motorbike bike bicycle hydrant")
_DOGS = frozenset().union(*(names for names in SYNONYMS if {"puppy", "hound"} <= names))
_PETS = _DOGS | {"cat", "kitten"}

# Thing -> words of which the caption itself has to name one.
_FIT = {
    "dog": _PEOPLE
    | (ANIMALS - WILD - {"fish", "bird"})
    | _STREETS
    | _YARDS
    | _BEACHES
    | _HOMES
    | _FURNITURE
    | _VEHICLES,
    "cat": _HOMES | _FURNITURE | _PETS | {"bird"},
    "bird": _WATERS | _STREETS | _YARDS | _BEACHES | _HEIGHTS | (WILD - {"penguin"}) | _OPEN,
    "boat": _WATERS,
    "duck": word_set("lake river pond swan goose"),
    "canoe": word_set("lake river"),
    "kayak": word_set("lake river"),
    "lake": _HEIGHTS,
    "river": _HEIGHTS,
    "waterfall": _HEIGHTS,
    "snow": word_set("mountain"),
    "sled": word_set("snow"),
    "ball": _DOGS | word_set("lawn yard backyard park playground beach"),
    "frisbee": _DOGS | word_set("grass lawn yard backyard park beach field"),
    "kite": word_set("beach park field"),
    "bench": word_set("sidewalk park plaza square path pier"),
    "umbrella": word_set("street sidewalk beach market plaza square crosswalk"),
    **dict.fromkeys(("bicycle", "bike"), _STREETS | word_set("park path trail car bus truck train")),
    **dict.fromkeys(("car", "bus", "truck", "motorcycle"), _STREETS | word_set("car bus truck van motorcycle")),
    **dict.fromkeys(("horse", "cow", "sheep", "goat"), word_set("cow sheep goat barn farm pasture")),
    **dict.fromkeys(("zebra", "giraffe", "elephant"), word_set("zebra giraffe elephant")),
    **dict.fromkeys(("pizza", "sandwich", "hamburger"), word_set("pizza sandwich hamburger hotdog")),
    **dict.fromkeys(("cake", "donut"), word_set("cake cupcake donut doughnut cookie pastry")),
    "banana": word_set("apple fruit"),
}
# People may be missed beside animals, or others beside people; `AbsentNouns` tells when.
_OF_PEOPLE = word_set("umbrella kite sled frisbee")
_ROOMS = word_set("table kitchen bathroom bedroom room restaurant sofa couch")
_MEALS = FOODS | word_set(
    "food meal breakfast lunch dinner dish plate bowl tray doughnut pastry hotdog vegetable meat pasta rice"
)
_ANYBODY = word_set("man woman boy girl child baby person toddler")

_TOYS = word_set("doll stuffed teddy figurine lego mannequin ornament")
# Words of any caption of the image, singular or as written -> all that may be missed there.
_NARROW = {
    # In the sky, and high up.
    "airplane plane jet airliner jetliner aircraft helicopter biplane glider parachute parachutist skydiver "
    "skydiving paraglider paragliding parasailing parasail clock tower steeple skyscraper": "bird",
    # On water, and under it.
    "surf surfer surfers surfing surfs surfboard windsurfer windsurfing kayaking kayaker rafting canoeing sailing": (
        "bird boat"
    ),
    "wakeboard wakeboarder wakeboarding wakeboards waterski waterskier waterskiing tubing": "bird",
    "underwater scuba snorkel snorkeling": "",
    "pool fountain sprinkler hose bathtub puddle waterslide": "dog cat ball bird",
    # A close view.
    "closeup close-up macro coin quarter dime penny": "",
    # Where things are no real ones.
    " ".join(sorted(_TOYS)): "dog cat",
    "miniature mural collage cartoon": "",
    # On a stage, in a hall, in a ring, at a fair.
    "stage concert band singer singing sings musician drummer basketball gymnasium": "dog",
    "ballet solo boxing sumo judo karate hockey rink coaster rollercoaster carousel ferris circus gymnast gymnastics "
    "bowling museum": "",
    "snow snowy blizzard": "dog cat bird sled ball lake river " + " ".join(sorted(_ANYBODY)),
    "vase": "dog cat",
    # Among wild animals.
    " ".join(sorted(WILD)): "bird zebra giraffe elephant person man woman",
    # Where one drives, and where one lies ill.
    "highway freeway motorway hospital": "",
    "ski skis skier skiers skiing snowboard snowboarder snowboarding snowboards sled sledding": "dog sled",
}
_NARROWED = [(word_set(told), word_set(things)) for told, things in _NARROW.items()]
_INDOORS = word_set(
    "inside indoors indoor room bedroom bathroom restroom kitchen office classroom hallway gym store shop library "
    "restaurant cafe bar diner church theater arena auditorium airport station fireplace couch sofa bed toilet "
    "bathtub shower stove oven refrigerator fridge microwave carpet television tv computer laptop wii subway "
    "hospital party"
)
_IN_ROOMS = word_set("dog cat pizza cake sandwich banana donut hamburger") | _ANYBODY


def missed(said: Set[str], named: Set[str]) -> frozenset[str]:
    """
    Return the names of what may be missed in an image, as far as its captions tell of the place.

    Args:
        said: the words of all captions of the image, as written and singular.
        named: the things that the row's caption names, one word each.
    """
    # A teddy bear is no wild animal.
    if not _TOYS.isdisjoint(said):
        said, named = said - WILD, (named - WILD) | {"toy"}
    things = _ANYBODY.union(thing for thing, beside in _FIT.items() if not beside.isdisjoint(named))
    # An empty street misses no umbrella, a plate of food no dog, and a man on a chair may sit outdoors.
    if _PEOPLE.isdisjoint(named):
        things -= _OF_PEOPLE if _DOGS.isdisjoint(named) else _OF_PEOPLE - {"frisbee"}
        if not _MEALS.isdisjoint(said) and (_PETS | _ROOMS).isdisjoint(named):
            things -= _PETS
    elif (_HOMES | _PETS).isdisjoint(named):
        things -= {"cat"}
    for told, left in _NARROWED:
        if not told.isdisjoint(said):
            things &= left
    return frozenset(things & _IN_ROOMS if not _INDOORS.isdisjoint(said) else things)
