"""What the training voices say: our own sentences in five languages.

Every eighth sentence of a language is held out: no training voice ever says it.  English ones that
are put together from parts share those parts with taught ones, which is worth knowing when they are
judged.
"""

import random
from dataclasses import dataclass

HELD_OUT_EVERY = 8
N_COMPOSED = 150

ENGLISH = """\
Good evening, and thank you for joining us.
My name is Maya and I speak for the farm.
Put the blue bowl by the apple pie, please.
Bob and Pam pulled a big wooden barrow up the bank.
Six small sisters sit silently on the southern shore.
Which witch watched the weather from the western window?
A brown dog barked while the quick fox jumped away.
The museum opens at half past nine and closes at five.
Press the middle button and wait until it beeps.
Most of my family moved from Bombay to Memphis.
Five very brave volunteers fixed the vicar's van.
Father found four fluffy feathers in the far field.
You should choose a few new shoes before June.
The old boat goes home along the cold coast.
I like lime, ripe pineapple and white rice.
He parked the car far from the large barn.
We hope that you enjoyed this small film.
Tomorrow the weather will be warm and mostly dry.
It snowed for a week, and then the sun came out.
Prices rose by almost four percent in September.
The mayor approved the plan for a new public park.
Can you hear me? Yes, I hear you perfectly.
What a marvellous morning, whispered the old man.
Why would anyone wait outside on a Wednesday?
Both brothers thought that the thing was worth it.
The judge enjoyed ginger, jam and orange juice.
Charles chose a cheap chair and a cherry cake.
Our house is about an hour from the town.
The boys' noisy toys annoyed the royal choir.
Zebras and lizards doze in the zoo in the breeze.
Keep the cake in the kitchen, and call the cook.
Give the green glass to the girl at the gate.
Nine nurses need new uniforms by noon.
Little Lily lost her yellow umbrella on a hill.
Red roses really rarely grow around here.
Warm water will wash the wall quite well.
Hello Harry, how is your happy hen?
Sing along, swing along, bring everything along.
The ship leaves the harbour at a quarter to three.
Remember to save your work before you shut it down.
Our people make tools for people who make films.
Open the box first, then remove the paper and the map.
Plums, pears, bananas and melons filled the basket.
Watch closely, and I will show you how it works.
Pull it up, push it down, and bring it back.
Music moves almost everybody that I meet.
Half of the staff laughed before the film was over.
Every egg is better when it is eaten fresh.
Under another umbrella my uncle hummed a tune.
The good cook took one look and shut the book.
Two blue balloons flew over the school roof.
Paul saw a small hawk walk along the wall.
Her first words were heard by thirty birds.
Near here we hear clear and cheerful voices.
Where did the bear tear his chair? Over there.
Leave your message after the tone, please.
Time passes slowly when nobody moves.
Mum baked, Bob mopped, and Pip popped the bubbles.
Pat, bat, mat. Fat, vat, that. Sat, cat, hat.
Pea, bee, me, we, see, key, fee, tea.
Boo, moo, who, two, you, few, glue.
More, bore, four, war, saw, door.
Papa, mama, baba, lala, vava.
One, two, three, four, five, six, seven, eight, nine, ten.
Eleven, twelve, thirteen, forty, sixty, one hundred.
Monday, Tuesday, Thursday and Friday are free.
January, March, April, May, and August.
The number is five, zero, two, nine, four, seven.
Email me, or phone me, if the problem comes back.
Shall we start? I am ready when you are.
No, no, no! Oh, I am so sorry about that.
Wow, that is amazing, I had no idea.
Mmm, maybe. I am not sure, but it might be possible.
Above all, be patient, be polite, and be brave.
Imagine a computer that moves its lips as you speak.
Farmers fed their fifty fine foxes before breakfast.
Bubbles appear and pop when pepper meets soup.
In summer we swim, in winter we mostly skate.
Thanks to them, the three thieves thought again.
The television showed a vision of a frozen beach.
Usually, measuring a treasure is a pleasure.
Young yachtsmen yell beyond the yellow yard.
Please, stop. Now, breathe in, and breathe out.
A map of the moon hung above the piano.
Simple words make a message memorable.
From Paris to Prague by plane takes about two hours.
Will it ever stop raining? Probably by Monday morning.
He offered coffee, but she preferred a cup of black tea.
Ships and sheep, bits and beets, pull and pool.
We built it, we broke it, and then we made it better."""

