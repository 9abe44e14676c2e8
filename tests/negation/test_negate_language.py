"""Captions that once gave bad sentences: a verb taken for a noun, a name cut in two, words out of their scope."""

import random
import re

import pytest

from conclip.negation import GrammarGenerator, negate, object_nouns, parse
from conclip.negation.grammar.generator import load_spacy, reject
from conclip.negation.lexicon.nouns import NAMES_FILE, is_known, is_visible, may_be_absent, read_nouns
from conclip.negation.rows import Negation

ABSENT = ["dog", "woman", "bicycle", "beach", "hat", "snow", "table", "car"]


def sentences(caption, seeds=40):
    """All texts that the generator makes of a caption, over some seeds and for every pair."""
    parsed = parse(load_spacy()(caption))
    texts = {
        negation.text
        for pair in parsed.pairs
        for seed in range(12)
        if (negation := negate(parsed, pair, random.Random(seed)))
    }
    for seed in range(seeds):
        texts |= {made.text for made in GrammarGenerator(seed).negate_parsed(parsed, seed, ABSENT).negations.values()}
    return {text.lower() for text in texts}


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("Two children hug and smile .", []),
        ("a crowd wearing red , cheers on the red football team .", ["crowd"]),
        ("Two dogs bare their teeth and bark .", ["dog"]),
        ("Two children ladle water and a blue watering can sits behind them .", []),
        ("A woman works in a doughnut factory .", ["woman"]),
        ("There is a man looking sideways down an out of focus street .", ["man"]),
        ("a close up of a dog near a bowl", ["dog", "bowl"]),
        ("A little boy wearing boxers is holding a fist up .", ["boy"]),
        ("a chicken meal with carrots broccoli and rice", []),
    ],
)
def test_only_things_that_one_can_see_are_named(caption, named):
    assert object_nouns(parse(load_spacy()(caption))) == named


