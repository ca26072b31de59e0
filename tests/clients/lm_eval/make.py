"""Makes the questions of the lm-eval tasks here: 100 each, four choices, the right one anywhere.

- sums.jsonl: sums of two digits.
- kinds.jsonl: what kind of thing a word is; the wrong choices are other kinds.
- endings.jsonl: the last word of a sentence; the wrong choices end sentences of the same sort.
- capitals.jsonl: the first of these sentences, to be ended by the model itself.
- texts.jsonl: short texts, for their perplexity.
"""

import json
import pathlib
import random

KINDS = {
    "bird": "robin sparrow eagle owl pigeon swan penguin parrot crow heron",
    "fish": "salmon trout shark tuna cod herring eel carp haddock perch",
    "tree": "oak birch pine maple willow elm beech cedar ash poplar",
    "tool": "hammer saw chisel wrench drill screwdriver shovel rake axe pliers",
    "fruit": "apple pear banana cherry plum peach grape lemon mango apricot",
    "metal": "iron copper gold silver tin lead zinc nickel aluminium platinum",
    "instrument": "violin piano flute trumpet drum cello clarinet harp guitar oboe",
    "insect": "ant bee wasp beetle moth butterfly cricket mosquito ladybird grasshopper",
    "vehicle": "car lorry bicycle tram train bus tractor van motorcycle scooter",
    "language": "French German Spanish Italian Greek Dutch Polish Swedish Turkish Finnish",
}
ENDINGS = {
    "The capital of {} is": "France:Paris Italy:Rome Spain:Madrid Germany:Berlin Austria:Vienna "
    "Greece:Athens Poland:Warsaw Portugal:Lisbon Norway:Oslo Sweden:Stockholm Russia:Moscow "
    "Japan:Tokyo China:Beijing Egypt:Cairo Kenya:Nairobi Peru:Lima Cuba:Havana Ireland:Dublin "
    "Hungary:Budapest Turkey:Ankara",
    "The opposite of {} is": "hot:cold big:small early:late rich:poor old:young fast:slow "
    "hard:soft light:dark wet:dry full:empty high:low open:closed clean:dirty strong:weak "
    "true:false near:far happy:sad loud:quiet thick:thin sweet:sour",
    'The past tense of "{}" is': "go:went see:saw eat:ate buy:bought take:took write:wrote "
    "sing:sang run:ran think:thought come:came give:gave find:found know:knew drink:drank "
    "fly:flew speak:spoke make:made feel:felt hold:held leave:left",
    "A young {} is called a": "dog:puppy cat:kitten cow:calf horse:foal sheep:lamb goat:kid "
    "hen:chick duck:duckling goose:gosling bear:cub deer:fawn frog:tadpole swan:cygnet "
    "kangaroo:joey pig:piglet eagle:eaglet owl:owlet seal:pup fish:fry butterfly:caterpillar",
    "A person who {} is a": "teaches:teacher paints:painter bakes:baker sings:singer "
    "dances:dancer farms:farmer writes:writer builds:builder drives:driver swims:swimmer "
    "runs:runner hunts:hunter gardens:gardener sails:sailor acts:actor sculpts:sculptor "
    "invents:inventor directs:director edits:editor translates:translator",
}
TEXTS = [
    "The river begins high in the hills, where a spring comes out between two grey stones. At "
    "first it is so narrow that a child can step over it. By the time it reaches the village it "
    "is wide enough to turn the wheel of the old mill.",
    "To make bread you need flour, water, salt and yeast. Mix them in a large bowl and knead the "
    "dough until it is smooth. Cover it with a cloth and let it rise in a warm place for an hour.",
    "The museum is open every day except Monday. Tickets can be bought at the entrance or at the "
    "station. Children under twelve do not pay, but they must come with an adult.",
    "A computer follows instructions one after another. A program is a list of such instructions, "
    "and a mistake in one of them can change everything that follows. That is why programs are "
    "tested before they are used.",
    "When winter comes, many birds fly south. They find their way by the sun, by the stars and by "
    "the shape of the land below them. In spring they return to the same woods and fields.",
    "She had never seen the sea before. She stood on the beach for a long time and watched the "
    "waves come in, one behind the other, and she thought that they would never end.",
    "Water freezes at zero degrees and boils at one hundred degrees on the Celsius scale. On a "
    "high mountain it boils sooner, because the air presses on it less.",
    "The meeting began at nine and lasted until noon. Most of the time was spent on the budget. "
    "In the end it was agreed that the new bridge should be built next year.",
]
CHOICES = 4


def question(chance, prompt, answer, others):
    choices = chance.sample(sorted(set(others) - {answer}), CHOICES - 1)
    choices.insert(chance.randrange(CHOICES), answer)
    return {"question": prompt, "choices": choices, "answer": choices.index(answer)}


def sums(chance):
    for a in range(10):
        for b in range(10):
            far = [str(other) for other in range(19) if abs(other - a - b) > 1]
            yield question(chance, f"2 + 2 = 4\n5 + 1 = 6\n{a} + {b} =", str(a + b), far)


def kinds(chance):
    for kind, words in KINDS.items():
        for word in words.split():
            yield question(chance, f"Of all things, {word} is a kind of", kind, KINDS)


def endings(chance):
    for sentence, pairs in ENDINGS.items():
        words = dict(pair.split(":") for pair in pairs.split())
        for word, answer in words.items():
            yield question(chance, sentence.format(word), answer, words.values())


folder, chance = pathlib.Path(__file__).parent, random.Random(7)
tasks = {make.__name__: list(make(chance)) for make in (sums, kinds, endings)}
tasks["capitals"] = tasks["endings"][:20]
tasks["texts"] = [{"text": text} for text in TEXTS]
for name, rows in tasks.items():
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / f"{name}.jsonl").write_text("".join(lines))
