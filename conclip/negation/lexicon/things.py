"""Things that statements are about, beside those that `nouns.tsv` counts and those that the captions name."""

from conclip.negation.lexicon.words import word_set

# Common names of what one can see, chosen by hand. "_" joins the words of a name.
THINGS = tuple(
    name.replace("_", " ")
    for name in """
    traffic_light hot_dog wine_glass dining_table potted_plant fire_truck police_car garbage_can trash_can mailbox
    lamp_post street_lamp traffic_cone crosswalk billboard bus_stop gas_station police_officer construction_worker
    teacher student nurse doctor chef waiter waitress farmer fisherman sailor pilot dancer singer musician artist
    painter king queen bride groom pirate knight clown cowboy athlete swimmer cyclist runner jogger skater tourist
    pedestrian neighbor grandmother grandfather couple crowd audience band
    kitten puppy lion tiger leopard wolf fox rabbit hare mouse rat hamster hedgehog raccoon beaver otter seal walrus
    whale dolphin shark turtle tortoise lizard snake crocodile alligator frog toad snail crab lobster octopus
    jellyfish starfish butterfly bee ant spider ladybug dragonfly beetle worm owl eagle hawk parrot peacock penguin
    flamingo ostrich turkey chicken rooster hen chick crow raven sparrow pelican stork crane donkey mule camel llama
    alpaca buffalo bison bull calf lamb pig piglet monkey gorilla chimpanzee kangaroo koala panda rhino hippo moose
    reindeer cheetah bat swan goldfish
    rose tulip daisy sunflower lily orchid cactus palm bush hedge ivy fern moss mushroom pine oak log stump root
    vine bamboo pumpkin watermelon lemon lime peach pear plum cherry grape strawberry blueberry raspberry pineapple
    mango avocado coconut tomato potato onion garlic pepper cucumber lettuce cabbage spinach corn bean pea rice
    noodle pasta lasagna burger taco burrito sushi steak bacon sausage ham omelet pancake waffle
    croissant bagel muffin pie tart cheesecake brownie pretzel popcorn candy chocolate lollipop pudding yogurt
    butter honey jam ketchup mustard milk juice lemonade tea soda cocktail champagne
    mug jug pitcher teapot kettle pan pot wok ladle spatula whisk grater cutting_board rolling_pin colander toaster
    microwave dishwasher freezer blender mixer jar tin lid napkin straw chopstick corkscrew tablecloth apron
    sofa armchair rocking_chair stool bunk_bed crib cradle mattress cushion quilt rug carpet doormat dresser wardrobe
    closet drawer shelf bookcase nightstand coffee_table piano organ harp violin cello trumpet trombone saxophone
    flute clarinet accordion banjo harmonica tambourine xylophone drum_set speaker radio record_player
    chandelier lantern flashlight light_bulb candlestick ceiling_fan heater radiator chimney fireplace air_conditioner
    washing_machine iron ironing_board vacuum_cleaner broom mop dustpan sponge soap shampoo toothpaste comb hairbrush
    razor hair_dryer lipstick perfume bathtub shower faucet bathrobe toilet_paper tissue
    pen pencil crayon marker eraser ruler stapler paperclip notebook envelope stamp letter map globe calendar
    calculator typewriter printer tablet mouse_pad headset webcam projector whiteboard blackboard chalkboard
    hammer screwdriver wrench saw drill axe nail screw ladder toolbox paintbrush bucket rake hoe wheelbarrow
    lawnmower garden_hose watering_can flowerpot birdhouse doghouse birdcage aquarium fishbowl kennel
    shorts skirt blouse t-shirt jersey cardigan pajamas bikini swimsuit raincoat tuxedo kimono apron leotard tutu
    sock slipper mitten belt bow_tie bracelet earring ring watch crown tiara veil wig helmet beret fedora turban
    handbag briefcase wallet lunchbox picnic_basket shopping_cart shopping_bag gift present ribbon bow
    doll teddy puppet robot toy_car toy_train puzzle chessboard playing_card yo-yo marble kite balloon
    snowman scarecrow mannequin statue trophy medal mask
    swing slide seesaw sandbox merry-go-round carousel roller_coaster ferris_wheel trampoline hammock tent
    sleeping_bag campfire grill barbecue cooler picnic_blanket fishing_rod fishing_net canoe paddleboard
    anchor lighthouse buoy pier dock harbor ferry yacht cruise_ship speedboat rowboat submarine helicopter
    hot-air_balloon glider rocket drone jet parachute hang_glider
    pickup_truck tow_truck dump_truck bulldozer excavator forklift cement_mixer fire_engine limousine
    convertible minivan camper trailer caravan go-kart moped snowmobile tram subway cable_car locomotive wagon
    rickshaw golf_cart
    golf_ball golf_club hockey_stick puck volleyball rugby_ball bowling_ball bowling_pin dartboard boxing_glove
    punching_bag dumbbell barbell treadmill yoga_mat badminton_racket ping-pong_table pool_table goal net hoop
    skate roller_skate ice_skate ski_pole snowshoe wakeboard
    castle palace church temple mosque cathedral chapel tower skyscraper cottage cabin barn shed garage greenhouse
    windmill factory warehouse school library museum theater hospital hotel restaurant cafe bakery supermarket
    market stadium gym airport train_station gazebo fountain monument arch pyramid igloo hut mansion
    porch balcony terrace patio staircase escalator elevator hallway attic basement roof gate fence railing bridge
    tunnel dam aqueduct canal railway highway alley path trail curb parking_lot driveway
    mountain hill valley canyon cliff volcano cave desert dune beach island lake river stream creek waterfall pond
    swamp glacier iceberg meadow field forest jungle orchard vineyard garden lawn rainbow cloud moon star lightning
    fog smoke flame fireworks ice snow icicle puddle mud sand rock boulder pebble
    banner poster mural painting photo_album picture_frame newspaper_stand vending_machine phone_booth cash_register
    scale thermometer stethoscope syringe bandage crutch wheelchair stretcher microscope telescope binoculars
    magnifying_glass compass hourglass alarm_clock stopwatch battery cable plug power_line antenna satellite_dish
    solar_panel wind_turbine barrel crate cardboard_box basket sack bale haystack chain hook padlock key lock
    sword shield spear arrow cannon gun rifle armor flag torch candle incense bell whistle
    skull skeleton bone feather nest egg seashell horn antler saddle leash collar muzzle horseshoe
    graffiti shadow footprint tire wheel windshield headlight steering_wheel license_plate
    circle square triangle
    """.split()
)