GERMAN = """\
Guten Abend und herzlich willkommen bei uns.
Mein Name ist Maya, und ich spreche für die Farm.
Bitte drücken Sie den mittleren Knopf.
Peter und Paul packen bunte Papiere in braune Beutel.
Fünf flinke Füchse laufen über den frischen Schnee.
Das Wetter bleibt bis zum Wochenende warm und trocken.
Über den Wolken fühlt sich alles schön und ruhig an.
Meine Mutter mag Möhren, Pflaumen und Bohnen.
Der Zug nach München fährt um Viertel vor neun.
Können Sie mich hören? Ja, ich höre Sie sehr gut.
Wir wohnen in einem weißen Haus am Wald.
Die Preise stiegen im Mai um zwei Prozent.
Sieben süße Äpfel liegen auf dem Tisch.
Öffnen Sie zuerst die Schachtel, und nehmen Sie dann die Karte.
Am Morgen trinke ich meistens Tee mit Milch.
Eins, zwei, drei, vier, fünf, sechs, sieben, acht.
Viele Vögel fliegen im Frühling nach Norden.
Oh, das habe ich wirklich nicht gewusst.
Bärbel bäckt bald einen besonders bunten Kuchen.
Musik bewegt fast alle Menschen.
Zwischen zwei Zweigen zwitschern zwei Schwalben.
Heute zeigen wir Ihnen, wie es funktioniert.
Der Bäcker verkauft Brot, Brezeln und Butter.
Ohne Mühe kommt man selten ans Ziel."""

FRENCH = """\
Bonsoir, et merci d'être avec nous.
Je m'appelle Maya, et je parle pour la ferme.
Appuyez sur le bouton bleu, s'il vous plaît.
Papa prépare une bonne soupe aux petits pois.
Le bateau part du port à huit heures et quart.
Il fera beau demain, mais un peu froid le matin.
Une poule rousse court sous les roues du moulin.
Vous voulez du pain, du beurre et de la confiture?
Ma mère aime beaucoup la musique et le théâtre.
Où sont les fleurs que vous avez vues hier?
Les prix ont augmenté de deux pour cent en mai.
Un, deux, trois, quatre, cinq, six, sept, huit.
Cette chanson me plaît, elle est simple et belle.
Fermez la fenêtre, le vent fait voler les feuilles.
Nous habitons une petite maison près du fleuve.
Bravo, c'est vraiment un beau travail!
Pouvez-vous m'entendre? Oui, parfaitement.
Le chat dort sur la chaise devant la cheminée.
Il faut ouvrir la boîte avant de prendre la carte.
Samedi, mon oncle vient avec un gros gâteau.
Zoé a posé douze roses dans un vase.
Tout le monde rit quand le clown tombe.
On peut boire un café au bout de la rue.
Je vous remercie de votre attention."""

SPANISH = """\
Buenas tardes, y gracias por venir.
Me llamo Maya, y hablo en nombre de la granja.
Pulse el botón azul, por favor.
Pepe puso un plato de sopa sobre la mesa.
El barco sale del puerto a las ocho y media.
Mañana hará buen tiempo en toda la costa.
Mi madre compra pan, mantequilla y mermelada.
Un burro bebe agua bajo un árbol verde.
Los precios subieron un dos por ciento en mayo.
Uno, dos, tres, cuatro, cinco, seis, siete.
¿Puede oírme? Sí, le oigo muy bien.
Fuimos a la fiesta con flores y fruta fresca.
El perro de mi primo corre por el parque.
Nunca he visto una luna tan blanca.
Abra primero la caja y saque el mapa.
La música mueve a casi todo el mundo.
Vivimos en una casa pequeña cerca del río.
Chavela echó la leche en ocho vasos.
Hoy vamos a mostrarle cómo funciona.
¡Qué maravilla! No lo sabía.
Siempre tomo café con leche por la mañana.
El viejo jardinero trabaja todos los jueves.
Bienvenidos al museo, pasen ustedes.
Muchas gracias por su atención."""

