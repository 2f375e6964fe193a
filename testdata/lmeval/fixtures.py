"""Writes testdata/lmeval/data: small data sets of the schema of those that lm-evaluation-harness reads. All text was written for vkcome."""

import json
import os
import random

HERE = os.path.dirname(os.path.abspath(__file__))


def write(path, **splits):
    folder = os.path.join(HERE, "data", path)
    os.makedirs(folder, exist_ok=True)
    for split, docs in splits.items():
        with open(os.path.join(folder, split + ".jsonl"), "w", encoding="utf-8") as f:
            for doc in docs:
                f.write(json.dumps(doc, ensure_ascii=False) + "\n")


# question | right answer | wrong answers
SCIENCE = """
Which part of a plant takes up most of the water that it needs?|the roots|the petals|the seeds|the bark
A metal spoon left in hot soup becomes hot at its handle. By which process does the heat travel along the spoon?|conduction|radiation|evaporation|condensation
What keeps the planets on their paths around the Sun?|gravity|friction|magnetism|sound
Which of these animals is warm-blooded?|a sparrow|a trout|a frog|a lizard
A pupil pours salt into warm water and stirs until it can no longer be seen. What has the pupil made?|a solution|a compound|an element|a gas
Which tool is best for measuring the mass of a stone?|a balance|a ruler|a thermometer|a stopwatch
Water in an open bowl slowly disappears on a sunny windowsill. What is this change called?|evaporation|freezing|melting|rusting
Which source of energy will not run out in the lifetime of the Sun?|sunlight|coal|natural gas|petroleum
Why does the Moon seem to change its shape during a month?|we see different parts of its lit half|the shadow of the Earth covers it each night|clouds hide parts of it|it turns into another moon
What do the white blood cells of the body mainly do?|They fight infections.|They carry oxygen.|They digest food.|They make bones grow.
Which rock forms when lava cools?|igneous rock|sedimentary rock|metamorphic rock|chalk
A ball rolls down a ramp and speeds up. Which energy grows while it rolls?|kinetic energy|chemical energy|nuclear energy|potential energy
Which gas do green plants take from the air to make sugar?|carbon dioxide|oxygen|helium|neon
A student wants to know whether ice melts faster in salt water. What must be the same in both cups?|the amount of water|the amount of salt|the time until the ice is gone|the result of the test
Which sense organ tells us whether a sound is loud or soft?|the ear|the skin|the tongue|the nose
At night an owl finds mice chiefly by its|hearing.|feathers.|sense of taste.|claws.
Which layer of the Earth do we walk on?|the crust|the mantle|the outer core|the inner core
A magnet picks up some of the things on a table. Which will it pick up?|an iron nail|a wooden match|a glass bead|a copper coin
What happens to most of the energy that a lamp with a glowing wire takes?|It becomes heat.|It becomes sound.|It is stored in the glass.|It turns into mass.
Which season does the north have when its half of the Earth leans toward the Sun?|summer|winter|autumn|spring
Bees move from flower to flower. How does this help the plants?|It carries pollen between them.|It waters their roots.|It keeps their leaves cool.|It removes their seeds.
In a series circuit with two lamps, one lamp burns out. What does the other one do?|It goes dark.|It becomes brighter.|It blinks.|It stays the same.
Which change is a chemical one?|a nail rusting|ice melting|paper being cut|sugar dissolving
How long does the Earth take to turn once around itself?|about one day|about one hour|about one month|about one year
""".strip().split("\n")


def question(line):
    q, *choices = line.split("|")
    return q, choices


def arc(lines, seed, prefix):
    rng = random.Random(seed)
    docs = []
    for i, line in enumerate(lines):
        q, choices = question(line)
        right = choices[0]
        if i % 7 == 3:
            choices = choices[:3]
        if i % 7 == 5:
            choices = choices + ["none of these"]
        rng.shuffle(choices)
        labels = ["1", "2", "3", "4", "5"][: len(choices)] if i % 5 == 2 else ["A", "B", "C", "D", "E"][: len(choices)]
        docs.append({"id": f"{prefix}_{i}", "question": q, "choices": {"text": choices, "label": labels}, "answerKey": labels[choices.index(right)]})
    return docs


