"""The made-up data of docs/tutorial.md: requests to a home in three languages with labels and one without."""

import csv
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

# Language -> label -> patterns; language -> name in a pattern -> what it stands for.
PATTERNS = {
    "en": {
        "light_on": ("turn on the light {where}", "switch the lamp {where} on", "light on {where} please"),
        "light_off": ("turn off the light {where}", "switch the lamp {where} off", "light off {where} please"),
        "play_music": ("play some {style}", "put on a bit of {style}", "i want to hear {style} music"),
        "set_alarm": ("wake me up at {hour}", "set the alarm for {hour}", "alarm at {hour} tomorrow"),
        "weather": ("will it rain on {day}", "what is the weather like on {day}", "how warm does it get on {day}"),
    },
    "de": {
        "light_on": ("mach das licht {where} an", "schalte die lampe {where} ein", "licht an {where} bitte"),
        "light_off": ("mach das licht {where} aus", "schalte die lampe {where} ab", "licht aus {where} bitte"),
        "play_music": ("spiel ein bisschen {style}", "leg etwas {style} auf", "ich will {style} musik hören"),
        "set_alarm": ("weck mich um {hour}", "stell den wecker auf {hour}", "wecker morgen um {hour}"),
        "weather": ("regnet es am {day}", "wie wird das wetter am {day}", "wie warm wird es am {day}"),
    },
    "nl": {
        "light_on": ("doe het licht {where} aan", "zet de lamp {where} aan", "licht aan {where} alsjeblieft"),
        "light_off": ("doe het licht {where} uit", "zet de lamp {where} uit", "licht uit {where} alsjeblieft"),
        "play_music": ("speel een beetje {style}", "zet wat {style} op", "ik wil {style} muziek horen"),
        "set_alarm": ("maak me wakker om {hour}", "zet de wekker op {hour}", "wekker morgen om {hour}"),
        "weather": ("regent het op {day}", "hoe wordt het weer op {day}", "hoe warm wordt het op {day}"),
    },
}
WORDS = {
    "en": {
        "where": ("in the kitchen", "in the hall", "upstairs", "outside"),
        "hour": ("six", "seven", "half past eight", "nine"),
        "day": ("monday", "friday", "sunday", "my birthday"),
    },
    "de": {
        "where": ("in der küche", "im flur", "oben", "draußen"),
        "hour": ("sechs", "sieben", "halb neun", "neun"),
        "day": ("montag", "freitag", "sonntag", "geburtstag"),
    },
    "nl": {
        "where": ("in de keuken", "in de gang", "boven", "buiten"),
        "hour": ("zes", "zeven", "half negen", "negen"),
        "day": ("maandag", "vrijdag", "zondag", "mijn verjaardag"),
    },
}
STYLES = ("jazz", "rock", "techno", "pop")
UNLABELED = {
    "lb": (
        "maach d'luucht an der kichen un",
        "schalt d'luucht am gank aus",
        "spill e bësse jazz",
        "weck mech um siwen auer",
        "wéi gëtt d'wieder muer",
        "reent et e sonndeg",
        "ech wëll rock musek lauschteren",
        "stell de wecker op néng auer",
    )
}


def write_tutorial_data(folder: Path) -> None:
    """Writes ``en.csv``, ``de.csv`` and ``nl.csv`` with text and label, and ``lb.csv`` with text."""
    folder.mkdir()
    for language, by_label in PATTERNS.items():
        words = {**WORDS[language], "style": STYLES}
        rows = [
            (pattern.format(**{name: values[number] for name, values in words.items()}), label)
            for label, patterns in by_label.items()
            for pattern in patterns
            for number in range(len(STYLES))
        ]
        random.Random(language).shuffle(rows)
        _write(folder / f"{language}.csv", ("text", "label"), rows)
    for language, texts in UNLABELED.items():
        _write(folder / f"{language}.csv", ("text",), [(text,) for text in texts])


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])