ITALIAN = """\
Buonasera, e grazie di essere qui.
Mi chiamo Maya, e parlo per la fattoria.
Prema il bottone blu, per favore.
Mio padre prepara una buona zuppa di pomodoro.
La barca parte dal porto alle otto e un quarto.
Domani farà bello su tutta la costa.
Bevo sempre un caffè prima di lavorare.
Mia madre ama molto la musica e il mare.
I prezzi sono aumentati del due per cento a maggio.
Uno, due, tre, quattro, cinque, sei, sette, otto.
Mi sente bene? Sì, la sento perfettamente.
Il gatto dorme sulla sedia vicino al fuoco.
Apra prima la scatola e prenda la mappa.
Abitiamo in una piccola casa in campagna.
Che meraviglia! Non lo sapevo.
Pioveva, ma nessuno portava l'ombrello.
Sopra la panca la capra campa.
Questo film mi piace, è semplice e bello.
Gli gnomi giocano con foglie e funghi.
Oggi vi mostriamo come funziona.
Vorrei un bicchiere d'acqua fresca.
Bambini e mamme ballano in piazza.
Il treno per Bologna parte fra poco.
Grazie mille per la vostra attenzione."""

LANGUAGES = {"en": ENGLISH, "de": GERMAN, "fr": FRENCH, "es": SPANISH, "it": ITALIAN}

_OPENINGS = (
    "Please move",
    "Maybe they brought",
    "My brother bought",
    "We have to polish",
    "Before breakfast, Bob found",
    "Somebody must have lost",
    "You can use",
    "They always showed us",
    "Why did nobody pick up",
    "She simply forgot",
    "In May, Emma painted",
    "Who would throw away",
)
_THINGS = (
    "the purple pots",
    "a broken umbrella",
    "five wooden boxes",
    "the whole menu",
    "a bunch of roses",
    "several maps",
    "the microphone",
    "an old violin",
    "those wet shoes",
    "a warm blanket",
    "the yellow balloon",
    "both of the pumps",
    "every picture",
    "a jar of honey",
    "the other glove",
)
_PLACES = (
    "near the bridge.", "by the swimming pool.", "before we arrived.", "in the back of the shop.",
    "for my mother.", "above the fireplace.", "on the way home.", "at the farm.",
    "just in time.", "from the top of the mountain.", "with a big smile.", "without a word.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing to say; ``language`` as espeak-ng names it."""

    text: str
    language: str
    is_held_out: bool
    is_composed: bool = False  #: of parts that other sentences have too


def all_sentences() -> list[Sentence]:
    """Every sentence, always the same ones in the same order."""
    return [
        Sentence(
            text,
            language,
            is_held_out=index % HELD_OUT_EVERY == HELD_OUT_EVERY // 2,
            is_composed=index >= len(lines.splitlines()),
        )
        for language, lines in LANGUAGES.items()
        for index, text in enumerate(_lines(language, lines))
    ]


def _lines(language: str, lines: str) -> list[str]:
    written = lines.splitlines()
    return written + _composed() if language == "en" else written


def _composed() -> list[str]:
    """Sentences put together from parts: many combinations of sounds for little writing."""
    rng = random.Random("composed sentences")
    every = [f"{a} {b} {c}" for a in _OPENINGS for b in _THINGS for c in _PLACES]
    return rng.sample(every, N_COMPOSED)