HARDER = """
Two identical cups hold equal amounts of hot tea; one of them has a lid. After ten minutes the tea with the lid is warmer. The best explanation is that the lid|lets less vapor carry heat away.|makes new heat from the steam.|stops the tea from conducting heat into the table.|raises the boiling point of the tea to above that of oil.
A farmer plants beans in a field where maize grew for many years. Which result is most likely?|The soil gains nitrogen.|The soil turns to sand.|The soil loses all its water.|The soil becomes magnetic.
A train moves at a steady speed on a straight track. What can be said of the forces on it?|They are balanced.|There are none.|They all point forward.|They grow with time.
Light passes from air into water and bends. Which property of light changes at the surface?|its speed|its color|its source|its frequency
A population of dark and light moths lives on trees that soot has darkened. Which moths will be more common after many years, and why?|Dark ones, because birds find fewer of them.|Light ones, because they reflect heat.|Dark ones, because soot dyes their wings.|Light ones, because they can fly farther.
A block of wood floats with half of its volume below water. Its density is about|half that of water.|that of water.|twice that of water.|a tenth that of water.
Why is the sea near a coast often cooler than the land on a summer afternoon?|Water needs more heat to warm by one degree.|Water reflects all of the sunlight.|Land makes heat of its own.|Salt keeps water from warming at all.
Which observation shows that sound needs a medium?|A bell in an empty jar is not heard.|Thunder comes after lightning.|An echo returns from a cliff.|A loud tone shakes a window.
A cell is put into very salty water and shrinks. Which process took the water out of it?|osmosis|mitosis|respiration|photosynthesis
In a food chain of grass, hares and foxes, a disease kills most foxes. What happens first?|There are more hares.|There is more grass.|There are fewer hares.|The grass becomes poisonous.
The half-life of a substance is 3 days. How much of 80 grams is left after 9 days?|10 grams|27 grams|40 grams|0 grams
Which pair would attract each other?|a north pole and a south pole|two north poles|two positive charges|two negative charges
Fossils of sea shells are found high on a mountain. What do they suggest?|The rock once lay under a sea.|Shells can climb.|The mountain is made of salt.|Rain carries shells.
Why do engineers leave gaps between the plates of a bridge?|The plates grow when they are warm.|Cars would be too loud without them.|Rain must fall through.|The gaps make the bridge lighter by half.
A seed sprouts in a dark box and the young plant is pale. What is it missing?|light to make chlorophyll|carbon dioxide to breathe out|darkness to rest|soil to lean on
A wave has the frequency 5 hertz and the length 2 meters. How fast does it travel?|10 meters per second|2.5 meters per second|7 meters per second|3 meters per second
Which of these is the best evidence that a gas formed when two liquids were mixed?|Bubbles rise.|The cup is heavier.|The liquids are clear.|The cup is made of glass.
Dew forms on grass in a clear night because the grass|cools the air next to it.|gives off rain.|takes up starlight.|breathes out oxygen.
A copper wire is replaced by one of the same metal that is twice as thick. What happens to its resistance?|It becomes smaller.|It doubles.|It stays the same.|It becomes infinite.
Which organelle gives a cell most of its usable energy?|the mitochondrion|the nucleus|the ribosome|the cell wall
What is the main reason that astronauts float inside their station?|They fall around the Earth together with it.|There is no gravity so far up.|The air pushes them up.|Their suits are filled with helium.
Acid rain harms lakes mostly because it|lowers their pH.|makes them deeper.|freezes them.|adds salt to them.
""".strip().split("\n")

# activity | ctx_a | ctx_b | endings, the right one first
SWAG = """
Making pancakes|A man stands in a small kitchen and pours batter from a jug into a hot pan. He tilts the pan so that the batter runs to the edge, waits until the top is full of little bubbles, and slides a spatula below.|he|flips the pancake over and bakes its other side until it is brown.|throws the pan out of the window and sings to the jug.|paints the batter blue with a wide brush and leaves for the station.|puts the spatula into a drawer, locks it, and reads the paper to the stove.
Riding a bike|A girl with a red helmet sits on a bicycle at the top of a gentle hill. Her father holds the saddle and runs beside her while the wheels begin to turn faster and faster, until he cannot keep up any more.|the girl|keeps her balance and rides down to the foot of the hill alone.|folds the bicycle into her pocket and flies to the clouds.|eats the helmet slowly and asks for another one.|turns into a lamp post that stands beside the road.
Washing a car|A woman fills a bucket with warm water and soap behind her garage. She rinses the dust off the car with a hose, dips a big sponge into the bucket, and starts to rub the roof in circles, working her way down to the doors.|she|sprays clear water over the car and wipes it dry with a cloth.|drinks what is in the bucket and drives the hose to school.|hangs the car on a line between two trees to dry.|bakes the sponge in the oven and serves it cold.
Home and Garden|[header] How to repot a house plant [title] Choose a pot that is a little larger. [step] The new pot should be about three centimeters wider than the old one and have holes in its floor. Put a layer of fresh soil into it.||[substeps] Lift the plant out by its stem's base and set it on the layer of soil.|[substeps] Paint the leaves with glue and wait for a week until they are firm.|[substeps] Fill the holes with wax and pour the plant out through the door.|[substeps] Read the soil a story and put the old pot on your head.
Finance and Business|[header] How to write a thank-you note after an interview [title] Send it within a day. [step] A short message that reaches the interviewer soon is better than a long letter that comes late. Name something that you talked about.||End with a friendly line and check the spelling of every name.|Write it with lemon juice so that nobody can read it.|Ask the interviewer to pay for the stamp and  the paper.|Put the note into a bottle and wait for the tide.
Playing the violin|An old man opens a worn case and takes a violin out of it. He tightens the bow, rubs it with rosin, and tucks the violin under his chin. People who were walking through the square begin to stop and form a half circle.|he|closes his eyes and plays a slow tune while the people listen.|saws the violin into planks and builds a fence around the square.|feeds the bow to the pigeons and bows to the fountain.|puts the case on and walks away as a turtle.
Building a snowman|Three children roll a ball of snow across the yard until it is as high as their knees. They roll a second one, lift it onto the first together, and argue about whose scarf they should use. The smallest child runs into the house.|the child|comes back with a carrot for the nose and two buttons.|melts the yard with a spoon and sells it to a neighbor.|grows a beard and becomes the mayor of the town.|puts the house onto the snowman as a hat.
Shaving|A young man looks into the bathroom mirror and spreads white foam over his cheeks and chin. He holds a razor under warm water, pulls his skin tight with one hand, and draws the blade down along his cheek.|he|rinses the razor and goes on with the other cheek.|shaves the mirror until it is bald.|combs the foam and braids it into a rope for climbing.|mails the water to his aunt, who collects doors.
Food and Entertaining|[header] How to boil an egg [title] Put the eggs in a pot. [step] Cover them with cold water by about two centimeters, so that they heat evenly and do not crack. Bring the water to a boil.||[title] Take the pot off the heat and wait. [step] Six minutes give a soft yolk, ten a firm one.|[title] Plant the eggs in a row. [step] Water them each evening until they bark.|[title] Shout at the water. [step] It will hide below the stove and the eggs will follow.|[title] Count the eggs backwards. [step] A negative egg must be returned to the shop at once.
Canoeing|Two friends push a green canoe from the bank into a quiet river. One of them kneels in front and the other one sits in the back with a paddle across his knees. The current takes hold of the boat and turns it slowly.|they|dip their paddles and steer the canoe into the middle of the stream.|stand on the river and iron it until it is flat.|knit the canoe a pair of socks for its long winter sleep.|climb the paddles and pick apples from the clouds.
Hanging wallpaper|The painter measures the wall from the floor to the ceiling and cuts a strip of paper that is a hand longer. She lays it face down on the table, brushes paste onto its back, folds it loosely, and carries it to the ladder.|the painter|presses the top of the strip to the wall and smooths it downward.|reads the paste aloud and files it under music.|lays the ladder to sleep and covers it with the table.|eats the strip with a fork from the left to the right.
Long jump|A runner waits at the end of the track and looks at the sandpit. She rocks back and forth, takes a deep breath, and begins to sprint, her steps getting longer. Her last step hits the white board exactly.|she|leaps, pulls her legs forward, and lands in the sand.|stops to buy the board a cup of tea.|drops her shadow and goes back to look for it.|turns the track around and rolls it up like a carpet.
Pets and Animals|[header] How to brush a long-haired cat [title] Choose a quiet hour. [step] After a meal most cats are calm. Let the cat smell the brush and stroke its back with your hand first.||Brush in the direction of the hair, and stop when the cat has had enough.|Brush the meal, and let the hour smell the hand.|Sell the brush to the cat at a fair price and ask for a receipt.|Tie the calm to a chair and brush the step.
""".strip().split("\n")


