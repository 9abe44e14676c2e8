"""Word lists of the rules. All in lower case, nouns singular."""


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


MALE = word_set("man guy gentleman boy male lad dude father dad son brother husband groom king prince")
FEMALE = word_set("woman lady girl female mother mom daughter sister wife bride queen princess")
CHILDREN = word_set(
    "child kid boy girl toddler baby infant youngster teen teenager adolescent newborn youth daughter son schoolboy "
    "schoolgirl"
)
# May be a man or a woman, old or young: no caption that names one tells which.
ANYONE = word_set(
    "person people human adult individual crowd audience team family couple friend worker player rider driver "
    "dancer skier surfer skater skateboarder snowboarder climber hiker runner swimmer biker cyclist bicyclist "
    "artist actor performer musician singer guitarist drummer athlete vendor shopper spectator onlooker bystander "
    "fan pedestrian passenger student teacher doctor nurse soldier officer policeman police cop fireman firefighter "
    "chef cook waiter waitress bartender businessman lawyer farmer fisherman hunter cowboy clown referee umpire "
    "coach catcher pitcher batter goalie quarterback cheerleader gymnast wrestler boxer racer jockey model "
    "photographer politician president author writer customer tourist visitor guest member patient employee "
    "construction senior elder parent grandmother grandfather relative sibling twin acrobat skydiver diver kayaker "
    "canoeist rower sailor motorcyclist bmxer stuntman protester marcher celebrity comedian rapper footballer "
    "basketballer cricketer monk priest nun pilot guard sunbather jogger camper backpacker walker teammate opponent "
    "participant competitor contestant instructor trainer leader someone somebody"
)
THINGS_IN_ING = word_set(
    "building ceiling railing string ring wing king swing sling awning earring crossing duckling stocking icing "
    "pudding sibling frosting clothing seating fencing housing flooring"
)
# Nouns that also describe: "an adult and a baby elephant".
ALSO_DESCRIBING = word_set("adult baby mother male female child youth juvenile infant junior senior amateur teen")
COLLECTIVES = word_set(
    "group couple pair bunch crowd team family number lot line row band police audience herd flock pack"
)
PERSONS = MALE | FEMALE | CHILDREN | ANYONE
ANIMALS = word_set(
    "dog puppy cat kitten horse cow bird animal bear elephant giraffe zebra sheep goat duck pet lion tiger goose swan "
    "pigeon seagull pony camel monkey squirrel deer snake fish penguin parrot rabbit turtle poodle"
)

# Nobody expects these but where there are animals.
PETS = word_set("dog cat puppy kitten")
WILD = word_set("elephant giraffe zebra bear lion tiger camel monkey penguin")

