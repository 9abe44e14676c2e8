"""Where things are seen: no boat is missed in a kitchen, and no couch on a beach."""

from collections.abc import Set

from conclip.negation.lexicon.words import ANIMALS, CHILDREN, FEMALE, MALE, WILD, word_set

# Words of a caption, singular or as written, that tell that its image was taken outdoors, near water or indoors.
_OUTDOORS = word_set(
    "outside outdoors outdoor field grass grassy lawn yard backyard garden park street road roadside sidewalk "
    "pavement highway driveway alley curb crosswalk traffic intersection tree forest woods wooded jungle mountain "
    "hill hillside cliff canyon valley trail path meadow pasture farm desert sand sandy beach shore coast ocean sea "
    "lake river creek stream pond waterfall dock pier harbor snow snowy slope ice sky sunset cloud city town "
    "village playground skatepark trampoline parade protest picnic camp campfire tent hydrant bridge river "
    "countryside rock rocky dirt mud leaf bush fence barn sheep cow giraffe zebra elephant goat horse surf surfing "
    "surfer surfboard kayak kayaking canoe sail sailing boat ski skiing skier snowboard snowboarder sled biker "
    "biking cyclist bicyclist cycling motocross racetrack hike hiking hiker climber climbing soccer football "
    "baseball rugby golf lacrosse tennis frisbee kite airplane plane train truck bus motorcycle motorcyclist car "
    "skateboard skateboarder skateboarding scooter wave bench rain rainy plaza square market fountain"
)
_WATERS = word_set(
    "water beach shore seashore coast coastline ocean sea lake river creek stream pond bay harbor dock pier marina "
    "wave surf surfing surfer surfboard swim swimming swimmer fishing island"
)
_STREETS = word_set(
    "street road roadside sidewalk pavement highway driveway alley curb crosswalk traffic intersection city town "
    "village park parking plaza square market bus truck car taxi van motorcycle scooter bench skatepark building "
    "playground promenade boardwalk parade protest hydrant"
)
_INDOORS = word_set(
    "inside indoors indoor room bedroom bathroom restroom kitchen livingroom office classroom hallway lobby gym "
    "gymnasium store bookstore shop shelf bookshelf library museum gallery bar pub cafe restaurant diner cafeteria "
    "church theater theatre stadium arena auditorium airport station fireplace couch sofa bed crib toilet sink "
    "bathtub tub shower stove oven refrigerator fridge microwave counter cabinet cupboard desk lamp mirror carpet "
    "rug curtain pillow blanket mattress television tv laptop computer keyboard monitor wii floor ceiling stair "
    "staircase elevator escalator subway salon hospital bowling stage concert party table plate bowl tray dish cake "
    "pizza sandwich meal stuffed"
)
# Open land and water.
_LAND = word_set(
    "field grass lawn yard backyard garden park tree forest woods mountain hill hillside cliff canyon valley "
    "trail path meadow pasture farm sand beach shore coast ocean sea lake river creek stream pond waterfall water "
    "snow slope rock countryside bridge dock pier boat kayak canoe tent campfire road dirt mud leaf bush barn "
    "plant flower"
)
# Images of these sports show little but water, or snow.
_AFLOAT = word_set(
    "wakeboard wakeboarding wakeboarder surf surfing surfer kayak kayaking kayaker canoe canoeing raft rafting sail "
    "sailing swim swimming swimmer underwater diver diving ocean sea"
)
_SNOW_SPORTS = word_set("ski skis skiing skier snowboard snowboarding snowboarder sled sledding")
# Rooms of a home, and what stands there.
_HOMES = word_set(
    "room bedroom bathroom restroom kitchen livingroom office shop store bookstore library fireplace couch sofa "
    "bed crib toilet sink bathtub tub shower refrigerator fridge microwave counter cabinet cupboard desk lamp "
    "mirror carpet rug curtain pillow blanket mattress laptop computer monitor floor stair staircase window yard "
    "backyard garden porch roof chair box basket"
)
# Where one plays ball.
_GAMES = word_set(
    "field grass lawn yard backyard park playground beach sand pool court game child kid boy girl toddler toy dog "
    "puppy kitten player team"
)
# Who plays with a ball, or holds an umbrella, and where such things lie about.
_PLAY = (
    MALE
    | FEMALE
    | CHILDREN
    | word_set(
        "person people adult crowd group family couple team player dog puppy cat park playground yard backyard beach "
        "toy he she they someone somebody"
    )
)
# An image may show these and nothing else: aircraft in the sky, or food.
_ALONE = word_set(
    "airplane plane sky sunset cloud kite rain rock mud dirt leaf table plate bowl tray dish cake pizza sandwich "
    "meal television tv monitor keyboard"
)
_AIRCRAFT = word_set("airplane plane jet aircraft airliner jetliner helicopter biplane glider moon")
# Things that are seen in one sort of place alone. A thing that is listed twice needs both sorts.
_SEEN = {
    "outdoors": "airplane bridge snow pool waterfall river lake pond beach ocean horse pony cow sheep goat deer "
    "bird bear elephant giraffe zebra bicycle bike sled frisbee kite football ball",
    "streets": "bus truck car train motorcycle skateboard umbrella",
    "walks": "fountain bench",
    "water": "boat canoe kayak sailboat duck swan goose",
    "indoors": "couch bed",
    "land": "snow pool waterfall river lake pond beach ocean",
    "play": "frisbee kite football ball skateboard sled umbrella guitar",
    "games": "frisbee kite football ball",
    "snow": "sled",
    "rides": "bicycle bike motorcycle skateboard",
    "ground": "dog cat couch bed",
    "home": "cat",
}
_WORDS = {
    "outdoors": _OUTDOORS,
    "streets": _STREETS,
    "water": _WATERS | _AFLOAT,
    "indoors": _INDOORS,
    "land": _LAND,
    "play": _PLAY,
    "walks": word_set(
        "park sidewalk pavement promenade boardwalk plaza square garden playground station street town city pier"
    ),
    "snow": word_set("snow snowy snowball snowman winter sled slope ice"),
    "rides": _PLAY | _STREETS,
    "ground": (_OUTDOORS | _STREETS | _WATERS | _INDOORS | _PLAY | ANIMALS) - _ALONE,
    "games": _GAMES,
    "home": _HOMES | ANIMALS - WILD,
}
SORTS = tuple(_SEEN)
# Sorts that the row's own caption has to tell of: without "a field" in it, "a cage and no river" makes no sense.
_OWN = ("land", "games", "walks", "rides")