def swag(lines, seed):
    rng = random.Random(seed)
    docs = []
    for i, line in enumerate(lines):
        activity, a, b, *endings = line.split("|")
        right = endings[0]
        rng.shuffle(endings)
        docs.append({
            "ind": i, "activity_label": activity, "ctx_a": a, "ctx_b": b, "ctx": (a + " " + b).strip(), "endings": endings, "source_id": f"vkcome~{i}",
            "split": "val", "split_type": "indomain", "label": str(endings.index(right)),
        })
    return docs


# goal | right | wrong
PIQA = """
How can I keep cut apples from turning brown?|Sprinkle lemon juice over the slices.|Sprinkle sand over the slices.
To open a jar whose lid is stuck,|hold the lid under hot water for a minute and turn it with a dry cloth.|hold the jar under your arm for a minute and turn yourself around.
remove a splinter from a finger|Pull it out with clean tweezers in the direction in which it went in.|Push it in with a clean hammer until it comes out on the other side.
How do you find a small screw that fell on a carpet?|Move a magnet slowly over the carpet.|Move a candle slowly under the carpet.
How to dry wet shoes without harming them?|Stuff them with newspaper and leave them in an airy place.|Fill them with water and leave them in the freezer.
To cut a cake into neat pieces,|dip the knife into hot water and wipe it before each cut.|dip the cake into hot water and wipe it before each cut.
keep a door from squeaking|Put a drop of oil on each hinge.|Put a drop of honey on each handle.
How can you tell whether an egg is still fresh?|Lay it in a bowl of water; a fresh egg sinks.|Lay it in a bowl of flour; a fresh egg sings.
To carry a hot dish from the oven,|use thick, dry mitts.|use thin, wet paper.
How do you separate the white of an egg from its yolk?|Pass the yolk from one half of the shell to the other over a cup.|Pass the shell from one cup to the other over the yolk.
make a quick funnel|Roll a sheet of paper into a cone and cut off the tip.|Roll a sheet of paper into a ball and cut off the middle.
To soften butter fast,|grate it onto a plate and wait a few minutes.|bury it below a plate and wait a few winters.
How to remove a sticker from a glass?|Warm it with a hair dryer and peel it off slowly.|Cool it with a lawn mower and peel it off loudly.
What helps when a zipper is stuck?|Rub a pencil along its teeth.|Rub a tomato along its teeth.
To hang a picture straight,|lay a small level on top of its frame.|lay a small whistle on top of its frame.
How can I water my plants while I travel for a week?|Lead a wool thread from a bowl of water into each pot.|Lead a warm wire from a bowl of soup into each pot.
clean a blackboard|Wipe it with a damp sponge.|Wipe it with a lump of chalk.
To keep cookies soft,|store them in a tin together with a slice of bread.|store them in a tree together with a loaf of rain.
How do you sharpen a pencil without a sharpener?|Carve its tip with a small knife, turning it a little each time.|Chew its tip with a small spoon, turning it a little each time.
To warm your hands outdoors,|rub them together and tuck them into your sleeves.|rub snow together and tuck it into your sleeves.
""".strip().split("\n")