@pytest.mark.parametrize(
    ("caption", "wrong"),
    [
        ("A man walks on a field where there are some cows .", "are any cows"),
        ("A plane flies by next to some power lines", "any power"),
        ("Two boys wrestle in the grass .", "wrestle that is"),
        (
            "A person opening a fire hydrant spewing out rusty water into a street.",
            "a person spewing out rusty water into a street with",
        ),
        (
            "Three children , dressed in heavy coats , gloves , and knit caps , cover their mouths .",
            "children , cover",
        ),
        ("pizza on a serving tray with empty plates next to it", "pizza next to it"),
        ("The surfer wearing the blue suit on the board is catching a wave .", "but not on the board is"),
        ("Two black dogs run in a grass field with two white sheep in the background .", "which is not"),
        ("two teddy bears at a table with honey", "two teddy and"),
        ("Small child getting their hair dried with a person standing behind them.", "child standing their"),
        ("A kid splashes in the ocean .", "splashes and no"),
        ("A small boy in water wings and a bathing suit slides down a water slide .", "boy and a bathing suit"),
        ("A curly haired dog is standing on a beach .", "not haired"),
        ("A brand new motorcycle on display at a show.", "brand motorcycle"),
        ("A sandy brown dog is playing with a soccer ball outside .", "not snowy"),
        ("An elderly man sitting on a bench .", "not running"),
        ("The dog is jumping over a fence on an obstacle course .", "over a beach"),
        ("A crowd is standing while holding newspapers and holding flags .", "holding flags and holding newspapers"),
        ("There are two children sitting on the floor, one is a baby.", "there are the floor"),
        ("A large and small giraffe are looking at something while standing next to a log.", "a log are"),
        ("The person has a knife and fork for eating the big pizza.", "but fork"),
        ("People playing a sport with a referee looking on .", "referee without looking"),
        ("a man is kissing a woman .", "a woman is kissing a man"),
        ("A man holding an oven door open while he looks in it.", "oven open"),
        ("A long haired , bearded young skateboarder does a stunt on a skateboarding surface .", "young haired"),
        ("A person jumps high in the air holding onto their bicycle .", "holding and"),
        ("the dog is jumping on to the couch", "jumping on and"),
        ("A person in black sits on a park bench.", "sits and no"),
        ("A boy smiling and eating some food on a plate.", "eating some food, but no boy"),
        ("A green fire hydrant next to field of colorful flowers.", "green fire,"),
        ("A baby brown bear standing on top of a rock.", "not baby"),
        ("A street sign with flags and a high rise building in the background.", "rise building,"),
        ("A person skiing down a snowy hill alone.", "snowy alone"),
        ("A bowl of food that looks like worms and some greens.", "any greens"),
        ("Spectators enjoying a show of two persons on four-wheelers.", "wheelers, but"),
        ("An adult and two baby elephants standing near a fence.", "adult and no"),
        ("A lot of sheep all in on grassy area.", "there is a sheep"),
        ("Two dogs nussle one another in the grass near a lake .", "in the grass and no"),
        ("Man in a black suit looking at a woman in a black dress .", "but not in a"),
        ("A kitchen with a teapot on the stove and books on a shelf.", "no teapot on the"),
        ("Two policemen are talking to a man who is holding a bottle .", "bottle who"),
        ("A dog that looks like Lassie walking in the fields .", "fields that"),
        ("A man on a cellphone sticking his finger in his ear.", "on a man"),
        ("A young boy with a necklace on in the water .", "water on in"),
        ("Two girls sit along a lake while a man in the background fishes", "fishes sit"),
        ("A tall church tower sitting on the side of a road.", "tower sitting but there"),
        ("A tall church tower sitting on the side of a road.", "tower sitting and there"),
        ("A stuffed teddy bear sitting on a metal sculpture", "sitting but there"),
        ("Dog and bird together in water .", "dog together"),
        ("A blue train on some train tracks about to go under a bridge", "go but not"),
        ("A blue train on some train tracks about to go under a bridge", "go, but not"),
        ("A city street sign mounted on a black pole near a high rise building.", "mounted but not"),
        ("A brown dog is making its way through a pile of junk .", "way but not"),
        ("A person sitting in a modern chair next to a vase in an empty room.", "not empty"),
        ("A newspaper spread out on a made bed with a quilt and pillow.", "not made"),
        ("A man uses a laptop in an otherwise dark room.", "not otherwise"),
        ("A person hikes across a grass and snow covered plain", "a grass and no"),
        ("An Asian little girl hugs two tree branches .", "not asian little"),
        ("A skier goes upside down kicking snow in the air .", "no kicking snow"),
        ("a cat stands on a table drinking water out of a glass", "there is table drinking"),
        ("A young girl dressed in black swings around on a rope with red ball at end .", "at end and no"),
        ("Chicken and mushrooms served with broccoli garnished with parsley.", "a chicken"),
        ("A doberman biting a blue ball on a grassy surface .", "without a bicycle"),
        ("A man wearing big , brown , rubber boots is sitting down of a machine .", "brown , no rubber"),
        ("In the Fall , college students return to their schools .", "no school"),
        ("Cows are grazing in a wet pasture with birds.", "birds are grazing"),
        ("A young child with a red shirt is running in the grass", "not young"),
        ("A smaller puppy playfully nips at a larger dog .", "nips not"),
        ("A man in a wet suit stands on a surfboard and rows with a paddle.", "not wet"),
        ("A large group of people and possessions packed into a small boat .", "did not pack"),
        ("A young boy has his hand in the back of his pants as he walks .", "but not in"),
        ("Two small white and brown dogs bound in unison .", "not bound"),
        ("A chocolate frosted donut on a plate with a cup of coffee.", "a chocolate and"),
        ("a polar bear pokes his head and one paw out of the water", "paw, but"),
        ("A yellow and green fire hydrant in a bed of colorful flowers.", "no bed"),
        ("A tan toilet and sink combination in a small room.", "small toilet"),
        ("A very cute small red bench by some tall stools.", "tall bench"),
        ("Those zebras may have lost their parents and they could be nearby.", "could not be"),
        ("A man and two children in a boat on the water .", "on a boat"),
        ("A woman in a black shirt stands in front of bananas at a fruit stand .", "stand without a banana"),
        ("An elephant walks alone past some big rocks boulders in an open field", "not boulder"),
        ("A sheep with its mouth open in a pen.", "no pens"),
        ("Two dogs run through grass .", "not run through"),
        ("A woman cooking on an old fashioned stove.", "not old"),
        ("Two hikers are trekking across a hillside with deep brush in spots .", "a brush"),
        ("A box of doughnuts and two are chocolate, three are glazed", "not chocolate"),
        ("A piece of pizza with dressing and a Coke Zero on the side.", "a pizza"),
        ("Woman on beach , running from water to trees .", "not sitting"),
        ('A decorated neck tie saying "Reel Big Fish"', "no fish"),
        ('A decorated neck tie saying "Reel Big Fish"', "not big"),
        ("A mean looking dog is in the snow and showing his teeth .", "not mean"),
        ("A large white sheep next to a small black one", "which are"),
        ("Two game birds with redheads on the sidewalk.", "is no redhead"),
        ("a black woman standing over a bushel of yellow bananas", "bananas that are not white"),
        ("One elephant standing away from the rest of the herd, drinking water.", "walking away"),
        ("A living room with walls painted beige and furnishings in shades of blue.", "that is not painted"),
        ("Three stuffed animals lay in a bed cuddled together.", "lay, but there"),
        ("A baseman and a ballplayer from the opposing team sliding onto base .", "a team"),
        ("A young boy smiles while holding a tube of toothpaste .", "a toothpaste"),
        ("Two buses parked in a parking lot next to cars.", "next to two buses"),
        ("A dog 's head is tilted back , and he appears to be looking at an insect flying by .", "an insect and"),
        ("A white horse standing in a corral looking on.", "not yellow"),
        ("An old fashioned refrigerator surrounded by modern cabinets", "not fashioned"),
        ("School boys sit cross legged in front of a chalkboard sign in a vintage photo.", "sit cross in"),
        ("Man in blue uniform shooting basketball being blocked by man in white and red .", "man but not"),
        ("A greyhound walks in the rain through a large puddle .", "through the rain"),
        ("A person on a piece of equipment resembling a bicycle that has very large wheels.", "no bicycle"),
        ("A little kid standing in the grass with a kite in the sky in the background.", "grass without a kite."),
        ("a single giraffe walking towards a group trees", "not tree"),
        ("a man watches as a dog looks at a toy in the air", "watches at"),
        ("an old woman standing besides an elephant smiling", "besides an old woman"),
        ("Many people in multi-colored robes gather for an event", "not multi"),
        ("Zebras share a grassland with wild pigs in Africa.", "wild zebras"),
        ("A girl touches a boys face ; both are smiling .", "both are not"),
        ("Three women wearing traditional apparel make the final touches on their clothing .", "apparels"),
        ("An old style kitchen with baby blue cabinets.", "shows a style kitchen"),
        ("A smiling man sitting by a very nice looking cake.", "not looking"),
        ("A man in a white shirt is standing in a tent holding a banjo or guitar .", "no guitar"),
        ("Young girl posing with crowd in the background", "not in the background"),
        ("The man with short hair has a microphone in his hand .", "not tall"),
        ("A young girl in a green shirt playing basketball .", "basketball that is not"),
        ("A young kid hitting a baseball with a bat close to some chairs", "a bat hitting"),
        ("A girl with colorful clothes is holding colorful scarfs .", "holding colorful clothes"),
        ("Man and child riding in go cart .", "go man"),
        ("Several persons gathered together posing with 6 pizzas in take out boxes.", "dog in take"),
        ("Two giraffes standing outside near a building.", "not jumping"),
        ("A woman sits on a motorcycle with a sidecar.", "sits with a sidecar"),
        ("The new motorcycle on display is very shiny.", "not new"),
        ("A brown dog smelling a grey dog 's tail .", "not grey"),
        ("Greyhounds racing chasing a mechanical rabbit around the track .", "no rabbit"),
        (
            "one man sitting playing a small guitar while another man is standing playing a large cello .",
            "one man with",
        ),
        ("There are birds on the boy", "birds not on"),
        ("A huge truck with three different containers that the truck is pulling.", "no different"),
        ("Two persons are on a bicycle and a third is on a scooter.", "no persons are"),
        ("Various size white refrigerators on display in dark room.", "no room"),
        ("A boy in black waves his arms while other people are behind him on a field .", "not black"),
        ("Three people make snowboard jumps .", "snowboard and"),
        ("A bathroom with orange decorated wallpaper and a mirror.", "a wallpaper"),
        ("A kite surfer gets high in the air while their kite is out of the picture frame.", "is a kite."),
        ("Two peanut butter and jelly sandwiches sliced in half", "two peanut butter with"),
        ("A white horse drawn carriage in front of a yellow building.", "horse not drawn"),
        ("A picture of a couple that just got married lying in a bed.", "married lying"),
        ("A person with a ball facing a child with a racquet.", "a person without a ball."),
        ("A man in red climbs a rock in a field of snow , cliffs , and boulders .", "a rock but no"),
        ("The batter is tapping his bat on home plate.", "is batter"),
        ("A pineapple and some oranges sit on a table.", "sit but"),
        ("Two little girls jump above the floor .", "not walk"),
        ("A man wears a t-shirt showing a baby hugging a bear .", "no baby"),
        ("A bedroom done in animal prints with red and black pillows.", "not print"),
        ("Two young girls are smiling and laughing .", "not smiling"),
        ("A boy with a ball facing a girl", "a boy without a ball"),
        ("A man walking a small white and a big white dog on leashes .", "small white with"),
        ("A man walking a small white and a big white dog on leashes .", "small white and there"),
        ("A woman with a dog canoe down a river .", "canoe but"),
        ("An umpire is talking with two players on different teams.", "no team"),
        ("A traffic light with little faces to help people know what to do.", "do not know"),
        ("An old doctors office with two windows with curatins.", "not old"),
        ("A couple of people sit on a motorcycle next to a white car.", "a couple next"),
        ("Large made up bed in modern bedroom, with small desk.", "make up"),
    ],
)
def test_what_was_bad_is_not_made(caption, wrong):
    made = sentences(caption)
    assert not [text for text in made if wrong in text]