# Nouns of `nouns.tsv` that captions use for something else, or that name nothing that is there or not.
NO_THINGS = word_set(
    "doe bark blonde blond brunette hind homeless giant lab member dive fan chased uphill classic floppy gas mini "
    "official nude turquoise elder bum cam camo afghan adobe dug oxford sang shook may lame load ion john sole "
    "accused tout spoke setup facility thinner buff checker compact cooper champ aquatic anime midget dwelling gap "
    "duke derby internet layer master mine punk quad ref rover senior buster spotter tabby bohemian ornamental "
    "equine jean closeup class atv scuba pom bluff breaker product lighter loop picket prop tier viewer strand "
    "coping crank husk backdrop monochrome indigo emerald bronze chrome copper brass aluminum steel denim velvet "
    "leather hardwood flannel fleece wicker silk wool cotton cork cargo pickup apparatus contraption auto companion "
    "competitor contestant clip suds slacks can dale dolly dummy china setter pointer hooker hitter handler blower "
    "bearer launcher protector receiver transit stopping taping miniature god christ hulk superman batman heather "
    "colt chow cob client consumer coordinator lecturer patron payer maker manager prey pee spouse witness widow "
    "victim favourite referral sinner youngster adult diner wheeler coaster canopy enclosure overhang surface seat "
    "board animal vehicle gear outfit clothing attire apparel footage photo photograph picture image camera_man "
    "glass dirt kid guy lady dude lass column motor strap lining filling boa dew lunch batter root mart marquee vat "
    "vent visor rings straw landing peak"
)