# sentence | option1 | option2 | answer
WINO = """
The suitcase did not fit on the shelf because the _ was too large.|suitcase|shelf|1
Anna lent Maria her umbrella because _ had to walk home in the rain.|Anna|Maria|2
The candle lit the room better than the lamp, so Peter switched off the _ .|candle|lamp|2
The soup was too salty for Tom but not for Paul, as _ had asked for more salt.|Tom|Paul|2
The cat chased the mouse into a hole, and the _ could not follow.|cat|mouse|1
We moved the sofa from the hall to the attic so that there would be more space in the _.|hall|attic|1
Laura thanked Julia for the book, since _ had waited for it for years.|Laura|Julia|1
The nail would not go into the oak board although the hammer was heavy; the _ was too hard.|board|hammer|1
Ben could not hear what Karl whispered because _ stood next to the waterfall.|Ben|Karl|1
The red paint covered the wall better than the yellow paint, so we bought more of the _ paint.|red|yellow|1
Susan carried the basket for Helen because _ had hurt her arm.|Susan|Helen|2
The river froze before the lake did, as the water of the _ was warmer.|river|lake|2
The teacher praised the pupil because the _ had solved the riddle.|teacher|pupil|2
Mia gave Zoë her old skates, and _ went to buy new ones.|Mia|Zoë|1
The bread got stale sooner than the cake because the _ had been wrapped in foil.|bread|cake|2
The bus was faster than the tram, so the friends who took the _ came late.|bus|tram|2
Emil wrote a letter to Oskar, and _ answered it the same day.|Emil|Oskar|2
The shirt shrank in the wash while the trousers did not, so Jan gave away the _ .|shirt|trousers|1
""".strip().split("\n")

# passage | question | answer
BOOLQ = """
Lighthouse -- A lighthouse is a tower with a strong lamp that helps ships to find their way at night. In former times keepers lived in the tower, lit the lamp each evening and wound the clockwork that turned its lens. Today almost all lighthouses work by themselves: a sensor switches the lamp on when it gets dark, and a computer tells the coast guard when something has failed. Some of the old towers have become museums, and in a few of them guests may spend a night.|do keepers still live in most lighthouses|0
Bridge of Alder -- The wooden bridge over the Alder was built by the people of two villages who had quarreled for a century. It burned down in a dry summer and was rebuilt in stone, with five arches, of which the middle one is wide enough for barges. The stones came from the same quarry as those of the church. A toll was asked until the last war; since then everybody may cross the bridge for free, even with a wagon.|is the bridge over the alder free to cross today|1
Maple syrup -- The sap of the sugar maple is collected in early spring, when the nights are frosty and the days are mild. It holds only about two percent of sugar, so that some forty liters of sap have to be boiled down for one liter of syrup. Most of the water leaves as steam. The color of the syrup deepens as the season goes on, and its taste grows stronger. It needs no added sugar, although cheap imitations consist of little else.|is sugar added to real maple syrup|0
Night trains -- A night train carries its passengers over long distances while they sleep. The cars have compartments with two to six berths, and an attendant brings breakfast before the train arrives. When cheap flights came up, many of these trains were given up. In recent years, however, several railways have bought new sleeping cars, as more people want to travel without flying, and some lines that had been closed for a decade run again.|have some night train lines opened again|1
Honey -- Bees make honey from the nectar of flowers. They carry it home in a special stomach, pass it from mouth to mouth, and fan it with their wings until most of its water is gone. In closed combs it keeps for a very long time, because little water and much sugar leave nothing for mold to live on. Honey that has become solid is not spoiled: a warm bath makes it liquid once more. It should not be heated strongly, as that harms its aroma.|is honey spoiled when it becomes solid|0
Chess clock -- A chess clock consists of two clocks that never run at the same time. After a move the player presses a button, which stops the own clock and starts that of the opponent. Who runs out of time loses the game, unless the opponent could not win with what is left on the board; then it is a draw. Modern clocks add some seconds for every move, so that a won position need not be lost in a scramble.|can a player who runs out of time still get a draw|1
Ostrich -- The ostrich is the largest living bird. It cannot fly, but its strong legs carry it across the plain at up to seventy kilometers an hour. That it hides its head in the sand is a fable: seen from far away, a bird that turns the eggs in its nest on the ground may look as if it did. When danger is near it runs, or lies down flat and does not move. Its kick can be fatal to a lion.|do ostriches hide their heads in the sand|0
Glass -- Glass is made by melting sand with soda and lime. The melt cools without forming crystals, and so it stays clear. Old windows are often thicker at the bottom, and people used to say that glass flows like a very slow liquid. In truth the panes were uneven from the start, since they were cut from spun disks, and glaziers liked to set the heavy edge below. At room temperature glass does not flow in any time that could be measured.|does window glass flow at room temperature|0
Tea -- Green tea and black tea come from the same plant. For green tea the leaves are heated soon after the harvest, which keeps their color. For black tea they are rolled and left to react with air for some hours before they are dried. Tea also contains caffeine, though a cup has less of it than a cup of coffee in most cases. The water for green tea should be somewhat below its boiling point.|are green and black tea made of the same plant|1
Mont Clair -- Mont Clair is a hill of 312 meters at the edge of the town of Sète-le-Haut. A cable car was planned in the nineteenth century, but the money was spent on a new well. Today a path of 900 steps leads to the top, where there is a café, a small chapel and a view over seven lakes. On the first Sunday in May a race is held: the winner of the last year carries a sack of flour. There is no road.|can you drive to the top of mont clair|0
Tides -- The tides are caused by the pull of the Moon and, to a lesser degree, of the Sun. In most places the sea rises and falls twice a day. When Sun, Moon and Earth stand in a line, both pull together and the tides are high; when they form a right angle the tides are weak. Bays that narrow toward their end raise the water further, in some places by more than fifteen meters. Lakes have tides too, but they are too small to be noticed.|does the sun have an influence on the tides|1
Pencils -- The core of a pencil contains no lead. It is a mixture of graphite and clay, baked at a great heat: the more clay, the harder the pencil. The name comes from a time when graphite was thought to be a kind of lead. Twenty pencils can be cut from a slat of cedar wood, and a single one could draw a line of more than fifty kilometers, if anybody had the patience for it.|is there lead in a pencil|0
""".strip().split("\n")

