"""Words without a language: letters of one script in lengths, cases and arrangements as on signs and captions."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Script:
    """letters: what words are made of. share: how often it is drawn. cased: has capitals. large: so many letters that
    fonts have a part of them; its words are short. rtl: written from the right."""

    letters: str
    share: float
    cased: bool = False
    large: bool = False
    rtl: bool = False


def _span(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last + 1)))


_LATIN = "eeeeeetttaaaaooooiiinnnssshhrrrddllccuummwffggyyppbbvkjxqz"
SCRIPTS = {
    "latin": Script(_LATIN, 0.5, cased=True),
    "accented": Script(_LATIN + "äöüßéèêàçñåøíóúãõžščřőłęą", 0.08, cased=True),
    "greek": Script(_span(0x3B1, 0x3C9).replace("ς", ""), 0.04, cased=True),
    "cyrillic": Script(_span(0x430, 0x44F), 0.08, cased=True),
    "hebrew": Script(_span(0x5D0, 0x5EA), 0.03, rtl=True),
    "arabic": Script("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", 0.05, rtl=True),
    "devanagari": Script(_span(0x915, 0x928) + _span(0x92A, 0x930) + "लवशषसह", 0.03),
    "bengali": Script(_span(0x995, 0x9A8) + "পফবভমযরলশষসহ", 0.02),
    "tamil": Script("கஙசஞடணதநபமயரலவழளறன", 0.02),
    "thai": Script(_span(0xE01, 0xE2E), 0.03),
    "georgian": Script(_span(0x10D0, 0x10F0), 0.01),
    "armenian": Script(_span(0x561, 0x585), 0.01, cased=True),
    "kana": Script(_span(0x3042, 0x3093) + _span(0x30A2, 0x30F3), 0.03),
    "hangul": Script(_span(0xAC00, 0xD7A3), 0.04, large=True),
    "han": Script(_span(0x4E00, 0x9FA5), 0.06, large=True),
}
MARKS = "!?.,:;-&%+/()#"


def write(rng: np.random.Generator, name: str, letters: str) -> str:
    """One to three lines of one to four words of a script, or figures such as prices and dates."""
    lines = 1 if rng.random() < 0.75 else int(rng.integers(2, 4))
    return "\n".join(_line(rng, SCRIPTS[name], letters) for _ in range(lines))


def _line(rng: np.random.Generator, script: Script, letters: str) -> str:
    words = [_word(rng, script, letters) for _ in range(int(rng.choice((1, 1, 1, 2, 2, 3, 4))))]
    if script.cased:
        case = rng.random()
        words = [w.upper() if case < 0.35 else w.capitalize() if case < 0.65 else w for w in words]
    if rng.random() < 0.15:
        words[-1] += MARKS[int(rng.integers(len(MARKS)))]
    return " ".join(words)


def _word(rng: np.random.Generator, script: Script, letters: str) -> str:
    if not script.rtl and not script.large and rng.random() < 0.12:
        return _figures(rng)
    length = int(rng.integers(1, 6)) if script.large else 1 + int(rng.poisson(4))
    return "".join(letters[i] for i in rng.integers(0, len(letters), length))


def _figures(rng: np.random.Generator) -> str:
    a, b = int(rng.integers(0, 10 ** int(rng.integers(1, 5)))), int(rng.integers(0, 60))
    return (f"{a}", f"{a}.{b:02d}", f"{a % 24}:{b:02d}", f"{a}%", f"-{b}", f"{b:02d}/{a}")[int(rng.integers(6))]
