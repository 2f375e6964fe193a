"""The documents of testdata/lmeval/data: text written for this project in the schema of the data sets that lm-eval's tasks read."""

import json
import os
import random
import re

# ARC: question | choices, the first is right. Choices are turned by the document's number.
ARC_EASY = [
    "Which part of a plant takes in most of the water?|roots|petals|fruit|seeds",
    "What do bees collect from flowers?|nectar|sand|wool|salt",
    "Which object is attracted by a magnet?|an iron nail|a wooden spoon|a glass bead|a paper cup",
    "What happens to ice when it is left in a warm room?|It melts.|It burns.|It rusts.|It grows.",
    "Which sense do people use to tell that bread is baking in another room?|smell|touch|sight|balance",
    "A student weighs a stone. Which tool should she use?|a balance|a ruler|a clock|a thermometer",
    "Why do many birds fly south in autumn?|There is more food in warmer places.|They want to see the sea.|The nights become shorter.|Their feathers fall out.",
    "Which of these gives off its own light?|a candle|a mirror|the Moon|a window",
    "What is the main source of energy for the water cycle?|the Sun|the wind|the Moon|the soil",
    "A shadow is longest at which time of a sunny day?|just before sunset|at noon|at eleven in the morning|at one in the afternoon",
    "Which animal hatches from an egg?|a duck|a horse|a whale",
    "A spoon left in hot tea becomes hot too. What is this an example of?|conduction|erosion|digestion|evaporation|pollination",
    "At the café in Zürich, a glass of cold water becomes wet on the outside. Where do the drops come from?|from the air|from the glass|from the ice inside|from the table",
    "Which change can be turned back most easily?|freezing water|burning paper|baking a cake|rusting iron",
    "Which gas do people need to breathe in?|oxygen|helium|steam|neon",
    "How long does the Earth take to go around the Sun?|one year|one day|one week|one month",
    "What do we call the hard outer part of a tree?|bark|sap|pollen|moss",
    "Which material lets electricity pass through it well?|copper|rubber|wool|dry wood",
    "What is the freezing point of water?|0 °C|10 °C|50 °C|100 °C",
    "Which body part pumps blood?|the heart|the stomach|the lungs|the liver",
    "What does a seed need first in order to sprout?|water|darkness and salt|a flower pot|an insect",
    "Which tool is best for looking at a very small insect?|a hand lens|a telescope|a compass|a barometer",
    "What covers the body of most fish?|scales|fur|feathers|bark",
    "Which of these is a liquid at room temperature?|milk|chalk|butter from the freezer|sugar",
]
ARC_CHALLENGE = [
    "Two plants of one kind stand in the same soil. One gets light from the left only. How will it most likely differ after two weeks?|It bends toward the left.|It bends toward the right.|It has no leaves.|It becomes a different kind of plant.",
    "A ball is rolled over grass and then, with the same push, over ice. Why does it roll farther on the ice?|There is less friction.|There is more gravity.|The ball becomes lighter.|The ice pulls the ball.",
    "Farmers on a hillside plough along the slope's contour rather than up and down. What does this reduce most?|the loss of soil by rain|the number of birds|the heat of the soil|the need for seeds",
    "A population of brown beetles lives on dark rocks, and a few are yellow. Birds eat the yellow ones first. What will most likely happen over many years?|Yellow beetles become rarer.|The rocks become yellow.|Brown beetles disappear.|The birds become yellow.",
    "A cook notices that potatoes boil more slowly in a mountain village than at the coast. What explains it?|Water boils at a lower temperature there.|The air is cleaner there.|The potatoes are older there.|Gravity is stronger there.",
    "Which observation shows best that a chemical change has taken place?|A gas forms when two clear liquids are mixed.|Sugar disappears in tea.|A wire is bent.|A puddle dries.",
    "A car's speed rises from 10 to 20 meters per second in 5 seconds. What is its acceleration?|2 meters per second squared|4 meters per second squared|15 meters per second squared|50 meters per second squared",
    "Wolves return to a valley where deer have eaten most young trees. Which result is most likely after ten years?|More young trees survive.|The deer eat the wolves.|There are no trees left.|The river runs backward.",
    "Why can a person see lightning before the thunder is heard?|Light travels faster than sound.|Thunder starts later.|Clouds block the sound.",
    "Which pair of traits is most likely learned and not inherited?|riding a bicycle and speaking Finnish|eye color and height|blood type and hair color|dimples and freckles|number of fingers and ear shape",
    "The naïve model of the class says that heavy things fall faster. Which test would show best whether it is right?|dropping two balls of equal size but unequal weight|dropping a feather and a brick|throwing one ball upward|weighing both balls twice",
    "On the Moon an astronaut's mass is the same as on the Earth, but the weight is less. Why?|The Moon's gravity is weaker.|The Moon has no air.|The suit is lighter.|Mass is lost in flight.",
    "A student heats one end of a metal rod. Which energy transfer makes the other end hot?|conduction through the metal|radiation from the Sun|convection in the metal|sound waves in the rod",
    "In which layer of the Earth do currents of slowly moving rock carry the plates?|the mantle|the crust|the inner core|the atmosphere",
    "Yeast is added to dough, and the dough rises. What makes the bubbles?|carbon dioxide from the yeast|air from the oven|steam from the salt|oxygen from the flour",
    "A pond is covered with algae after a field beside it was fertilized. What caused the growth?|nutrients that were washed in|colder water|fewer plants in the field|less sunlight",
    "Which resource is renewable?|wind|coal|natural gas|uranium",
    "An eclipse of the Sun can happen only at which phase of the Moon?|new moon|full moon|first quarter|last quarter",
    "Which cell part would be found in a leaf but not in a muscle?|chloroplast|nucleus|membrane|mitochondrion",
    "What will most likely happen to a balloon that is moved from a warm room to a freezer?|It shrinks.|It bursts at once.|It becomes heavier.|It glows.",
    "A lever lets a worker lift a rock with less force. What is the cost?|The hand must move a longer way.|The rock becomes heavier.|The lever gains energy.|The work becomes zero.",
    "Which property of a wave decides the pitch of a sound?|frequency|amplitude|direction|color",
]
# piqa: goal | right | wrong
PIQA = [
    "To keep cut apples from turning brown,|sprinkle them with lemon juice.|sprinkle them with brown paint.",
    "How do you get a sticky label off a jar?|Soak the jar in warm water and rub the label off.|Freeze the label with a hammer and fold the jar.",
    "To sharpen a pencil without a sharpener|shave the end with a small knife, away from your hand.|press the end against a pillow until it is sharp.",
    "How can I find a stud behind a plaster wall?|Knock along the wall and listen for the sound to become dull.|Pour water along the wall and listen for a splash.",
    "remove candle wax from a tablecloth|Lay paper over the wax and iron it at low heat.|Lay wax over the paper and iron the candle.",
    "To stop a door from squeaking, you can|put a drop of oil on each hinge.|put a drop of oil on each window.",
    "How to carry a hot pan?|Use two dry oven gloves and hold both handles.|Use two wet socks and hold the bottom of the pan.",
    "When a screw turns but does not hold,|fill the hole with a matchstick and glue, then drive the screw in again.|fill the screw with a hole and glue, then drive the matchstick out again.",
    "To separate an egg|crack it and pass the yolk from one half of the shell to the other.|boil it and pass the shell from one half of the yolk to the other.",
    "Keep a bicycle chain from rusting.|Wipe it dry after rain and oil it.|Rinse it with salt water and let it stand in the rain.",
    "How do you make iced coffee that isn’t watery?|Freeze coffee in an ice tray and use these cubes.|Freeze water in a coffee bag and use this tea.",
    "To dry wet shoes overnight,|stuff them with newspaper and change it once.|stuff them with sponges full of water and change it once.",
    "How can you tell whether eggs are fresh?|Put them in water: fresh ones sink.|Put them in water: fresh ones sing.",
    "To keep a cutting board from slipping,|lay a damp cloth under it.|lay a few marbles under it.",
    "What should be done before painting a wall?|Clean it and tape the edges.|Clean the paint and tape the brush shut.",
    "To thread a needle easily|wet the end of the thread and cut it at a slant.|wet the end of the needle and cut it at a slant.",
    "How do you open a jar whose lid is stuck?|Hold the lid under hot water for a minute, then twist.|Hold the bottom under hot water for a minute, then shake the lid.",
    "To move a heavy wardrobe over a wooden floor|put a folded blanket under its feet and pull.|put a folded wardrobe under your feet and pull.",
    "How to water plants while you are away for a week?|Run a wick from a bucket of water into each pot.|Run a wick from a bucket of sand into each cup.",
    "Clean a burnt pot|Boil water with baking soda in it and scrub.|Boil baking soda without water in it and sing.",
    "To find a lost contact lens on the carpet,|cover a vacuum hose with a stocking and move it over the carpet.|cover the carpet with a rug and move a vacuum hose over the ceiling.",
]
# winogrande: sentence | option1 | option2 | answer
WINOGRANDE = [
    "The cup did not fit into the box because the _ was too large.|cup|box|1",
    "The cup did not fit into the box because the _ was too small.|cup|box|2",
    "Anna lent Berta her umbrella, because _ had forgotten to bring one.|Anna|Berta|2",
    "Anna lent Berta her umbrella, so _ walked home in the rain.|Anna|Berta|1",
    "We kept the soup and threw away the salad, since nobody had liked the _ .|soup|salad|2",
    "Ivan asked Omar for the way to the station, but the answer came from _, who had never been there.|Ivan|Omar|2",
    "The oak gives more shade than the birch, so in July we always sit under the _|oak|birch|1",
    "Maria repaired the bicycle of Lena, and in the evening _ thanked her with a cake.|Maria|Lena|2",
    "The blue paint dried before the white paint did, because the _ had been put on thinly.|blue paint|white paint|1",
    "Nobody could hear the flute over the drum, though the _ was played with great care.|flute|drum|1",
    "José wanted to be early and Karl wanted to sleep, so it was _ who set the alarm: five o'clock!|José|Karl|1",
    "The bridge was built after the tunnel; the _ is therefore older.|bridge|tunnel|2",
    "_ opened the window, because Paul found the room too warm and Rita did not.|Paul|Rita|1",
    "The nurse changed the bandage of the sailor while _ told a story of the sea.|the nurse|the sailor|2",
    "The map was of more use than the compass, because the _ showed where the wells were.|map|compass|1",
    "Tom gave the last biscuit to Eve, although _ was hungry too.|Tom|Eve|1",
    "The candle went out before the lamp did, because the _ stood beside the open door.|candle|lamp|1",
    "Sofia beat Nora at chess again, and _ asked for another game at once.|Sofia|Nora|2",
    "The dog chased the cat until the _ climbed up a tree.|dog|cat|2",
    "The rope was stronger than the string, so we tied the boat with the _.|rope|string|1",
    "The sweater shrank and the shirt did not, because the _ was made of wool.|sweater|shirt|1",
    "Grandfather carried the child until _ was too tired to go on.|grandfather|the child|1",
]
# openbookqa: stem | choices, the first is right
OPENBOOKQA = [
    "A person who wants to see stars should go where it is|dark|noisy|bright|crowded",
    "Digging a hole in dry sand shows that below it there may be|wet sand|a roof|clouds|moonlight",
    "When the days become short, a bear may|sleep through the winter|grow feathers|move into the sea|learn to swim",
    "Which would float?|a cork|a coin|a brick|a key",
    "A mirror works because light is|reflected|eaten|frozen|weighed",
    "What would help a lizard to become warm?|a sunny stone|a shady cellar|a cold stream|a block of ice",
    "A sailor uses a compass in order to find|north|the hour|fresh water|the price of fish",
    "Squirrels hide nuts so that they|have food in winter|can build a dam|become heavier than bears|can see in the dark",
    "The tide rises and falls mostly because of|the Moon|whales|ships|rivers",
    "If a kettle is covered with “wool”, the tea in it will|stay warm longer|boil again|freeze at once|turn into coffee",
    "A piece of bread becomes green after a week because of|mold|paint|moonlight|the butter knife",
    "An umbrella is useful when|drops fall from the clouds|the wind is still and the sky blue|a book is read|soup is cooked",
    "Rust forms on a gate that is made of|iron|glass|oak|plastic",
    "Cactuses keep water in their|stems|flowers only|neighbors|thorns",
    "A loud sound is made by|strong vibrations|white walls|slow clouds|cold tea",
    "A puddle disappears on a hot day since the water|evaporates|burns|becomes stone|is stolen",
    "What protects a turtle?|a hard shell|a long song|a warm nest of wool|a sweet smell",
    "Plants grow toward|light|music|the north pole|iron",
    "Gravity pulls an apple|down|up|sideways|into the tree",
    "A bat finds insects at night by|echoes|lamps|maps|color",
]
# hellaswag: kind ~ activity ~ ctx_a ~ ctx_b ~ right ~ three wrong ones
HELLASWAG = [
    "a~Washing a bicycle~A young woman carries a muddy bicycle into a small yard and leans it against the fence. She fills a yellow bucket with warm water, adds a little soap and stirs it with her hand until there is foam. then~she~rubs the frame with a sponge, beginning at the handlebar.~throws the bucket over the fence and bakes a loaf of bread.~rides the sponge down the street while people cheer.~puts the fence into the bucket and folds the yard in half.",
    "a~Cooking pancakes~A man with a striped apron stands in a bright kitchen and speaks to the camera about his grandmother's recipe. He beats three eggs with milk and flour, lets the batter rest, and melts a piece of butter in a flat pan. when the butter is foaming,~he~pours in a ladle of batter and tilts the pan.~pours the pan into the batter and eats the ladle.~paints the window with a thin coat of butter.~calls the eggs back into their shells.",
    "w~How to plant a tree~[header] How to plant a young tree [title] Choose the right place. [step] Look for a place that gets sun for half of the day and is far from walls and pipes. Ask your neighbors if the tree will stand near their fence, and think of how wide it will be in twenty years.~~[substeps] Measure the distance to the house with a tape, not with your eye. Mark the place with a stick.~[substeps] Sell the sun to your neighbors and keep half of the pipes. Mark the wall with a cake.~Dig under the house until you find the twenty years that you have lost.~[title] Cut the tree into small pieces. [step] A tree that has been cut needs less sun.",
    "w~Family Life~[header] How to prepare children for a long train journey [title] Talk about the journey some days before. [step] Show them on a map where you will change trains, and let them count the stations.  Children who know what is coming ask fewer questions on the way, and they are proud to know the names of the towns.~~[title] Pack a small bag for each child. [step] Let them choose one book and one toy.~[title] Hide the map from the conductor. [step] Trains that know the way are proud.~Count the children at each station and leave the fewer ones there.~[substeps] Change the names of the towns some days before.",
    "a~Playing the cello~An elderly musician sits on a wooden chair in front of a white wall and holds a cello between his knees. He tightens the bow, turns two of the pegs a little, and plays a long low note with closed eyes. after a short pause~he~begins a slow melody and sways with the bow.~stands the chair upon the bow and climbs the wall.~cuts the melody into slices and fries them.~swims to the other side of the note.",
    "a~Raking leaves~Two boys come out of a brick house with rakes that are taller than they are. The older one draws a line of leaves across the lawn and explains something to the smaller one, who nods. a dog runs through the heap, and~~the boys laugh and begin to rake it together again.~the rakes laugh and begin to eat the house.~the lawn is carried to the bank and exchanged for coins.~the line explains that bricks are a kind of soup.",
    "w~Computers~[header] How to free space on a full computer [title] Find out what takes up the space. [step] Most systems have a page in the settings that lists the folders by size; open it and wait until the list is complete. [substeps] Old videos and copies of photographs are what is found most often.~~[title] Move what you want to keep to another disk. [step] Copy it, compare the sizes, and only then delete it.~[title] Pour the settings into a larger computer. [step] Shake it until the page is empty.~Wait until the photographs have eaten the old videos, then close the lid for a year.~[substeps] Lists that are complete should be complimented. Take the folders for a walk.",
    "a~Ice fishing~The camera shows a frozen lake in the early morning, with low hills behind it and a red hut near the shore. A man in a thick coat drills a hole into the ice with a hand auger, blows on his fingers and smiles. next~he~lets a line down through the hole and sits on a bucket.~lets the lake down through the bucket and sits on a hill.~drills a hole into his smile and hangs up the hut.~sails away on the auger with a choir.",
    "a~Painting a fence~A row of grey planks stands at the end of a garden, and a girl in old trousers opens a tin of green paint. She stirs it slowly, wipes the stick at the edge of the tin, and covers the grass with newspaper. finally~the girl~dips a wide brush into the tin and paints the first plank.~dips the garden into the newspaper and reads the first plank.~drinks the tin and becomes a row of trousers.~asks the grass to stir more slowly, please.",
    "w~Home and Garden~[header] How to store onions for the winter [title] Dry them well. [step] Spread the onions on a rack in an airy shed for two or three weeks, until the skins rustle and the necks are thin – onions that are put away wet will rot from the inside, and one of them spoils the whole net. ~~[title] Hang them in nets. [step] The place should be dark, dry and cool, yet free of frost.~[title] Wet the shed from the inside. [step] Thin necks should be spread on the rack.~[title] Teach the onions to rustle. [step] Put one of them away and let the others guess.~Eat the rack in two or three weeks, and throw the winter away.",
    "a~Shoe shining~A man kneels on a folded towel, with a pair of brown boots before him and a flat tin at his side. He brushes off the dust, winds a cloth around two fingers and takes a little polish from the tin. with small circles~he~spreads the polish over the leather of the left boot.~spreads the towel over the dust and kneels in the tin.~winds the boots around two fingers and whistles them.~polishes his knees until they can be eaten.",
    "a~Long jump~A runner in a blue vest stands at the end of a red track and looks at the sand far in front of her. She claps her hands above her head, and the people on the benches clap with her. then~she~sprints down the track and jumps from the white board.~sprints down the benches and sells the white board.~buries the people in the sand with a blue spoon.~claps the track together and carries it home.",
    # training split from here on
    "a~Making tea~A woman lights a small gas stove on a balcony and sets an old kettle on it. While the water becomes hot she puts a spoon of dark leaves into a pot and cuts a lemon in two. when the kettle whistles,~she~pours the water over the leaves and looks at her watch.~pours the balcony over the watch and lights the lemon.~whistles the stove into the pot and sells the leaves.~cuts the water in two and reads it aloud.",
    "a~Changing a tire~A man stops a grey car at the side of a road in the hills and puts a red triangle behind it. He takes a jack and a wrench from the trunk and loosens the nuts of the flat tire by half a turn. after that~he~raises the car with the jack until the wheel hangs free.~raises the road with the wrench until the hills hang free.~eats half of the triangle and naps under a nut.~writes a flat letter to the trunk.",
    "w~Pets~[header] How to get a cat used to a carrier [title] Leave the carrier in the room. [step] Open its door and put a blanket in it that smells of home; do not push the cat, but let it look and sniff for some days. Feed it beside the carrier first, and later in it.~~[title] Close the door for a short time. [step] Give a treat after that, and open it again.~[title] Push the room into the carrier. [step] The home should smell of doors.~Feed the blanket for some days, and sniff at it later.~[substeps] Carriers that purr should be looked at twice.",
    "w~Work~[header] How to take notes at a meeting [title] Prepare a page. [step] Write the date, the names of those who are there and the points of the agenda with space below each. If there is no agenda, ask for one: a meeting without points has no end.~~[title] Write down what was decided, and who will do it. [step] Whole sentences are not needed.~[title] Ask the space for a date. [step] Those who are there should be below.~Decide who will end the agenda, and point at the names.~[substeps] Fold the meeting into a boat.",
    "a~Building a sandcastle~Children kneel on a wide beach and fill buckets with wet sand, which they press down with flat hands. One of them turns her bucket over, knocks on the bottom and lifts it with care. at once~the others~put shells and a flag on the tower.~put the beach and a flag into the bottom.~drink the tower with flat hands.~knock on the sea until it opens.",
    "a~Cutting hair~A boy sits on a kitchen chair with a towel around his shoulders, and his mother combs his wet hair straight down. She takes a pair of scissors from a drawer and asks him to keep still. slowly~she~cuts along the comb, one strand after the other.~cuts along the chair, one kitchen after the other.~combs the drawer until it keeps still.~folds the boy and puts him beside the spoons.",
    "a~Rowing~Four women carry a long narrow boat from a shed to a wooden jetty and lower it into the water. They fetch the oars, take off their shoes and step in one after the other, while a fifth holds the boat. then~they~push off and row past the reeds with even strokes.~push off the shed and row past the shoes with even reeds.~carry the water to the fifth and lower it.~fetch the jetty and step on one another.",
    "w~Food~[header] How to bake bread without a mixer [title] Mix by hand. [step] Put flour, salt and yeast into a wide bowl, add lukewarm water and stir with a spoon until there is no dry flour left. Cover the bowl and let it rest for a quarter of an hour, which does half of the work.~~[title] Knead and fold the dough. [step] Pull one side up and fold it over, then turn the bowl.~[title] Rest until the spoon is lukewarm. [step] Half of the bowl does the work.~Stir the hour into the flour, and cover the salt with a mixer.~[substeps] Dry water should be left out.",
]
# boolq: question | passage | label
BOOLQ = [
    "is the lighthouse on the island still in use|The lighthouse at the northern end of the island was built in 1874 from grey stone that had been brought over by boat. For more than ninety years a family lived beside it and kept the lamp. Since 1968 the light has been driven by electricity and watched from the mainland, so nobody lives there any more, but ships still steer by it every night. In summer visitors may climb the 112 steps, and from the top one can see three other islands when the weather is clear.|1",
    "can tomatoes grow without soil|In a greenhouse near the harbor tomatoes are grown in long gutters filled with stone wool. Water with dissolved salts drips onto the roots day and night, and what is not taken up is collected and used again. The plants never touch the ground. Growers say that they need a tenth of the water that a field would need, although the pumps must never stop for longer than a few hours, because the stone wool dries quickly.|1",
    "did the old railway reach the coast|The narrow railway from the mines was planned to end at the coast, where coal should be loaded onto ships. Money ran out in 1911, when the rails had come as far as the village of Lund, fourteen kilometers from the sea. From there the coal went on by horse and cart. The last four kilometers of embankment were never given rails; today they are a path for bicycles, and the station of Lund is a library.|0",
    "is rye bread made with wheat|Bread that is sold as pure rye bread in this region contains only rye flour, water, salt and sourdough. Because rye has little of the protein that makes dough elastic, the loaves stay low and dense, and they keep for a week or longer. Mixed breads, with up to half of their flour from wheat, are higher and lighter. They must be labelled “mixed” by law, and bakers who do not follow it pay a fine.|0",
    "do swifts sleep while flying|Swifts spend most of their lives in the air. They catch insects, drink rain and gather feathers for their nests without landing, and young birds may fly for two years before they touch a roof again. At dusk they rise to great heights, where they glide with one half of the brain asleep, as measurements with small recorders have shown. Only for breeding do they stay in a hole for some weeks, and even then the parents take turns.|1",
    "is the river frozen every winter|People who live at the lower river remember winters in which they drove over it with sleighs. Records kept by the ferry since 1890 show that it was frozen from bank to bank in about every third winter before 1950, and only four times since then. The river is salty near its mouth and the current has become faster since the bends were cut off, so that even hard frost gives only floating sheets of ice.|0",
    "is the violin older than the piano|The violin took its present form in the sixteenth century, when makers in the north of Italy joined features of several older instruments. The piano was invented around 1700 by a keeper of instruments in Florence, who replaced the plucking of strings by small hammers. Both were changed later: the violin was given a longer neck, and the piano an iron frame. Yet players of today use violins that were made before the first piano was.|1",
    "can you pay with coins on the island bus|The bus on the island takes no cash. Tickets are sold by a machine at the pier, in the post office and by telephone, and a day ticket costs as much as three single ones. Drivers may let passengers ride without a ticket when the machine is out of order, and they often do. Coins of a former currency, which tourists sometimes offer, are shown in a glass case beside the driver's seat.|0",
    "does honey spoil|Honey keeps for a very long time if the jar is closed. It has so little water in it that bacteria cannot live there, and it is sour enough to stop most molds. Crystals that form after some months are sugar and do no harm; the honey becomes clear again in warm water. It spoils only when water gets in, for example from a wet spoon, because yeast then begins to grow in the upper layer.|1",
    "was the town hall rebuilt after the fire|The town hall of Weilerbach burned down in the night of 3 May 1832, together with eleven houses. The council met in the church for two years and argued about the new building. In the end it was not rebuilt: the site was sold to a brewer, and the council moved into the school, where it still meets in what was the room of the third class. A plate in the brewery's wall tells of the fire.|0",
    "is the moon of the story visible from the village|LONG|1",
    "is chess a sport in norway|Chess has been a member of the federation of sports in some countries for decades, and in others it has never been. In Norway, as the naïve visitor learns at the café beside the club, the federation has its own rules for what is a sport; chess was turned down, since there is “no movement of the body that matters”. The clubs get money from the fund for culture instead, and the players say that this is quite enough.|0",
    # training split from here on
    "do all ferries carry cars|Three ferries cross the fjord. The largest carries forty cars and runs once an hour, the second takes bicycles and people, and the smallest, which is rowed, takes at most six people and a dog. Since the bridge was opened, the largest has run only in summer. The other two are kept by the villages themselves, who think that a fjord without ferries is a lake.|0",
    "is the cellar of the museum open to visitors|The museum of clocks stands in the old mill beside the canal. Visitors can see the two upper floors and, since the flood of 1998 has been pumped out, the cellar as well, where a wheel of the mill drives a clock with a single hand. Children like the cellar best, since one may turn the wheel. The attic holds the workshop and stays closed.|1",
    "do beavers eat fish|Beavers live in water and have teeth that never stop growing, and people have therefore thought that they catch fish. They eat plants only: leaves and herbs in summer, and bark and twigs in winter, which they store below the ice. The ponds behind their dams are good for fish all the same, because the water stands still there and is full of insects.|0",
    "is salt mined in the valley|Below the valley lies a bed of salt that is two hundred meters thick. Until 1930 miners cut blocks from it; since then water has been pumped down, and the brine that comes up is dried in long pans. Engineers call this solution mining. About half of the salt is spread on roads in winter, and the rest goes to dairies and kitchens.|1",
    "can the organ be heard on weekdays|The organ of the cathedral was finished in 1761 and has 3,200 pipes. It is played at services on Sunday and in half an hour of music on Wednesdays at noon, for which nothing is charged. On other days pupils practice on the small organ in the side chapel. During Lent neither of the two is played.|1",
    "are the windows of the station original|The great windows at the western front of the station were broken in the storm of 1987. Colored glass of the same kind is no longer made, so the railway chose plain glass, and only the frames are those of 1903. Two small panes that were found in a cellar are shown in the waiting room, under a lamp that gives the light of an evening.|0",
    "is the glacier growing|The glacier above the village has been measured each September since 1882, by paint marks on the rock. It grew a little around 1920 and again in the 1970s, but has lost length in each of the last thirty-one years, and its tongue now ends two kilometers behind the oldest mark. The path to the hut had to be moved twice, and a lake lies where the ice was.|0",
    "does the market sell fish|The market is held on the square on Tuesdays and Saturdays from seven to one. Farmers sell vegetables, eggs and cheese; a van from the coast brings fish on Saturdays only; and there is a stall for knives, which are sharpened while one waits. In December the market stays open until dark, with lamps and hot juice, and the choir of the school sings.|1",
]
LONG_BOOLQ = "The story that is told in the village begins with a moon that could be seen from every door. "
LAMBADA = [
    "The baker put the tray of rolls on the counter and wiped his hands on his apron. The first customer was a boy who counted his coins twice. He had come for bread, but he kept looking at the tray. In the end the baker smiled, wrapped two of them in paper and gave the boy the rolls",
    "Mina had searched the whole flat for her keys, under the sofa and behind the bread bin. She was late, and it was raining. When she reached for her coat, something rattled in its pocket. She put in her hand, sighed, and drew out the keys",
    "“You can have the blue one or the red one,” said the old man at the boat rental. “The red one leaks a little.” The sisters looked at each other. It was a warm day and neither of them was afraid of getting wet. Still, they pointed at the other boat, the one that was blue",
    "For three weeks the violin had lain in its case beside the wardrobe. Then one evening the neighbors heard a careful scale, and after it a tune that they knew. Somebody knocked on the wall, and the tune stopped. But it was only old Frau Keller, who called that she wished to hear more of the violin",
    "The train stood still between two fields, and nobody knew why. A man read his newspaper for the second time. A child asked whether they were there yet. After an hour a voice from the loudspeaker said that a cow had lain down on the rails, and everyone got up to look for the cow",
    "Every morning the lighthouse keeper wrote the weather into a thick book: wind, clouds, the height of the waves. His daughter, who was nine, wrote another one, about birds. Forty years later scholars came to the island to see the records. They leafed through the weather politely, but what they wished to copy were the pages about the birds",
    "“It’s the fuse,” said Jakob. “It is never the fuse,” said his wife, and she went down to the cellar with a torch. He heard her open the box and laugh. The lights came on again all over the house. When she returned she would not look at him. “All right,” she said at last, “it was the fuse",
    "The recipe asked for a pinch of saffron, which was dearer than the rest of the meal together. Ada stood in front of the shelf for a long while. Her guests would not notice; they never had. Then she thought of her grandmother's kitchen, of the yellow rice and of the smell, and she bought the saffron",
    "They had built the raft out of six barrels and an old door. It floated, and the boys cheered; then it turned slowly around, and the flag pointed to the shore. “Row!” cried the captain. But the oars were still lying in the grass, and there was nothing on board that would move the raft",
    "Snow had fallen in the night, and the street was without a sound. Peter put on his boots to clear the path of the widow next door, as he did each winter. He found it already swept, in neat strokes, down to the gate. Behind the curtain she waved to him, and beside her stood the broom",
    "On the last day of school the teacher gave each of them a stone that she had painted herself. Nour’s had a small ship on it. She lost it in two moves and found it again, and when her own son was afraid of his first day at school, she opened the drawer and put into his hand the stone",
    "The clock in the hall had not gone since the war. One Sunday the uncle took it apart on the kitchen table, oiled the wheels and put it together again, with one screw left over. It began to tick at once. He looked at the screw, put it into his pocket, and never told anyone the secret of the clock",
]