# stem | right | wrong
OPENBOOK = """
A person who wants to see stars well should|leave the city|light a fire|wear gloves|wait for noon
Frost on a window shows that it is|cold outside|noon|raining hot water|summer
A squirrel buries nuts so that it can|eat in winter|build a boat|scare owls|stay awake
A compass needle points north because of|the magnetism of the Earth|the light of the Moon|the wind from the sea|the weight of the needle
Rubbing two sticks together makes|heat|ice|copper|rain
A cactus can live in the desert since it|stores water|has no skin|sleeps all year|drinks sand
If a pond dries up, the fish in it will|die|fly|grow feathers|turn to stone
The teeth of a rabbit are made for|chewing plants|breaking bones|catching flies|holding prey
A rainbow needs sunshine and|drops of water|a mirror|a storm of sand|snow on the ground
A person pushes a cart harder than before. The cart will|speed up more|stop at once|lose weight|become warmer than the Sun
When the Sun sets, a sundial|no longer shows the time|runs faster|rings|turns around
Which would carry electricity best?|a silver wire|a rubber band|a dry twig|a woolen thread
The children of two brown dogs are most likely to be|brown dogs|gray cats|green birds|black sheep
Something that is recycled is|used again|lost|burned twice|thrown into the sea
A leaf that falls into a river will most likely|float|sink at once|burn|sprout wings
Which animal begins its life in an egg?|a turtle|a horse|a whale|a dog
Boots with deep treads help because they raise|friction|the temperature|the tide|the volume of the voice
A glass of cold water on a warm day becomes wet outside because|vapor from the air condenses|glass lets water through|ice is salty|the table sweats
""".strip().split("\n")

