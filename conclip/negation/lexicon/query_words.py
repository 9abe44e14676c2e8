"""Word lists of the rules that split a search query. All in lower case."""

from conclip.negation.lexicon.words import ANIMALS, PERSONS, THINGS_IN_ING, word_set

ARTICLES = word_set("a an the any some this that these those its his her their single")
BE = word_set("is are was were be been being 's 're am")
HAVE = word_set("have has had")
DO = word_set("do does did")
MODALS = word_set("can could will would may might must should wo ca")
# Verbs whose object is shown: "the image does not include a car".
SHOW = word_set(
    "include includes including included feature features featuring show shows showing contain contains containing "
    "have has having depict depicts depicting display displays displaying see sees seeing capture captures capturing "
    "possess hold holds offer offers portray portrays present presents exhibit exhibits reveal reveals find"
)
# Verbs whose subject is shown: "a car does not appear".
APPEAR = word_set("appear appears appearing exist exists seem seems show")
# What is said of a thing that is in the image.
SHOWN = word_set(
    "visible present included shown seen depicted featured pictured found displayed captured evident apparent "
    "noticeable observed observable detected there here nearby around anywhere portrayed contained involved "
    "represented discernible spotted located available inside outside"
)
# Who sees what the image shows: "you can see no dog".
VIEWERS = word_set("we you i one it")
IMAGE = word_set(
    "image picture photo photograph scene shot frame view sight background foreground vicinity photos pictures images "
    "snapshot composition visual setting"
)
PREPOSITIONS = word_set(
    "in on at to from by near within among amongst beside behind under over above below beneath inside outside around "
    "alongside across along through throughout into onto upon against between amid amidst beyond for with without "
    "during after before next anywhere nearby besides while"
)
# A noun phrase follows these.
BEFORE_NOUN = ARTICLES | PREPOSITIONS
# A clause ends before these.
CLAUSE = word_set(
    "but while although though yet however whereas where which who that as because since when so instead just only "
    "and whose despite"
)
# They end a noun phrase; "of" does not ("a cup of coffee").
ENDS_PHRASE = (
    PREPOSITIONS
    | CLAUSE
    | BE
    | DO
    | MODALS
    | APPEAR
    | HAVE
    | word_set(
        "not n't no visible present to either or nor included seen shown depicted featured pictured found displayed "
        "whatsoever there here"
    )
)
# A query that holds only these wants nothing.
EMPTY = (
    ARTICLES
    | BE
    | IMAGE
    | SHOW
    | CLAUSE
    | word_set("it there here of in with we i you and also overall otherwise still notably on at to does do both")
)
LACK = word_set("lack lacks lacking lacked exclude excludes excluding")
# "no visible chairs" means no chairs.
VISIBLE = word_set("visible apparent discernible noticeable surrounding actual obvious")
# "free of", "devoid of", …
FREE = word_set("free devoid void empty bare clear bereft absence absent lack lacking")
SIGN = word_set("sign signs trace traces hint hints evidence sight")
# "unoccupied by people"
UNOCCUPIED = word_set("unoccupied uninhabited unaccompanied undisturbed unattended")
PEOPLE = word_set("anyone anybody")
# "no doubt", "without question"
NOT_THINGS = word_set("doubt question exception fail delay hesitation wonder idea problem way time")
# "no longer", "no more than two"; "no more cars" is rare.
NOT_DENIED_BY_NO = NOT_THINGS | word_set("longer more fewer less matter sooner")
# Words with "-free" that are said of food, fuel and the like.
NOT_SEEN_FREE = word_set("hands sugar gluten fat lead dairy duty toll care stress carefree alcohol caffeine")
# Words after "not" that negate nothing that can be seen, or not the thing itself.
NOT_NEGATED = word_set("only just merely simply far quite too very yet without to necessarily always so even")
# Verbs of captions whose forms in -s and -ing end a noun phrase: "a man with no shirt plays tennis".
VERBS = word_set(
    "accompany appear attempt balance begin bite blow bounce carry catch chase chew climb cook cross cut dance "
    "dig dive do drink drive eat enter fall fight film fish fly follow gaze get give go graze grind hang have "
    "hike hit hold hop hug jog jump kick kiss kneel lay lean leap lick lie lift listen look make mow move operate "
    "paddle paint perform peer pet pick place play point pose prepare pull punch push put reach read rest ride "
    "row run sail say see seem sell serve shake shoot show sing sit skate skateboard ski slide sleep smile smoke "
    "snowboard speed spin splash stand stare start stretch stroll surf sweep swim swing take talk throw toss "
    "touch travel try turn use wade wait walk wash watch wave wear work wrestle write"
)
# Their doing belongs to them: "no people walking on the street" wants nobody to walk there.
DOERS = PERSONS | ANIMALS | word_set("car bus truck train bicycle bike motorcycle boat plane vehicle one else other")
NAMED_SIGNS = word_set("sign signs signage zone symbol notice logo poster label labels sticker area lane")
# "break free of an opponent"
NOT_FREE_OF = word_set("break breaks breaking broke set get gets the a")
# Before "absent" and "missing"
DEGREES = word_set("notably noticeably conspicuously clearly completely entirely totally also obviously")
# Before "free of" and "absence of"
BEFORE_FREE = word_set(
    "a an the is are was with there noticeable notable noticeably notably complete completely clear clearly total "
    "entirely obvious conspicuous apparent its and by"
)
# Things whose names end in what may be a verb: "no roller skates".
COMPOUNDS = frozenset({("jet", "skis"), ("roller", "skates"), ("ice", "skates"), ("water", "skis")})


def is_verb(word: str) -> bool:
    """Return whether the word is one of `VERBS` in -s or -ing."""
    if word in THINGS_IN_ING:
        return False
    if word.endswith("ing"):
        stem = word[:-3]
        return bool({stem, f"{stem}e", stem[:-1], f"{stem[:-1]}ie"} & VERBS)
    if word.endswith("ies") and f"{word[:-3]}y" in VERBS:
        return True
    return word.endswith("s") and bool({word[:-1], word[:-2] if word.endswith("es") else ""} & VERBS)