def wikitext_form(text):
    """Plain text in the form of wikitext's raw files: spaces around punctuation, @-@ in hyphens, @,@ and @.@ in numbers."""
    text = re.sub(r"(\w)-(\w)", r"\1 @-@ \2", text)
    text = re.sub(r"(\d),(\d{3})", r"\1 @,@ \2", text)
    text = re.sub(r"(\d)\.(\d)", r"\1 @.@ \2", text)
    text = re.sub(r"(\w)'s\b", r"\1 's", text)
    text = re.sub(r"([.,;:!?])(\s|$)", r" \1\2", text)
    text = re.sub(r"\(", "( ", text)
    text = re.sub(r"\)", " )", text)
    text = re.sub(r"[“”]", ' " ', text)
    return re.sub(r" +", " ", text).strip()


def wikitext_page(title, parts):
    """parts are (heading, level, [paragraphs])."""
    out = [f" = {title} = ", " "]
    for heading, level, paragraphs in parts:
        if heading:
            marks = " ".join("=" * level)
            out += [f" {marks} {heading} {marks} ", " "]
        for p in paragraphs:
            out += [f" {wikitext_form(p)} ", " "]
    return "\n".join(out) + "\n"


RAW_EXTRA = [  # paragraphs already in the raw form, for the rules that plain text seldom meets
    " The mill 's wheel , which the villagers ' fathers had built , turned for 1 @,@ 204 days ; its axle ( of oak ) weighed 2 @.@ 5 tons : more than the mill 's door ! Was it worth it ? The miller said \" yes \" , and his wife ' perhaps ' . ",
    " At 12 ° C the river is colder than the lake ( 15 ° C ) , and in [ some ] years it is { almost } frozen . About N people live there , N of them fishers , who speak of their boats ' names as \" the long list \" . ",
    " [ 1 ] See the note ; the sailors ' [ own ] song says : \" the wind , the wind ! \" and ends there . The half @-@ timbered inn ( built in 1788 @–@ 91 ) has a sign of the year 1802 . ",
    " '' The Grey Heron '' is a boat with two masts . In the ' 60s it was painted red , and in the ' 70s blue ; the children 's name for it , /' 7/ , was never explained . Its crew 's motto is ' slow , but dry ' . ",
    " = = = = Numbers = = = = \n \n Of 10 @,@ 000 herrings N percent were sold for 3 @.@ 75 crowns each ; the rest — a few hundred — were smoked . Élise Müller , the warden , noted : \" Ça suffit \" ( that is enough ) . ",
]
WIKI_FACTS = [
    "The Harbor Museum is a small museum in the port of Lindhavn. It was founded in 1921 by a retired pilot and holds 4,200 objects, among them ropes, lamps and a half-finished ship's bell (the founder could not pay for the rest). It is open from Tuesday to Sunday.",
    "Its most visited room shows the inside of a fishing boat, with bunks that are 1.6 meters long. Fishermen slept sitting up; a sign says that they “had no reason to stretch”. Visitors may try the bunks: children like it, adults less.",
    "The collection's catalogue was kept by hand until 1994. Three volunteers, who called themselves the card-index choir, copied it into a computer within two winters, and they found 312 objects that had been entered twice.",
    "Lindhavn lies at the mouth of a short river. The harbor freezes about once in ten years, and ice-breakers are kept in a neighboring town, 38 kilometers away. When the ice of 1987 held for 41 days, flour was brought in by sleigh.",
    "The grey wagtail is a bird of fast streams. It weighs 14 to 22 grams, has a long tail that never seems to rest, and eats insects which it picks from wet stones. Pairs return to the same bridge for years; the nest is a cup of moss, lined with hair.",
    "Both parents feed the young, which leave the nest after about 13 days. In hard winters half of the birds may die, but the number is made up within two or three summers. Mills, weirs and bridges help the bird: it needs ledges near water.",
    "The town's people call it “the miller's clerk”, because it nods as if it were counting sacks. A poem of 1866 says that it knows every stone by name! The poem isn't good, but it is learned at school.",
    "The Aldern Valley Railway was a narrow-gauge line of 27.5 kilometers. It carried slate, milk and passengers from 1889 to 1957; the gauge was 760 millimeters. Trains climbed 412 meters and needed two hours for it, or three when the rails were wet.",
    "Of the seven engines, two are left. Number 3, named Emma, stands in the park of Aldern, and number 6 was bought by an engineer who keeps it in a barn (he has promised to run it “when there is time”). Slate is carried by lorries today.",
    "The line's best-known accident did no harm: in 1903 a train of eleven milk-waggons ran away, rolled through two stations and stopped by itself in a meadow. The milk, it was said, had turned to butter.",
    "Cloudberry soup is a dish of the far north that is eaten warm or cold. Berries are boiled with water and 150 grams of sugar per liter, thickened with potato-starch and served with cream; some cooks add a piece of cinnamon. It was once given to the sick.",
    "Each family's recipe differs. In the islands rye-bread crumbs are roasted in butter and strewn on top; in the inland valleys the soup is sieved, so that no seeds are left. Who is right? A newspaper asked 1,350 readers in 1978, and the result was 675 to 675.",
    "Ida Sørensen (1852–1931) was a maker of maps and a teacher of drawing. She measured the coast of her home island with a chain of 20 meters, alone and mostly in winter, when the grass was short. Her map, printed in 1889, has an error of less than one percent.",
    "She never married, kept bees and wrote 2,100 letters. In one of them she says: “A coast isn't a line; it is a quarrel between water and stone, and I only take the minutes.” The letters are kept in the library of the university.",
    "A crater on the far side of the Moon is named after her. The proposal's author was a pupil of her last class, then 94 years old, who had drawn the same bay with her in 1925.",
    "The bell of Torvik is a bronze bell of 780 kilograms, cast in 1641. It hangs in a wooden tower beside the church, since the church's own tower was too weak. It is rung at noon and in fog; fishermen have set their clocks by it.",
    "In 1917 it was to be melted down, but four men of the village sank it in the bay, 11 meters deep, and pulled it up again two years later. It is a little green since then, and its tone fell by a quarter-tone: musicians have measured it.",
    "The potato came to the valley in 1765 with a soldier who had eaten it abroad. The farmers planted it in their gardens first, as a flower. After the wet summer of 1771, when the rye had rotted, it was grown in every field; ten years later nobody remembered the flower.",
    "The valley's dialect has eleven words for it, and three of them mean a small, late, wrinkled one. Scholars of the language came in 1934 with a phonograph and recorded 62 speakers. The wax cylinders (now copied) take up four meters of shelf.",
    "Kestrels have nested in the chimney of the old brewery for at least 60 years. A camera was put there in 2009, and 15,000 people watched the first egg. Young kestrels leave after a month, often by falling onto the roof of the bus stop, which has therefore been padded.",
]
ALPINE_LONG = [5, 7, 8, 9, 15, 16, 17, 18, 19, 3, 2, 0, 11]