# What one eats or drinks.
FOODS = word_set(
    "pizza sandwich cake banana apple carrot donut salad soup cookie bread egg cheese fruit cream hamburger cupcake "
    "broccoli strawberry coffee beer wine"
)
# Two names in one set may refer to the same thing.
SYNONYMS = (
    MALE,
    FEMALE,
    CHILDREN,
    word_set(
        "dog puppy pup hound canine terrier labrador lab poodle retriever shepherd collie dachshund greyhound beagle "
        "spaniel dalmatian bulldog husky boxer chihuahua mutt chow rottweiler corgi pug mastiff pitbull setter "
        "whippet doberman malamute pomeranian"
    ),
    word_set("cat kitten kitty"),
    word_set(
        "bird duck duckling goose swan pigeon dove seagull gull owl penguin parrot chicken hen rooster chick eagle "
        "hawk falcon vulture crow raven crane heron stork pelican flamingo ostrich emu peacock turkey sparrow robin "
        "finch parakeet cockatoo fowl waterfowl hummingbird woodpecker toucan"
    ),
    word_set("sheep lamb ram ewe"),
    word_set("bear cub panda"),
    word_set("horse pony foal colt mare stallion mustang bronco"),
    word_set("bike bicycle motorcycle motorbike cycle dirtbike"),
    word_set("car vehicle automobile truck taxi cab van suv jeep"),
    word_set(
        "boat ship canoe kayak raft sailboat vessel ferry yacht barge tugboat dinghy gondola catamaran rowboat "
        "speedboat motorboat lifeboat"
    ),
    word_set("ocean sea water lake river pond wave stream pool surf creek"),
    word_set("grass field lawn meadow pasture park yard"),
    word_set("street road sidewalk pavement path trail lane highway walkway track"),
    word_set("hill mountain cliff mountainside hillside peak slope"),
    word_set("tree forest woods wood branch bush jungle plant"),
    word_set("building house skyscraper tower structure home church cabin shop store"),
    word_set(
        "shirt t-shirt tshirt top jersey sweater sweatshirt blouse jacket coat tank outfit uniform clothes suit dress"
    ),
    word_set("pants jeans trousers shorts outfit clothes uniform trunk"),
    word_set("hat cap helmet headgear beanie"),
    word_set("glass goggles sunglass glasses sunglasses eyeglass"),
    word_set("couch sofa seat chair bench stool"),
    word_set("toy ball frisbee stuffed doll"),
    word_set("plane airplane jet aircraft"),
    word_set("picture photo image photograph painting drawing"),
    word_set("stone rock boulder pebble"),
    word_set("beach shore sand coast seashore shoreline"),
    word_set("snow ice snowbank"),
    word_set("food meal lunch dinner breakfast snack dish"),
    word_set("stick branch log twig"),
    word_set("ball baseball football basketball volleyball soccerball softball"),
    word_set("bag backpack purse handbag sack suitcase"),
    word_set("crowd people audience group team"),
    word_set("shoe boot sneaker sandal"),
    word_set("beverage drink beer wine cup glass mug"),
    word_set("phone cellphone telephone smartphone"),
    word_set("computer laptop"),
    word_set("table desk counter"),
    word_set("flag banner sign"),
    *(frozenset({"animal", "pet", "wildlife", "livestock", name}) for name in ANIMALS | {"pony", "bull"}),
    word_set("cow bull cattle steer calf ox heifer buffalo"),
    word_set("fence railing rail gate barrier"),
    word_set("stage concert"),
    word_set("surfboard board skateboard snowboard wakeboard ski"),
    word_set("flower plant rose tulip"),
    word_set("rope leash cord"),
    word_set("game match sport"),
    word_set("bus vehicle van"),
    word_set("train vehicle locomotive"),
    word_set("stair step staircase stairway"),
    word_set("floor ground dirt"),
)

