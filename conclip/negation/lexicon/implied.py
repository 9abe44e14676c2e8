"""What a caption implies without naming it: "surfing" a wave, "biker" a bike."""

# Objects (one word each) -> words of a caption, singular, that imply them. Collected from captions of the same image
# of which one names the object and another does not.
_IMPLYING = {
    "snow": "mountain mountains peak snowy ski skis skiing skier snowboard snowboarding snowboarder sled sledding "
    "snowball snowman snowmobile",
    "ski": "skiing skier",
    "snowboard": "snowboarding snowboarder",
    "slope": "skiing skier snowboarding snowboarder downhill",
    "water": "swim swims swimming swimmer surf surfing surfer wet splash splashing splashes swam boat sail sailing "
    "kayak kayaking canoe canoeing paddle paddling wade wading raft rafting rapids dive diving beach dock pier "
    "fountain sprinkler underwater waterfall wakeboard wakeboarding wakeboarder fishing fisherman bathe bathing "
    "shoreline puddle hose wave coast harbor",
    "wave": "surf surfing surfer",
    "surfboard": "surf surfing surfer",
    "pool": "swim swimming swimmer diving poolside underwater",
    "boat": "wakeboard wakeboarding wakeboarder waterski waterskiing waterskier parasail parasailing parasailer",
    "boat canoe kayak raft": "sail sailing rowing rower kayaking kayaker canoeing rafting rapids paddling dock "
    "harbor marina",
    "bike bicycle motorcycle motorbike": "biker biking cyclist cycling bicyclist motorcyclist bmx bmxer rider "
    "riding ride rides pedals wheelie",
    "horse": "rider riding ride rides jockey rodeo equestrian cowboy bronco saddle gallop",
    "skateboard": "skateboarding skateboarder skater skating skateboards",
    "skate": "skater skating",
    "ramp": "skateboarding skateboarder skater halfpipe",
    "grass": "grassy lawn field meadow pasture yard backyard park",
    "sand": "sandy beach shore dune desert volleyball",
    "beach": "sandy ocean sea surf shore seaside wave",
    "ocean sea": "beach shore seaside surf surfing surfer coast wave",
    "tree woods": "wooded forest woods jungle park leafy orchard",
    "forest woods": "wooded tree trail",
    "rock": "rocky cliff climber climbing climb stony",
    "cliff": "climber climbing climb rocky",
    "rope": "climber climbing tug rappel rappelling",
    "mountain": "mountainous mountaintop climber climbing hiker hiking snowy summit ski",
    "hill": "hilly hillside downhill slope",
    "trail": "hike hiking hiker",
    "backpack": "hike hiking hiker backpacker backpacking",
    "mud": "muddy",
    "dirt": "dirty dusty muddy",
    "dust": "dusty",
    "leaf": "leafy tree autumn",
    "road": "roadside traffic driving racetrack car truck bus motorcycle motorcyclist corner bicycle parked",
    "street": "traffic crosswalk curb sidewalk city urban road car taxi downtown corner motorcycle bus bicycle "
    "truck parked",
    "sidewalk": "street pavement curb bench hydrant meter",
    "building": "city urban downtown indoors inside",
    "car": "driving traffic race racing drive drives",
    "ball": "soccer football basketball baseball volleyball tennis golf rugby softball catch throws throw kicks "
    "juggle juggling fetch bowling lacrosse polo ballgame pitcher pitch game player team toy",
    "bat": "baseball batter batting cricket swing",
    "racket": "tennis badminton",
    "field": "soccer football baseball rugby lacrosse",
    "court": "basketball tennis volleyball",
    "player": "game match team",
    "uniform": "player team baseball football soccer police officer soldier",
    "helmet": "biker cyclist motorcyclist bmx football rider racer racing hockey",
    "toy": "playing plays play fetch",
    "stick": "fetch hockey lacrosse",
    "leash": "walking walks",
    "crowd": "audience spectator parade concert stadium festival onlooker",
    "person": "climbing rollerblader blader schoolchildren motocross motocrosser wakeboarding skateboarding surfing",
    "chair": "seated table restaurant office desk couch sofa living wii dining room party laptop computer bed bedroom",
    "table": "restaurant dinner dining eating meal cafe cake pizza breakfast lunch dish plate laptop computer "
    "keyboard bowl cup mug glass wine sandwich carving cutting slicing pouring cooking preparing vase kitchen "
    "birthday console controller controllers wii",
    "food": "eating eats eat meal restaurant dinner picnic cooking bbq barbecue",
    "drink": "drinking drinks bar beer wine",
    "camera": "photographer photograph photographing pose poses posing",
    "guitar": "guitarist band",
    "drum": "drummer band",
    "microphone": "sing singing singer sings karaoke",
    "stage": "concert perform performing performer band",
    "swing": "swinging swings playground",
    "slide": "playground sliding slides",
    "playground": "swing slide",
    "fire": "campfire bonfire flame smoke",
    "tent": "camp camping camper campsite",
    "bed": "bedroom asleep sleeping",
    "window": "indoors inside",
    "floor": "indoors inside room",
    "umbrella": "rain rainy",
    "rain": "rainy umbrella",
    "flag": "parade",
    "sign": "protest protester",
    "bench": "seated",
    "desk": "computer laptop keyboard monitor office",
    "sink toilet mirror": "bathroom restroom toilet",
    "sink stove oven counter refrigerator": "kitchen cooking blender",
    "bowl plate fork knife dish": "food eating meal pizza cake salad breakfast dinner lunch",
    "park": "skateboarder skateboarding skateboard ramp halfpipe",
    "dress": "party wedding bride dancing",
    "couch lamp television": "living lounge",
    "book": "office desk library bookshelf shelf",
    "stove oven": "pizza prepares prepare baking baked",
    "jacket coat glove goggles": "skiing skier ski skis snowboard snowboarder snowboarding sled winter snow",
    "wetsuit": "surfer surfing surf surfboard diver",
    "cake donut": "dessert pastry pastries sweets bakery frosting candle candles birthday treat treats party",
    "pizza sandwich cake banana donut hamburger cream": "food meal lunch dinner breakfast dish dishes "
    "eat eating eats ate cook cooking cooks snack buffet plate plates tray fruit vegetable restaurant entree serving "
    "served",
    "car bike bicycle": "street road sidewalk city town traffic market parking driveway corner crosswalk",
    "cake pizza sandwich banana": "refrigerator fridge",
    "train bus airplane car": "terminal station airport platform runway",
    "ball frisbee": "something object item toy toys fetch fetching playing plays catching game park",
    "ball baseball football basketball kite frisbee umbrella balloon laptop": "something object item things stuff",
}
# Word -> the objects that it implies.
IMPLIED_BY: dict[str, tuple[str, ...]] = {}
for _things, _words in _IMPLYING.items():
    for _word in _words.split():
        IMPLIED_BY[_word] = (*IMPLIED_BY.get(_word, ()), *_things.split())

# Words -> a thing that goes with much of what they go with. Unlike what is implied, it need not be there.
SCENES = {
    word: name
    for name, found in {
        "tennis court": "tennis",
        "baseball field": "baseball batter",
        "soccer ball": "soccer",
        "football player": "football rugby",
        "basketball court": "basketball",
        "ski": "skiing skis",
        "snowboard": "snowboarding",
        "surfboard": "surfing surfs",
        "skateboard": "skateboarding skateboards skating",
        "bike": "biking bmx cycling",
        "climber": "climbing climbs",
        "swimming pool": "swimming swims",
        "kitchen": "cooking cooks",
        "plate": "eating eats meal dish served cooked",
        "airplane": "airliner jet plane aircraft airplanes jetliner",
        "television": "wii nintendo video",
    }.items()
    for word in found.split()
}