PAGES = [
    ("Harbor of Lindholm", """The harbor of Lindholm is a small port on the northern coast of the island . It was founded by fishermen in 1623 and has been used by ferries since 1871 . The harbor has a depth of 4 @.@ 5 m and a quay of 1 @,@ 250 feet , which was built by the engineer J. " Hans " Möller . In a good year some 12 @,@ 400 travelers pass through it .

 = = History = =

 In the first years there was only a wooden pier , and the boats were drawn ashore at night . A storm in the autumn of 1702 broke the pier ; the people 's answer was a wall of stone that still stands . The well @-@ known painter Ida Krog ( born 1840 ) lived in the lighthouse and painted the harbor at least thirty times .

 = = = The ferry = = =

 The first ferry , the Svale , was a steamer of 210 tons . It left at 6 : 30 in the morning and came back at noon ; passengers paid two crowns , and children paid nothing . When the captain was asked whether the ship would sail in fog , he said : " It always has . " The ship was sold in N of the years that followed , and a motor ferry took its place . The temperature of the water rarely exceeds 17 ° C . Is it a quiet place ? Yes ! But the gulls [ which are protected ] do not agree ."""),
    ("The Clockmakers", """" The Clockmakers " is a play in three acts by Edda Brandt , first staged at the Garden Theater in 1911 . It tells of two brothers , Anton and Felix , who inherit a workshop with 300 @-@ odd clocks , none of which shows the same time . The critics ' first reviews were cool ; the audience , however , filled the house for 41 evenings .

 = = Plot = =

 In the first act the brothers find that their father sold the house to a banker ( who never appears on the stage ) . Felix wants to stop all clocks ; Anton wants to set them right . Their quarrel lasts until the clocks strike twelve , one after another , for a quarter of an hour . In the second act a girl brings a watch that runs backwards : it belonged to her grandmother , and she asks that it not be mended . " Time , " she says , " is what we agree on . "

 = = Reception = =

 The playwright 's friend Otto Hahn wrote that it was " a comedy for people who are late " . In 1924 it was made into a film of 82 minutes , which is lost except for a reel of 4 minutes . A new production in 1987 used 1 @,@ 100 real clocks and was seen by 35 @,@ 000 people . The last line of the play is : ' What time is it ? '"""),
    ("Red-capped finch", """The red @-@ capped finch ( Carduelis ficta ) is a small bird of the mountain forests . It is about 11 @.@ 5 cm long and weighs 12 to 15 g . The male has a red cap , a gray back and a white belly ; the female is brown all over . Its song is a series of short trills , each of which ends on a lower note .

 = = Habits = =

 The bird lives in flocks of up to N birds in winter and in pairs in summer . It feeds on the seeds of birches and alders , and hangs upside down from the twigs while it eats . The nest , a cup of moss and spider webs , is built by the female alone in 6 to 9 days ; the male brings moss and sings . There are three to five eggs , which are pale blue with brown spots . The young leave the nest after 16 days and are fed for 10 days more .

 = = Status = =

 Some 40 @,@ 000 pairs are thought to live in the area . Their number has been falling since the 1990s , as old forests are cut ; in two of the parks { the northern ones } it is stable . The species is not thought to be in danger ."""),
    ("Route 9 (Vale)", """Route 9 is a road of 63 @.@ 4 km in the Vale district . It begins at the market square of Vale , crosses the river on the Iron Bridge , climbs to the pass at 1 @,@ 204 m and ends at the border . The road was a mule track until 1858 , when the post decided to send its coaches over the pass .

 = = Course = =

 The first part of the road is lined by poplars . At the village of Stern it meets Route 4 , with which it shares a bridge of three lanes . Behind the village the climb begins : there are 28 bends , each of which has a number and the name of a workman . Snow closes the pass from November to April ; a tunnel , planned since 1966 , has not been built .

 = = Traffic = =

 On an average day 2 @,@ 300 vehicles use the lower part and 410 the pass . In summer cyclists come from all over the country ; the record from the bridge to the pass is 52 minutes and 8 seconds . The road 's workers paint the numbers of the bends anew each May ."""),
    ("Salt bread", """Salt bread is a flat loaf with coarse salt on its crust . It comes from the coast , where wood was rare and bread had to bake fast . The dough consists of flour , water , yeast and a little oil ; it rests for 40 minutes , is pulled to the size of a hand , and bakes for 9 to 11 minutes at a great heat .

 = = Customs = =

 At weddings the couple breaks a loaf together : who keeps the larger piece is said to have the last word . Sailors carried it on their voyages , since the salt kept it dry . A proverb says : " Bread without salt is a letter without a name . " In the town of Orne a fair is held in its honor , and the largest loaf so far , baked in 2003 , weighed 86 @.@ 2 kg .

 = = Similar breads = =

 The " sea cake " of the northern islands is made with rye ; the people there say that theirs is older . Both have been listed as a tradition of the region since 2011 ."""),
    ("Battle of the Two Fords", """The Battle of the Two Fords was fought on 3 October 1381 between the townsmen of Karst and the knights of Duke Albrecht . About 1 @,@ 900 men took part in it . The townsmen held the upper ford ; the duke , who thought that they had fled , sent his riders through the lower one , where the ground had been flooded the night before .

 = = Aftermath = =

 The duke 's horse was later found in a mill , and he is said to have walked home in a farmer 's coat . Peace was made in the spring : the town kept its gates , the duke kept his title , and both agreed on a toll of N pennies for every cart . A chapel was built between the fords in 1402 . Historians ( among them R. Weiss ) doubt that the number of the fallen , given as " five score and one " , is right . The battle is acted out every ten years by some 300 people , in boots of rubber ."""),
    ("Lena Aster", """Lena Aster ( 12 March 1903 – 9 July 1988 ) was a botanist and mountaineer . She described 34 species of mosses , one of which bears her name , and was the first woman to climb the north face of the Grauhorn . Her field books , some 70 of them , are kept in the library of Vale .

 = = Life = =

 Aster was born as the fourth of five children of a forester . She learned the names of plants before she could read , and at the age of nine sent a box of lichens to the university ; the professor answered , and they wrote to each other for 20 years . She studied from 1922 to 1927 , taught at a school for girls , and spent each summer in a hut at 2 @,@ 480 m . In 1934 she fell into a crevasse and was found after 31 hours by her dog .

 = = Work = =

 Her main work , " Mosses of the High Valleys " , appeared in 1951 in two volumes . It was praised for its drawings , which she made with a pen of her own design . She never accepted a chair : " I sit badly , " she wrote . A street , a school and an asteroid [ 4 @,@ 712 ] are named after her ."""),
    ("Glass organ", """The glass organ is an instrument of 37 glass tubes which are rubbed with wet fingers . It was invented by the brothers Tarn in 1788 , was in fashion for some 30 years , and was then forgotten . Its sound has been called " rain that remembers a tune " .

 = = Construction = =

 The tubes are between 9 and 84 cm long and stand in a row , the longest on the left . A wheel that is turned by a pedal keeps them wet ; the player needs both hands and one foot . Since glass keeps its pitch , the instrument is never tuned , and a broken tube has to be replaced by one of exactly the same length . Only four of the old instruments are left .

 = = Music = =

 Some 60 pieces for the glass organ are known . The most famous one is a slow movement in A minor , in which the player has to hold six tones at a time . In the 1970s the instrument was built again , and it has been heard in 3 films since then ."""),
    ("Comet 88 N", """Comet 88 N is a comet with a period of 41 @.@ 6 years . It was discovered on 2 January 1891 by a baker who was on his way to work , and it has been seen at four returns . At its best it is as bright as the stars of the Great Bear ; its tail , however , is short .

 = = Orbit = =

 The comet comes as near to the Sun as Venus and goes out beyond Saturn . It passed the Earth at 0 @.@ 09 times the distance of the Sun in 1932 , when it moved across the sky in three weeks . The next return will be in 2057 . Spectra show water , carbon and a trace of sodium ; the core is thought to be 1 @.@ 8 km across ( with an error of 0 @.@ 3 km ) ."""),
]


def page(title, body):
    return f" = {title} = \n\n {body} \n\n"


def wikitext():
    pages = [page(*p) for p in PAGES]
    long = PAGES[0][1] + "\n\n = = Surroundings = = \n\n " + "\n\n ".join(p[1] for p in PAGES[1:4])
    pages.insert(3, page("Notes on the northern coast", long))  # longer than the context of every model
    return [{"page": p} for p in pages]