def test_known_names_are_of_visible_things():
    names = NAMES_FILE.read_text(encoding="utf-8").splitlines()
    assert names == sorted(set(names)) and len(names) > 500
    assert all(re.fullmatch("[a-z]+(?: [a-z]+)?", name) for name in names)
    # The sky is behind most things, and seldom worth counting.
    assert {name for name in names if not is_visible(name)} == {"sky"}
    assert is_known("tennis ball") and is_known("woman") and not is_known("leather ball") and not is_known("ring")


def kinds(caption):
    """The kinds of what may be changed inside a caption."""
    return {pair.kind for pair in parse(load_spacy()(caption)).pairs} - {"object"}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        # Words and marks that point at other parts of the caption.
        ("A dog is chasing a cat in a yard .", {"verb"}),
        ("A dog is chasing another dog in a yard .", set()),
        ("A dog is chasing a cat ; both are black .", set()),
        ("Two dogs are running , one is chasing the other .", set()),
        ("A dog is chasing a cat ( on a beach ) .", set()),
        # A word that is a noun too, between its subject and what belongs to a verb, and elsewhere.
        ("A boy waves a flag .", {"verb"}),
        ("A boy in blue waves his arms .", {"verb", "relation"}),
        ("A giraffe walks towards a group trees .", {"verb"}),
        # A participle of what the caption begins with, and of something else.
        ("A man riding a horse", {"verb"}),
        ("A photo of a man riding a horse", set()),
        # A phrase behind its noun or verb, and elsewhere.
        ("A man in a hat", {"relation"}),
        ("People watch a man in a hat", {"verb"}),
        ("A man with a hat in the wind", set()),
        ("A man sits on a bench", {"verb", "relation"}),
        ("A man sits on a bench with a dog", {"verb"}),
        # A verb that says something without its place, and others.
        ("A man walks over a bridge", {"verb", "relation"}),
        ("A man goes over a bridge", {"verb"}),
        ("A man sitting on a box", {"verb", "relation"}),
        ("A pizza sitting on a box", {"verb"}),
        # An adjective of looks between article and noun, and others.
        ("A red car", {"attribute"}),
        ("A red and white car", {"attribute"}),
        ("A small red car", {"attribute"}),
        ("A brand new car", set()),
        ("An old fashioned car", set()),
        ("A mean looking dog", set()),
        ("A famous car", set()),
        ("A red car on display", set()),
        ("A red car on a street", {"attribute", "relation"}),
        ("A grey dog 's tail", set()),
    ],
)
def test_what_may_be_changed_inside(caption, expected):
    assert kinds(caption) == expected


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("A man throws a tennis ball .", ["man", "tennis ball"]),
        ("A man throws a leather ball .", ["man"]),
        ("A woman in an old style kitchen", ["woman"]),
        ("A woman beside a kitchen with a wallpaper", ["woman", "kitchen"]),
        ("A greyhound dog on a couch", ["dog", "couch"]),
        # A bare noun, which may be half of a name or a verb, a substance, and a caption's first word.
        ("A man rides snowboard .", ["man"]),
        ("A man in snow", ["man", "snow"]),
        ("Man in snow", ["man", "snow"]),
        ("A couple of signs near a road", ["sign", "road"]),
        ("A couple near a road", ["couple", "road"]),
        ("Someone near a road", ["road"]),
    ],
)
def test_things_have_a_known_name_and_an_article(caption, named):
    assert object_nouns(parse(load_spacy()(caption))) == named