CAPITALS = "France Paris,Italy Rome,Spain Madrid,Norway Oslo,Sweden Stockholm,Finland Helsinki,Denmark Copenhagen,Poland Warsaw,Austria Vienna,Hungary Budapest,Greece Athens,Portugal Lisbon,Ireland Dublin,Egypt Cairo,Kenya Nairobi,Japan Tokyo,Peru Lima,Chile Santiago,Cuba Havana,Canada Ottawa,Ghana Accra,Iran Tehran,Iraq Baghdad,Nepal Kathmandu,Turkey Ankara,Latvia Riga,Estonia Tallinn,Brazil Brasília,Colombia Bogotá".split(",")
TERMS = [
    ("contract", "an agreement that a court will enforce"), ("budget", "a plan of income and spending"), ("virus", "a tiny particle that multiplies in living cells"),
    ("enzyme", "a protein that makes a reaction faster"), ("median", "the middle value of an ordered list"), ("prime number", "a whole number with exactly two divisors"),
    ("inflation", "a general rise of prices"), ("tariff", "a tax on goods that cross a border"), ("treaty", "a written agreement between states"),
    ("fossil", "a trace of life in old rock"), ("glacier", "a mass of ice that moves slowly downhill"), ("memory", "the keeping of what was learned"),
    ("algorithm", "a list of exact steps that solves a task"), ("firewall", "a guard that filters network traffic"), ("isotope", "an atom with another number of neutrons"),
    ("vein", "a vessel that leads blood to the heart"), ("syllogism", "a conclusion from two premises"), ("virtue", "a good and lasting habit of character"),
    ("census", "a count of all people of a country"), ("migration", "the movement of people from place to place"), ("orbit", "the path of a body around another"),
    ("voltage", "the push that drives a current"), ("vitamin", "a substance that the body needs in small amounts"), ("audit", "an examination of accounts"),
    ("monopoly", "a market with one seller"), ("pilgrimage", "a journey to a holy place"), ("republic", "a state without a king"),
    ("placebo", "a treatment without an active substance"), ("brand", "a name by which buyers know a product"), ("jury", "a group of citizens who decide on guilt"),
]
PEOPLE = ["Anna", "Björn", "Chen", "Dora", "Emil", "Fatima", "Goran", "Hana", "Ilya", "Jun"]
THINGS = ["apples", "pencils", "tickets", "stamps", "chairs", "stones", "letters", "coins"]
SUBJECTS = """abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology college_chemistry college_computer_science
college_mathematics college_medicine college_physics computer_security conceptual_physics econometrics electrical_engineering elementary_mathematics
formal_logic global_facts high_school_biology high_school_chemistry high_school_computer_science high_school_european_history high_school_geography
high_school_government_and_politics high_school_macroeconomics high_school_mathematics high_school_microeconomics high_school_physics
high_school_psychology high_school_statistics high_school_us_history high_school_world_history human_aging human_sexuality international_law
jurisprudence logical_fallacies machine_learning management marketing medical_genetics miscellaneous moral_disputes moral_scenarios nutrition
philosophy prehistory professional_accounting professional_law professional_medicine professional_psychology public_relations security_studies
sociology us_foreign_policy virology world_religions""".split()


