"""Text that compresses like what people and agents write: a vocabulary by Zipf's law, lengths log-normal."""

from __future__ import annotations

import random
from itertools import accumulate

_COMMON = (
    "the of and to in a is that for it as was with be by on not he this are or his from at which but have an had "
    "they you were their one all we can her has there been if more when will would who so no out up into them about "
    "time than only some could other then its our two these may first do any my now such like over man also made "
    "after did many must before back see through way where get much well your know should down work because long "
    "each just people state how too little good world make very year still own work day take between think under "
    "last right old great come since against go came use few place during without again home around small found "
    "always part once general school every don't does got united left number course war until away something fact "
    "though water less public put thing almost hand enough far took head yet system better set told nothing night "
    "end why called didn't eyes find going look asked later knew point next program city business give group toward "
    "young days let room word side plan deploy review customer order payment agent prompt token budget schema query "
    "index cache release ticket summary "
)
_ONSETS = "b c d f g h j k l m n p r s t v w br cl cr dr fl gr pl pr sh sl sp st str th tr"
_VOWELS = "a e i o u ai ea ee io ou"
_CODAS = " n r s t l m d ck ng nd nt rt st x"
VOCABULARY = 8_000
MEDIAN_CHARS = 200
SPREAD = 0.7
"""Sigma of the log-normal law of lengths."""
LONGEST = 4_000
MEAN_WORD_CHARS = 6.93
"""With the space behind it, as drawn."""


class Words:
    """Draws titles and messages; the same from the same `rng`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._onsets, self._vowels, self._codas = _ONSETS.split(), _VOWELS.split(), _CODAS.split(" ")
        vocabulary = dict.fromkeys(_COMMON.split())
        while len(vocabulary) < VOCABULARY:
            vocabulary["".join(self._syllable() for _ in range(rng.randint(1, 3)))] = None
        self._words = list(vocabulary)
        self._weights = list(accumulate(1 / (rank + 3) for rank in range(1, VOCABULARY + 1)))

    def _syllable(self) -> str:
        rng = self._rng
        return rng.choice(self._onsets) + rng.choice(self._vowels) + rng.choice(self._codas)

    def _draw(self, count: int) -> list[str]:
        return self._rng.choices(self._words, cum_weights=self._weights, k=count)

    def title(self) -> str:
        """Two to five words."""
        return " ".join(self._draw(self._rng.randint(2, 5))).capitalize()

    def message(self) -> str:
        """A message; half of them are shorter than 200 characters."""
        chars = min(LONGEST, MEDIAN_CHARS * self._rng.lognormvariate(0, SPREAD))
        return " ".join(self._draw(max(1, round(chars / MEAN_WORD_CHARS)))).capitalize() + "."
