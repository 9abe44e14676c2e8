"""Words that put a thing in the picture without naming it, for the check of what is absent."""

# What is there (one thing a word) -> the words (singular, as said) that tell. Made by reading which things
# captions of an image name when another caption of it does not.
_TOLD_BY = {
    "snow": "snowy ski skis skiing skier snowboard snowboarding snowboarder sled sledding snowball snowman snowmobile",
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
    "road": "roadside traffic driving racetrack car truck",
    "street": "traffic crosswalk curb sidewalk city urban road car taxi downtown",
    "sidewalk": "street pavement curb",
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
    "chair": "seated table restaurant",
    "table": "restaurant dinner dining eating meal cafe",
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
}

# These tell of a person where no animal is spoken of.
PRONOUNS = frozenset("he she his her hers him who someone anyone somebody".split())

IMPLIED_BY: dict[str, tuple[str, ...]] = {}
for _things, _told in _TOLD_BY.items():
    for _word in _told.split():
        IMPLIED_BY[_word] = (*IMPLIED_BY.get(_word, ()), *_things.split())