# Heads that name no thing one can see by itself.
NO_OBJECT = word_set(
    "group couple pair bunch lot number piece row line set series kind type sort variety part half rest middle "
    "center centre side front back top bottom edge end corner distance background foreground view scene direction "
    "way day night time morning evening afternoon sunset sunrise dusk dawn air midair mid-air action motion fun "
    "life event thing something anything everything nothing one other another each area place spot location height "
    "speed shape size color colour style look pose position posture expression attention turn move movement jump "
    "run walk ride trick stunt flip practice training race game match sport competition performance show party play "
    "work job trip hand arm leg foot head face eye mouth nose ear hair body shoulder knee neck lap chest finger toe "
    "tail paw tongue teeth tooth lip skin belly stomach waist hip wrist elbow chin cheek cell week month year hour "
    "minute moment love peace joy use help amount daytime nighttime summer winter spring fall autumn season weather "
    "picture photo image photograph photography portrait painting drawing illustration concept idea shade shadow "
    "light sunlight darkness sun attire clothing gear equipment stuff item object material pattern design version "
    "collection selection range pile stack array circle formation stance conversation talk meeting celebration "
    "wedding birthday holiday vacation tour visit journey process state country city world town name word letter "
    "date song music sound voice noise smile laugh smirk frown grin cry shout thumb ankle fist fingernail beard "
    "mustache moustache eyebrow forehead gesture attempt effort try goal point score fight battle dance step level "
    "length width depth surface space stand stop start finish hold catch throw swing dive kick hit leap splash "
    "climb slide glide swim bath shower break nap sleep breath bite sip drag chase bit wearing playing riding lay "
    "lunch-break read chew power clothes font headfirst badminton softball beauty launch underwater open tug sync "
    "watch closeup close-up blowup frame camera display fleet herd flock pack possession cover enjoyment flight "
    "excitement happiness anger fear danger safety interest concentration anticipation preparation need order "
    "charge unison contact soccer tennis hockey golf volleyball polo rugby karate yoga chess lacrosse cricket angle "
    "perspective chore task activity routine red blue green white black brown yellow pink purple gray grey tan "
    "orange silver gold blond blonde brunette left right inside outside outdoors indoors front-yard left-hand "
    "right-hand purpose reason result case example member setting pass shot jumping running standing climbing "
    "hiking swimming surfing skiing fishing shopping downtown uphill downhill total full second first third "
    "pen trunk bank palm club nail redhead"
)
# Before "of", these name another thing: a bed of flowers, a couple of signs.
NOT_WITH_OF = COLLECTIVES | word_set("statue sculpture bed crowd team member")
# Of a thing, these are less than the thing.
PARTS = word_set("piece slice bite bit chunk crumb half part quarter")
MASS = word_set(
    "earth clutter alcohol cereal lemonade soda champagne bamboo terrain art water snow grass sand food ice dirt "
    "mud traffic furniture luggage clothing hair smoke fire rain wood foliage gravel bread rice meat fruit coffee "
    "tea beer wine milk juice cheese chocolate pasta salad soup equipment gear machinery paper money jewelry makeup "
    "graffiti glass metal concrete cement brick cake pizza hay cotton vegetation greenery shrubbery scenery artwork "
    "fabric cloth cardboard plastic wire foam fog mist dust steam oil paint chalk wax soil clay brush ivy moss "
    "seaweed corn wheat lettuce broccoli spinach bacon ham chicken fish seafood sushi butter sauce ketchup cream "
    "popcorn candy sugar salt trash garbage rubbish litter debris laundry footage merchandise produce surf spray "
    "lightning rubble pavement underwear footwear headgear sunshine electricity cattle police wildlife livestock "
    "confetti string thread tape leather denim lace silk wool fur lava whitewater mustard honey clover pottery "
    "lipstick "
    "flooring silverware soap powder incense broth spandex goo scaffolding camouflage yogurt parsley cilantro "
    "kale garlic basil celery cabbage asparagus cauliflower granola "
    "oatmeal guacamole salsa mayonnaise lettuce ginger gravy syrup barley rye pork beef poultry cardboard asphalt "
    "tarmac spaghetti lasagna baggage apparel attire toothpaste chili shampoo lotion sunscreen frosting icing dough "
    "batter hummus relish mayo curry pudding gum tobacco ash coal charcoal lumber timber plywood signage stationery "
    "cutlery crockery tableware glassware armor camo velvet satin nylon tinsel turf sod undergrowth underbrush "
    "algae kelp "
    "coral driftwood firewood sawdust slush netting piping wiring fencing paneling siding roofing tiling "
    "carpeting bedding "
    "upholstery linen wallpaper linoleum stucco drywall mulch compost manure straw bubblegum"
) - word_set("cattle police glass paper fire brush cake pizza wire brick fish chicken salad string batter")
# Where there is one, there are two.
IN_PAIRS = word_set("shoe boot sandal sneaker glove sock ski skate earring mitten slipper")
PLURAL_ONLY = {
    "pants": "pants",
    "jeans": "jeans",
    "shorts": "shorts",
    "trousers": "trousers",
    "glasses": "glasses",
    "sunglasses": "sunglasses",
    "goggles": "goggles",
    "scissors": "scissors",
    "clothes": "clothes",
    "woods": "woods",
    "overalls": "overalls",
    "pajamas": "pajamas",
    "tights": "tights",
    "binoculars": "binoculars",
    "headphones": "headphones",
    "police": "police",
    "cattle": "cattle",
    "leggings": "leggings",
    "khakis": "khakis",
    "fatigues": "fatigues",
    "stairs": "stairs",
    "bleachers": "bleachers",
    "fireworks": "fireworks",
    "groceries": "groceries",
    "belongings": "belongings",
}
# A dog runs "without a tree" is no English; "and there is no tree" is.
SCENERY = word_set(
    "grass field street road beach water snow mountain hill sky park building wall house tree forest woods ocean "
    "sea lake river pool yard garden sidewalk path trail ground floor room city town sand dirt mud rock cliff "
    "bridge track fence stage court pond stream shore lawn pavement slope kitchen bathroom bedroom office store "
    "shop restaurant market stadium arena gym station airport desert jungle cave creek wave waterfall ice hallway "
    "playground pier dock alley driveway garage porch deck balcony roof ceiling window door stair stairs steps "
    "classroom church crowd island valley canyon farm pasture meadow foliage vegetation puddle wood parking gravel "
    "cloud zoo museum mall cafe bar hotel school tunnel ramp horizon rail railing ledge curb highway lot backyard "
    "harbor coast bank plaza square concert village downtown runway intersection corner"
)
UNIQUE = word_set("sky sun moon ocean sea horizon")