def places_of(thing: str) -> list[str]:
    """Return those of `SORTS` in all of which a thing, singular, is seen."""
    head = thing.rpartition(" ")[2]
    return [sort for sort, things in _SEEN.items() if head in things.split()]


def unlikely_places(said: Set[str], named: Set[str]) -> list[str]:
    """
    Return those of `SORTS` in which an image was not taken, as far as its captions tell.

    A sort is unlikely if no word tells of it. Outdoors, streets and water are also unlikely if a word tells of a room.

    Args:
        said: the words of all captions of the image, as written and singular.
        named: the things that the row's caption names, one word each.
    """
    told = {sort: not words.isdisjoint(named if sort in _OWN else said) for sort, words in _WORDS.items()}
    if not (_AFLOAT | _SNOW_SPORTS).isdisjoint(said):
        told.update(dict.fromkeys(("rides", "walks", "play"), False))
    # A caption of a plane in the air says nothing of the ground, whatever another caption names.
    if not _AIRCRAFT.isdisjoint(named) and (_LAND | _PLAY | _STREETS | ANIMALS).isdisjoint(named):
        told.update(dict.fromkeys(("ground", "rides", "walks", "streets", "indoors"), False))
    if not {"closeup", "close-up"}.isdisjoint(said):
        told["ground"] = False
    if told["indoors"]:
        told.update(dict.fromkeys(("outdoors", "streets", "water"), False))
    return [sort for sort in SORTS if not told[sort]]