LAMBADA = """
The old clock in the hall had stopped again, and nobody but my grandfather knew how to wake it. He opened its door, put two fingers on the pendulum, and listened as a doctor listens to a heart. Then he took the little key from his vest and wound it up. "There," he said, and closed the door. "Give it a day, and you will hear that there is nothing wrong with my clock
For a week the ship had seen no land. The water was low, the biscuits were full of worms, and the men had ceased to sing. On the eighth morning the boy in the crow's nest rubbed his eyes, leaned forward and shouted so loud that the cook dropped his ladle. Far away, between the gray sea and the gray sky, there was a thin dark line. It was land
Nora had never liked the color green, and now the whole kitchen was full of it. Her brother had painted the walls, the chairs and even the lid of the bread box while she was away. He stood there with the brush in his hand and waited. She looked around for a long time, and said that she would need some time to get used to so much green
"You are late," said the baker. "The rolls are gone, the pretzels are gone, and all that I can give you is the loaf in the window." The boy turned his last coin over and over. The loaf in the window was two days old and as hard as wood, but he was too hungry to mind. He put the coin on the counter and took the loaf
The letter had lain behind the drawer for fifty years. It had neither a stamp nor a name on it, and the ink had turned brown. Clara read it twice by the window. Then she called her sister, who sat in the garden, and read it to her aloud. Neither of them said a word until the evening, but both of them knew who had written that letter
They had told him that the bridge was old and that he should lead the horse across it by the bridle. But the storm was close behind him and he did not want to lose a minute. He rode on. In the middle the planks began to groan, the horse stopped with shaking legs, and the rider at last got down and said a prayer for himself and for his horse
The professor drew a circle on the board and beneath it a second one. "Suppose," he said, "that this is the Sun and that is the Earth." A hand went up in the last row. "Yes, Miss Lind?" She asked why the Earth was larger than the Sun. There was a silence, and then everybody laughed, the professor loudest of all, and he drew another, much larger Sun
When my father came home in the evening he used to whistle in the yard, two high notes and a low one, and the dog would jump up from his place and run to the door. After my father died the dog lay beside the stove all day. Years later a stranger went by and whistled two high notes and a low one, and nobody could hold the dog
It was the last match of the season, and it had begun to snow. Nobody could see the lines any more, so the referee asked both teams whether they wanted to stop. The captains looked at each other. We have come a long way, said the one; so have we, said the other. They shook hands, and an orange ball was brought for the rest of the match
On the top of the hill stood three birches, and under the middle one there was a bench. Here my parents had met, here I had learned to read, and here, on a clear day in May, I asked Emma whether she would marry me. She said that she would, if I promised that we would come back every year to sit on the bench
Mr. Ödman kept a list of the things that he had lost: an umbrella, two gloves that did not match, a ticket to Rome, the thread of a good story, and the address of a woman with gray eyes. He had found the gloves behind the radiator. He did not need the umbrella any more. But sometimes, late at night, he would go through the drawers and look for the address
At first the two boys shared the island fairly: the one had the beach and the other the wood. Then the one wanted wood for a fire, and the other wanted to swim. They argued, they threw cones and shells, and in the end they drew a line through the sand. When the tide came it washed the line away, and they had to laugh, and from then on they shared the island
""".strip().split("\n")

MMLU = {
    "stem": "abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science college_mathematics college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science high_school_mathematics high_school_physics high_school_statistics machine_learning",
    "other": "business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology",
    "social": "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics high_school_microeconomics high_school_psychology human_sexuality professional_psychology public_relations security_studies sociology us_foreign_policy",
    "humanities": "formal_logic high_school_european_history high_school_us_history high_school_world_history international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory professional_law world_religions",
}
TERMS = {
    "stem": ["energy", "a cell", "a prime number", "a circuit", "an acid", "a star", "a proof", "a variable", "a wave", "a catalyst", "an orbit", "a matrix"],
    "other": ["a budget", "a vitamin", "a virus", "a market", "a symptom", "a contract", "an audit", "a gene", "a diet", "a dose", "a brand", "a muscle"],
    "social": ["inflation", "a border", "a vote", "a treaty", "a survey", "demand", "a habit", "an election", "a norm", "trade", "a census", "a ministry"],
    "humanities": ["an argument", "a duty", "a temple", "a statute", "a kingdom", "a virtue", "a revolution", "a witness", "a premise", "a myth", "a tomb", "a verdict"],
}
DEFINITIONS = {
    "energy": "what is needed to do work", "a cell": "the smallest unit of life", "a prime number": "a number with exactly two divisors", "a circuit": "a closed path for a current",
    "an acid": "a substance that gives off protons", "a star": "a ball of gas that shines by itself", "a proof": "a chain of steps from axioms to a claim", "a variable": "a name for a value that may change",
    "a wave": "a disturbance that travels", "a catalyst": "a substance that speeds up a reaction", "an orbit": "the path of one body around another", "a matrix": "a table of numbers with rows and columns",
    "a budget": "a plan of income and spending", "a vitamin": "a nutrient needed in small amounts", "a virus": "an agent that multiplies inside living cells", "a market": "a place where buyers meet sellers",
    "a symptom": "a sign that a patient notices", "a contract": "an agreement that can be enforced", "an audit": "an independent check of accounts", "a gene": "a stretch of DNA that codes for a trait",
    "a diet": "what a person usually eats", "a dose": "the amount of a drug taken at a time", "a brand": "a name that sets goods apart", "a muscle": "a tissue that contracts",
    "inflation": "a general rise of prices", "a border": "a line between two states", "a vote": "a choice that is counted", "a treaty": "an agreement between states", "a survey": "a set of questions put to many people",
    "demand": "how much buyers want at a price", "a habit": "an act that is done without thinking", "an election": "a choice of persons for an office", "a norm": "a rule that a group expects to be kept",
    "trade": "the exchange of goods", "a census": "a count of a whole population", "a ministry": "a department of a government",
    "an argument": "premises with a conclusion", "a duty": "what one ought to do", "a temple": "a building for worship", "a statute": "a law passed by a parliament", "a kingdom": "a state that is ruled by a monarch",
    "a virtue": "a good trait of character", "a revolution": "a sudden change of rule", "a witness": "a person who saw what happened", "a premise": "a claim that a conclusion rests on",
    "a myth": "a story about gods or origins", "a tomb": "a place where the dead are laid", "a verdict": "the decision of a jury",
}