# An adjective and a noun that name one thing.
FIXED_NAMES = frozenset(
    {
        ("sleeping", "bag"),
        ("hot", "dog"),
        ("hot", "air"),
        ("hot", "tub"),
        ("wet", "suit"),
        ("polar", "bear"),
        ("high", "school"),
        ("high", "chair"),
        ("high", "heel"),
        ("stuffed", "animal"),
        ("teddy", "bear"),
        ("white", "water"),
        ("white", "house"),
        ("red", "carpet"),
        ("black", "belt"),
        ("soft", "drink"),
        ("long", "jump"),
        ("high", "jump"),
        ("short", "sleeve"),
        ("hard", "hat"),
        ("open", "air"),
        ("orange", "juice"),
        ("green", "bean"),
        ("wild", "west"),
        ("public", "transport"),
        ("public", "transportation"),
        ("public", "restroom"),
        ("bare", "foot"),
        ("blue", "jay"),
        ("fresh", "water"),
        ("modern", "art"),
        ("golden", "retriever"),
        ("german", "shepherd"),
        ("black", "lab"),
        ("yellow", "lab"),
    }
)
COLORS = word_set(
    "red blue green white black brown yellow pink purple gray grey tan orange silver gold golden blond blonde beige "
    "maroon turquoise violet teal navy"
)

# A noun with one of these on it is no such thing, or may not be there.
UNREAL = word_set(
    "mechanical robotic cardboard toy fake stuffed inflatable imaginary painted carved plush mock model hot "
    "cartoon animated artificial snow sand stick gingerbread ice"
)
# What hangs on these may not be in the picture.
UNSEEN_PREPOSITIONS = word_set("like as for than about except despite without unlike per since during after before")
# With the word before, these make one: "nice looking", "old style", "cross legged".
SECOND_HALVES = word_set(
    "looking shaped sized size colored coloured style styled type fashioned haired legged sleeved eyed headed "
    "handed sided "
    "wheeled tailed faced themed flavored scented made era age kind brand"
)
UNSEEN_VERBS = word_set(
    "show depict portray feature resemble imitate mimic simulate represent await want need seek expect advertise"
)
PICTURES = word_set(
    "picture photo image statue painting drawing photograph portrait sculpture mural poster cartoon toy"
)

# Prepositions whose phrase says what the noun or verb is, not where or with what.
NO_RELATION = word_set("of like as for than per about because due except since by to from into onto via despite")
PLACE = word_set(
    "in on under underneath beneath behind near at beside above below inside outside against between among amongst "
    "over around along next atop across within beyond past aboard amid by alongside down up through upon front"
)

# A sentence seldom ends in these.
BARE_PREPOSITIONS = word_set("on onto to of at with into from for upon off over through against toward towards in")

# These point at a noun of the sentence.
POINTING = word_set(
    "who whom whose which that he him his she her hers it its they them their himself herself itself themselves "
    "another other others each both one ones"
)