def mmlu_doc(subject, number):
    r = random.Random(f"{subject} {number}")
    kind = r.randrange(6)
    if kind == 0:
        a, b = r.randrange(3, 60), r.randrange(3, 40)
        question = f"{r.choice(PEOPLE)} has {a} {r.choice(THINGS)} and gets {b} more. How many are there now?"
        choices = [str(a + b), str(a + b + 1), str(abs(a - b)), str(a + b + 10)]
    elif kind == 1:
        country, city = r.choice(CAPITALS).split(" ")
        others = [c.split(" ")[1] for c in CAPITALS if not c.startswith(country)]
        question = f"What is the capital of {country}?"
        choices = [city] + r.sample(others, 3)
    elif kind == 2:
        term, meaning = r.choice(TERMS)
        question = f"Which of the following describes a {term} best?"
        choices = [meaning] + r.sample([m for _, m in TERMS if m != meaning], 3)
    elif kind == 3:
        term, meaning = r.choice(TERMS)
        question = f"{meaning[0].upper()}{meaning[1:]} is called"
        choices = [term] + r.sample([t for t, _ in TERMS if t != term], 3)
    elif kind == 4:
        a, b = r.randrange(2, 13), r.randrange(2, 13)
        question = f"Statement 1 | The product of {a} and {b} is {a * b}. Statement 2 | The sum of {a} and {b} is {a + b + r.randrange(2)}."
        second = question.endswith(f" {a + b}.")
        choices = ["True, True", "True, False"] if second else ["True, False", "True, True"]
        choices += ["False, True", "False, False"]
    else:
        a, b, c = r.sample(PEOPLE, 3)
        x, y, z = r.sample(range(20, 90), 3)
        question = f"{a} is {x} years old, {b} is {y} and {c} is {z}.\nWho is the oldest of the three?"
        choices = [max([(x, a), (y, b), (z, c)])[1]]
        choices += [n for n in (a, b, c) if n != choices[0]] + ["They are of equal age"]
    if number % 5 == 1:
        question += " "
    if number % 5 == 3:
        question = " " + question + "\n"
    answer = r.randrange(4)
    choices[0], choices[answer] = choices[answer], choices[0]
    return {"question": question, "subject": subject, "choices": choices, "answer": answer}