def mmlu(area, subject, number):
    """15 questions of a subject: sums, definitions, and statements that are true or not."""
    rng = random.Random(f"{subject} {number}")
    docs = []
    terms = TERMS[area]
    for i in range(15):
        kind = i % 3
        if kind == 0:
            a, b = rng.randint(2, 90), rng.randint(2, 90)
            times = rng.random() < 0.4
            right = a * b if times else a + b
            choices = [right, right + rng.randint(1, 9), right - rng.randint(1, 9), right + 10 + rng.randint(1, 9)]
            q = f"A course on {subject.replace('_', ' ')} has {a} {'groups of' if times else 'old and'} {b} {'' if times else 'new '}students. How many students are there?"
            choices = [str(c) for c in choices]
        elif kind == 1:
            term, *others = rng.sample(terms, 4)
            q = f"Which of the following describes {term} best?"
            choices = [DEFINITIONS[t] for t in [term, *others]]
        else:
            one, two, three = rng.sample(terms, 3)
            first, second = rng.random() < 0.5, rng.random() < 0.5
            q = f"Statement 1 | {one[0].upper() + one[1:]} is {DEFINITIONS[one if first else two]}.\nStatement 2 | {three[0].upper() + three[1:]} is {DEFINITIONS[three if second else one]}."
            order = ["True, True", "False, False", "True, False", "False, True"]
            right = f"{first}, {second}"
            choices = [right] + [c for c in order if c != right]
        right = choices[0]
        rng.shuffle(choices)
        if i % 6 == 4:
            q += " "
        if i % 9 == 7:
            q = "\n" + q + "\n"
        docs.append({"question": q, "subject": subject, "choices": choices, "answer": choices.index(right)})
    return docs


def main():
    write("allenai/ai2_arc/ARC-Easy", train=arc(SCIENCE[12:], 1, "T"), test=arc(SCIENCE[:12], 2, "E"))
    # One question longer than the context of every model: what it begins with is cut off.
    challenge = arc(HARDER[:12], 3, "C")
    challenge[7]["question"] = " ".join(p[1].replace(" @-@ ", "-").replace("\n\n", "").replace(" = ", "") for p in PAGES[1:3]) + " " + challenge[7]["question"]
    write("allenai/ai2_arc/ARC-Challenge", train=arc(HARDER[12:] , 4, "T"), test=challenge)
    write("Rowan/hellaswag", train=swag(SWAG[3:] + SWAG[:1], 5), validation=swag(SWAG, 6))
    piqa = []
    rng = random.Random(7)
    for line in PIQA:
        goal, right, wrong = line.split("|")
        label = rng.randint(0, 1)
        piqa.append({"goal": goal, "sol1": wrong if label else right, "sol2": right if label else wrong, "label": label})
    write("baber/piqa", train=piqa[12:], validation=piqa[:12])
    wino = [dict(zip(["sentence", "option1", "option2", "answer"], line.split("|"))) for line in WINO]
    write("allenai/winogrande/winogrande_xl", train=wino[10:] + wino[:2], validation=wino[:12])
    boolq = []
    for i, line in enumerate(BOOLQ):
        passage, q, answer = line.split("|")
        boolq.append({"question": q, "passage": passage, "idx": i, "label": int(answer)})
    write("aps/super_glue/boolq", train=boolq[4:], validation=boolq)
    book = arc(OPENBOOK, 8, "B")
    for i, doc in enumerate(book):
        doc["question_stem"] = doc.pop("question")
        doc["choices"] = {"text": doc["choices"]["text"][:4], "label": ["A", "B", "C", "D"][: len(doc["choices"]["text"][:4])]}
        right = OPENBOOK[i].split("|")[1]
        if right not in doc["choices"]["text"]:
            doc["choices"]["text"][0] = right
        doc["answerKey"] = (" " if i == 4 else "") + doc["choices"]["label"][doc["choices"]["text"].index(right)]
    write("allenai/openbookqa/main", train=book[10:] + book[:1], validation=book[:2], test=book[:12])
    write("EleutherAI/wikitext_document_level/wikitext-2-raw-v1", test=wikitext(), validation=wikitext()[:1], train=wikitext()[:1])
    write("EleutherAI/lambada_openai/default", test=[{"text": text} for text in LAMBADA])
    for area, subjects in MMLU.items():
        for n, subject in enumerate(subjects.split()):
            docs = mmlu(area, subject, n)
            write("cais/mmlu/" + subject, dev=docs[10:], test=docs[:10])


main()