def test_only_the_end_is_taken_off():
    made = sentences("A boy sits on a bench near a dog .")
    assert not [text for text in made if text.startswith("a boy sits near")]
    assert [text for text in sentences("A boy sits near a bench .") if text.startswith("a boy sits and there is no ")]


def test_who_has_a_thing_is_without_it_only_if_nobody_else_is_there():
    assert "a boy without a ball" in sentences("A boy sees a ball")
    assert not [text for text in sentences("A boy with a ball facing a girl") if text == "a boy without a ball"]


@pytest.mark.parametrize(
    ("caption", "swapped"),
    [
        ("A man holds a dog .", {"a dog holds a man ."}),
        ("A man is riding a big horse .", {"a big horse is riding a man .", "a horse is riding a big man ."}),
        ("A cat sitting on a couch", {"a couch sitting on a cat"}),
        ("A red car near a blue house", {"a blue car near a red house"}),
        # The same the other way round, or another noun of the caption.
        ("A man races a horse .", set()),
        ("A cat sitting near a couch", set()),
        ("A dog walks near a lake through a puddle .", set()),
        ("A man holds a dog which barks .", set()),
        ("A man holds a rope .", set()),
        ("A man holding onto a girl", set()),
        ("A woman has a knife and fork", set()),
        ("A woman holding a plate of cake", set()),
    ],
)
def test_who_does_and_to_what_is_done_change_places(caption, swapped):
    parsed = parse(load_spacy()(caption))
    made = {
        negation.text.lower()
        for seed in range(20)
        for negation in GrammarGenerator(seed, negation_types=["swap"]).negate_parsed(parsed, 0).negations.values()
    }
    assert made == swapped


def test_an_open_quotation_is_rejected():
    caption = 'A sign that says "no parking" on a wall'
    one = Negation('A sign that says "no parking', "false", "object", "but-no", "wall", (0, 1), False)
    assert reject(caption, one) == "unsure parse"


def test_the_list_names_what_one_can_see():
    nouns = read_nouns()
    assert 3_000 < len(nouns.visible) < 6_000 and 60 < len(nouns.absent) < 100
    assert nouns.absent <= nouns.visible and nouns.absent <= nouns.totals.keys()
    assert all(re.fullmatch("[a-z]+(?: [a-z]+)?", name) for name in nouns.visible)
    assert all(one < other and 0 < count for (one, other), count in nouns.pairs.items())
    assert all(map(is_visible, ("dog", "tennis ball", "brunette woman", "oven", "wetsuit")))
    for word in "wrestle grind hug cheer stir close fun exibit popscicle paperworks agility".split():
        assert not is_visible(word), word
    # Nearly always there, and seldom named.
    assert not any(map(may_be_absent, ("sky", "wall", "floor", "tree", "shirt")))