def turned(choices, by):
    by %= len(choices)
    return choices[by:] + choices[:by], (len(choices) - by) % len(choices)


def arc(lines, prefix, evaluated):
    docs = []
    for i, line in enumerate(lines):
        question, *choices = line.split("|")
        choices, right = turned(choices, i * 7 + i // 3)
        labels = ("12345" if i % 4 == 2 else "ABCDE")[: len(choices)]
        docs.append({"id": f"{prefix}_{i:03d}", "question": question, "choices": {"text": choices, "label": list(labels)}, "answerKey": labels[right]})
    return docs[:evaluated], docs[evaluated:]


def hellaswag(lines, evaluated):
    docs = []
    for i, line in enumerate(lines):
        kind, activity, a, b, *endings = line.split("~")
        endings, right = turned(endings, i * 3 + i // 4)
        docs.append({
            "ind": 100 + 3 * i, "activity_label": activity, "ctx_a": a, "ctx_b": b, "ctx": (a + " " + b) if b else a, "endings": endings,
            "source_id": ("activitynet~v_local" if kind == "a" else "wikihow~") + str(i), "split": "val" if i < evaluated else "train",
            "split_type": "indomain" if i % 2 else "zeroshot", "label": str(right),
        })
    return docs[:evaluated], docs[evaluated:]


def piqa(lines, evaluated):
    docs = []
    for i, line in enumerate(lines):
        goal, right, wrong = line.split("|")
        label = (i * 5 + i // 3) % 2
        first, second = (wrong, right) if label else (right, wrong)
        docs.append({"goal": goal, "sol1": first, "sol2": second, "label": label})
    return docs[:evaluated], docs[evaluated:]


def winogrande(lines, evaluated):
    docs = [dict(zip(("sentence", "option1", "option2", "answer"), line.split("|"))) for line in lines]
    return docs[:evaluated], docs[evaluated:]


def openbookqa(lines, evaluated):
    docs = []
    for i, line in enumerate(lines):
        stem, *choices = line.split("|")
        choices, right = turned(choices, i * 5 + i // 4)
        key = "ABCD"[right]
        docs.append({"id": f"7-{i + 100}", "question_stem": stem, "choices": {"text": choices, "label": list("ABCD")}, "answerKey": " " + key if i in (3, 14) else key})
    return docs[:evaluated], docs[evaluated:]


def boolq(lines, evaluated):
    passages = [line.split("|")[1] for line in lines]
    docs = []
    for i, line in enumerate(lines):
        question, passage, label = line.split("|")
        if passage == "LONG":  # longer than the contexts of the models
            passage = LONG_BOOLQ + " ".join(passages[j] for j in (0, 4, 2, 6, 8, 12, 13, 14, 15, 16, 17, 18, 19, 9, 3, 5))
        docs.append({"question": question, "passage": passage, "idx": i if i < evaluated else i - evaluated, "label": int(label)})
    return docs[:evaluated], docs[evaluated:]


def wikitext():
    f = WIKI_FACTS
    spec = [
        ("Harbor Museum ( Lindhavn )", [("", 0, [f[0], f[1]]), ("Collection", 2, [f[2]]), ("Place", 2, [f[3]])], [0]),
        ("Grey wagtail", [("", 0, [f[4]]), ("Breeding", 2, [f[5]]), ("In the town", 3, [f[6]])], [1]),
        ("Aldern Valley Railway", [("", 0, [f[7]]), ("Engines", 2, [f[8]]), ("Accidents", 2, [f[9]])], [2]),
        ("Cloudberry soup", [("", 0, [f[10], f[11]])], [4]),
        ("Ida Sørensen", [("", 0, [f[12]]), ("Letters", 2, [f[13]]), ("Crater", 3, [f[14]])], [3]),
        ("Torvik", [("", 0, [f[15], f[16]]), ("Weather", 2, [f[3]])], [1, 2]),
        ("Potatoes in the Aldern Valley", [("", 0, [f[17], f[18]])], [0, 4]),
        ("Birds of the old brewery", [("", 0, [f[19]]), ("Other birds", 2, [f[4], f[6]])], [3]),
        ("Lindhavn and the Aldern Valley", [("", 0, [f[3]])] + [(h, 2 + k % 3, [f[j]]) for k, (h, j) in enumerate(zip("Harbor Railway Engines Accidents Bell War Potatoes Dialect Kestrels Ice Index Museum Soup".split(), ALPINE_LONG))], [0, 1, 2, 3, 4]),
        ("The long list", [("", 0, [f[10], f[0]]), ("Order", 4, [f[9]])], [2, 1]),
    ]
    pages = []
    for title, parts, extra in spec:
        page = wikitext_page(title, parts)
        for e in extra:
            page += RAW_EXTRA[e] + "\n \n"
        pages.append({"page": page})
    train = [{"page": wikitext_page(f"Notes {i + 1}", [("", 0, [f[i], f[19 - i]])])} for i in range(8)]
    return pages, train


def write(root):
    def put(path, docs):
        path = os.path.join(root, path + ".jsonl")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            for d in docs:
                out.write(json.dumps(d, ensure_ascii=False) + "\n")

    for name, lines in (("ARC-Easy", ARC_EASY), ("ARC-Challenge", ARC_CHALLENGE)):
        test, train = arc(lines, "VK" + name[4], 13 if name == "ARC-Easy" else 12)
        put(f"allenai/ai2_arc/{name}/test", test)
        put(f"allenai/ai2_arc/{name}/train", train)
        put(f"allenai/ai2_arc/{name}/validation", train[-2:])
    for path, (evaluated, train), split in (
        ("Rowan/hellaswag/", hellaswag(HELLASWAG, 12), "validation"),
        ("baber/piqa/", piqa(PIQA, 12), "validation"),
        ("allenai/winogrande/winogrande_xl/", winogrande(WINOGRANDE, 13), "validation"),
        ("aps/super_glue/boolq/", boolq(BOOLQ, 12), "validation"),
        ("allenai/openbookqa/main/", openbookqa(OPENBOOKQA, 12), "test"),
    ):
        put(path + split, evaluated)
        put(path + "train", train)
        if split == "test":
            put(path + "validation", train[-2:])
    for subject in SUBJECTS:
        put(f"cais/mmlu/{subject}/test", [mmlu_doc(subject, i) for i in range(10)])
        put(f"cais/mmlu/{subject}/dev", [mmlu_doc(subject, i) for i in range(10, 15)])
    test, train = wikitext()
    put("EleutherAI/wikitext_document_level/wikitext-2-raw-v1/test", test)
    put("EleutherAI/wikitext_document_level/wikitext-2-raw-v1/train", train)
    put("EleutherAI/wikitext_document_level/wikitext-2-raw-v1/validation", train[:2])
    put("EleutherAI/lambada_openai/default/test", [{"text": t} for t in LAMBADA])


if __name__ == "__main__":
    write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data"))