# These say the same with their place phrase left out.
FREE_VERBS = word_set(
    "sit stand walk run jump play lie sleep swim eat smile pose wait work talk fly surf ski ride dance sing rest "
    "relax crawl climb hike skate skateboard snowboard jog race wade splash travel drive sail fish swing slide roll "
    "kneel crouch squat lean perform practice shop march gather dig drink read laugh cry scream yell float dive "
    "leap hop bike paddle row fight wrestle bark graze camp cook chat converse celebrate compete exercise stretch "
    "skip gallop trot stroll wander sunbathe paint draw write hang perch nap snowboarding kayak canoe bounce land "
    "fall watch speak kiss hug bathe yawn bend lounge rollerblade sled soar hover parachute juggle bat pitch"
)
# By themselves, without a place, these say too little: "a tower sitting".
POSTURES = word_set("sit stand lie lay hang lean perch kneel crouch squat wait rest park mount")
BINDING_VERBS = word_set(
    "have make take keep let get be become seem put place set lay lean belong consist depend give hand stare gaze "
    "cover fill look point attach"
)

# Inside what is negated, these reverse the sense or leave it open.
SCOPE_ADVERBS = word_set(
    "still already also too only almost barely hardly just even always sometimes often usually possibly perhaps "
    "maybe probably apparently never not no yet nearly anymore currently otherwise"
)
QUANTIFIERS = word_set("some several many most all every each both few various numerous any multiple")
COUNTING = word_set("single double triple twin dual two three four five six seven eight nine ten 2 3 4 5 6 7 8 9 10")
INDEFINITE_PRONOUNS = {
    "someone": "no one",
    "everyone": "no one",
    "somebody": "nobody",
    "everybody": "nobody",
    "something": "nothing",
    "everything": "nothing",
}
PRONOUNS = word_set(
    "i you he she it we they him her me us them himself herself itself themselves who which that this these those "
    "one someone somebody everyone everybody anyone there what"
)
# Past forms that, without an object, are participles in captions ("a woman dressed in red").
STATIVE = word_set(
    "dress park seat cover fill surround make locate decorate paint light stack load attach tie prepare design "
    "illuminate build line tuck wrap bundle equip frame mount position strap clothe crowd pile litter tangle"
)
# After a noun, these make it part of a description: "tiger striped", "fire hydrant" where the tagger stumbles.
DESCRIBING = word_set(
    "striped built print printed shaped style styled like themed colored hydrant hydrants can cans sized bear bears"
)
NEGATIONS = word_set(
    "no not n't nt without nobody none never nothing neither nor nowhere cannot cant dont doesnt isnt arent wasnt "
    "werent didnt wont don't doesn't isn't aren't wasn't weren't didn't can't won't couldn't hasn't haven't hardly "
    "barely scarcely noone non lacking lacks devoid absent unable minus sans empty-handed n’t don’t doesn’t isn’t"
)

# Words that rule each other out, about as often as captions use them: if one were negated truly far more often than
# falsely ("not old", for captions say "young"), the word alone would tell.
_COLORS = "black black black white white white red red blue blue brown green yellow orange pink".split()
_LIKE_COLORS = (
    *("red pink orange maroon", "blue turquoise navy purple", "green", "yellow gold golden orange blond blonde"),
    *("black navy", "white beige silver", "brown tan maroon orange", "pink red purple", "orange red yellow"),
)
CONTRARIES = {
    **{
        families.split()[0]: tuple(color for color in _COLORS if color not in families.split())
        for families in _LIKE_COLORS
    },
    "small": ("large", "big"),
    "large": ("small",),
    "big": ("small",),
    "tall": ("short",),
    "short": ("tall",),
    "snowy": ("grassy",),
    "grassy": ("snowy",),
    "sandy": ("snowy", "grassy"),
}
ANIMAL_COLORS = word_set("black white brown")
SIZES = word_set("small large big little tiny huge tall short giant enormous miniature")
GROUNDS = word_set("snowy grassy sandy")
# Adjectives that say how something looks, and that may follow "is".
LOOKS = COLORS.union(SIZES, GROUNDS) | word_set(
    "young old long wooden rocky muddy wet dry dirty smiling laughing striped furry fluffy shaggy steep narrow busy "
    "crowded colorful leafy shirtless bearded round elderly bald happy curly broken clean shiny"
)
# Verb -> what one does not do at the same time.
OTHER_ACTIONS = {
    "run": ("sit", "sit", "sit", "stand", "stand", "stand", "walk"),
    "walk": ("run", "run", "sit", "sit"),
    "sit": ("run", "run", "stand", "stand", "walk"),
    "stand": ("run", "run", "sit", "sit", "walk"),
    "lie": ("run", "stand", "sit", "walk"),
    "sleep": ("run", "stand", "walk"),
    "jump": ("stand", "sit", "walk"),
    "climb": ("run", "sit"),
    "swim": ("walk", "stand", "sit"),
}

# Sorts of things: where a caption names one, another of the sort can replace it.
CLOTHES = word_set(
    "shirt t-shirt jersey sweater sweatshirt blouse jacket coat uniform suit dress pants jeans trousers shorts hat "
    "cap helmet goggles glasses sunglasses shoe boot sneaker sandal scarf glove mask costume skirt vest robe tie "
    "apron bikini swimsuit bathing-suit hoodie headband bandana overalls necklace backpack gown kimono raincoat "
    "wetsuit tuxedo sari leotard tutu headphones watch sock life-jacket outfit"
)
VEHICLES = word_set(
    "bike bicycle motorcycle motorbike scooter horse skateboard snowboard surfboard car truck bus train boat canoe "
    "kayak raft ship van tractor wagon cart sled tricycle unicycle camel elephant donkey pony wakeboard jet-ski atv"
)
# Beside clothes and vehicles, what may have any colour, or come in any size.
ANY_COLOR = word_set(
    "ball frisbee kite umbrella balloon flower flag cup mug bowl plate bottle bag basket bucket towel chair bench "
    "couch sofa table door building house wall sign car toy helmet collar leash rope tent blanket pillow backpack "
    "vase suitcase"
)
ANY_SIZE = word_set("ball kite umbrella bag box bowl plate boat truck house building room rock tree dog table sign")
# What carries no thing, but things stand there: nobody is "without" it.
FURNITURE = word_set(
    "table bench couch bed desk lamp mirror rug carpet curtain bookshelf refrigerator oven stove microwave sink "
    "toilet "
    "bathtub television fireplace piano cabinet chair stool statue fountain sculpture sign trampoline hurdle fence "
    "tent car bus truck train airplane helicopter boat ship van taxi jeep tractor carriage crosswalk railing staircase"
)
# Where one can do one thing as well as another.
GROUNDED = word_set("on in at near by beside along across through down up from to inside outside")
# What one does not sit, lie or stand.
PATHS = word_set("through across down up along over into around past toward towards onto off after behind from to")
MOVING = word_set("run walk jump climb")
_BIKES = "bike bicycle motorcycle motorbike scooter horse helmet vehicle glove jacket suit boot"
_BALLS = (
    "ball racket bat basket hoop basketball football baseball soccer goal glove net uniform player team field court"
)
_WATERS = "water ocean sea lake river pool wave pond surf beach surfboard"
_SNOW = "snow ski snowboard slope hill mountain ice"
# What a word of a caption brings along, named or not: "a cyclist, but no bike" is no true negation.
_BRINGS = (
    ("cyclist biker bicyclist rider motorcyclist racer ride bmx", _BIKES),
    ("soccer tennis baseball basketball football volleyball hockey golf rugby cricket", _BALLS),
    ("player batter pitcher catcher goalie play game match bat", _BALLS),
    ("swim swimmer pool lake river ocean sea boat canoe kayak kayaker dive splash", _WATERS),
    ("surf surfer surfboard wave pond raft fish float wade shore dock", _WATERS),
    ("ski skier snowboard snowboarder sled snow snowy slope", _SNOW),
    ("skate skater skateboarder skateboarding ollie", "skateboard board ramp rail"),
    ("grassy lawn meadow", "grass field lawn"),
    ("wooded wood woods forest jungle", "tree wood woods forest branch leaf"),
    ("beach sandy", f"{_WATERS} sand shore coast"),
    ("mountain cliff climb climber rocky", "rock cliff mountain rope boulder"),
    ("kitchen", "stove sink counter cabinet oven refrigerator table"),
    ("bathroom", "toilet sink tub mirror towel"),
    ("city street road town traffic downtown", "building street road car vehicle sidewalk city"),
)
WORN = word_set("shirt pants trousers jeans shoe sock clothes top")
IMPLIED = {word: word_set(things) for names, things in _BRINGS for word in names.split()}
