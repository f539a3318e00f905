"""Ask people: pairs of logos without names on a page that works offline, and what their choices say together.

The page shows the same bases by two files, left and right by chance, pairs in random order. Which file is which stands
in a key of its own, which raters do not get. A rater's choices are downloaded as a JSON file:

    {"format": "borzoi-rt-ratings", "version": 1, "page": ID, "rater": NAME, "choices": {PAIR: "left" or "right"},
     "seconds": {PAIR: number}}

Agreement is Cohen's kappa of two raters and Fleiss' kappa of two or more, over the pairs that all of them rated, of
which file was chosen and not of which side. It says nothing where every rater always chose the same file; the share of
pairs on which two raters agree is there too.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError, InputError
from ..plain import check_types
from ..reading import read_json
from ..report.pages import render_page
from ..types import IndexArray
from .attr_file import Attributions, read_attributions
from .panels import title_of

FORMAT, KEY_FORMAT, VERSION = "borzoi-rt-ratings", "borzoi-rt-rating-key", 1
WIDTH_BP, MOST_PAIRS = 100, 20
QUESTION = "Which of the two logos shows more clearly which bases count?"
SIDES = ("left", "right")
_MOST_BYTES = 2**22
_LETTERS = np.array(list("ACGTN"))
_Counts = dict[tuple[str, str], list[int]]


@dataclass(frozen=True)
class RatingOptions:
    """What is shown.

    Parameters
    ----------
    width_bp : int
        Bases of a logo: of longer rows, those with the largest scores of both files together.
    pairs : int
        Most pairs of logos, drawn by chance.
    question : str
        What raters are asked.
    seed : int
        Of pairs, order and sides.
    """

    width_bp: int = WIDTH_BP
    pairs: int = MOST_PAIRS
    question: str = QUESTION
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("width_bp", "pairs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; a whole number of 1 or more is needed")
        if not self.question.strip():
            raise InputError("question is empty; say what raters are asked, or leave it out")


def write_rating(out: Path, key: Path, files: Sequence[Path], options: RatingOptions) -> int:
    """Write a page for raters, and its key.

    Parameters
    ----------
    out : Path
        HTML file.
    key : Path
        JSON file that says which file is on which side.
    files : sequence of Path
        Two or more files of attributions, see :mod:`borzoi_rt.explain.attr_file`, of the same bases.
    options : RatingOptions

    Returns
    -------
    int
        Pairs on the page.

    Raises
    ------
    InputError
        If there are fewer than two files, two have one name, or they share no row.
    """
    names = [path.name for path in files]
    if len(files) < 2 or len(set(names)) < len(names):
        raise InputError(f"files are {', '.join(names) or 'none'}; give two or more, each of its own name")
    held = [read_attributions(path) for path in files]
    every = [
        (one, other, row, twin)
        for one, other in combinations(range(len(files)), 2)
        for row, twin in _shared(held[one], held[other])
    ]
    if not every:
        raise InputError(f"{', '.join(names)}: share no row with an explanation; make them of the same regions")
    rng = np.random.default_rng(options.seed)
    shown = [every[number] for number in rng.permutation(len(every))[: options.pairs].tolist()]
    pairs, answers = [], []
    for number, (one, other, row, twin) in enumerate(shown):
        name, turned = f"p{number + 1}", bool(rng.integers(2))
        logos = _logos(held[one], held[other], row, twin, options.width_bp)
        pairs.append({"id": name, "left": logos[turned], "right": logos[not turned]})
        sides = (names[other], names[one]) if turned else (names[one], names[other])
        answers.append({"id": name, "row": str(held[one].arrays["name"][row]), **dict(zip(SIDES, sides, strict=True))})
    page = hashlib.sha256(json.dumps([pairs, answers]).encode()).hexdigest()[:16]
    content = {"format": FORMAT, "version": VERSION, "page": page, "pairs": pairs}
    words = {"title": "Rating of logos", "question": options.question, "count": len(pairs)}
    html = render_page("rating", content, styles=("report", "explanation", "rating"), **words)
    about = [{"file": name, "title": title_of(one.about)} for name, one in zip(names, held, strict=True)]
    kept = {"format": KEY_FORMAT, "version": VERSION, "page": page, "question": options.question, "files": about}
    key.write_text(json.dumps({**kept, "pairs": answers}, indent=1) + "\n", encoding="utf-8")
    out.write_text(html, encoding="utf-8")
    return len(pairs)


def _shared(one: Attributions, other: Attributions) -> list[tuple[int, int]]:
    """Return the rows that two files explain alike: the same bases of the same allele with the same letters."""

    def keys(held: Attributions) -> dict[tuple[str, ...], int]:
        arrays = held.arrays
        return {
            tuple(str(arrays[name][row]) for name in ("chrom", "start", "end", "allele")): row
            for row in held.explained.tolist()
        }

    known = keys(other)
    return [
        (row, known[key])
        for key, row in keys(one).items()
        if key in known and np.array_equal(one.arrays["sequence"][row], other.arrays["sequence"][known[key]])
    ]


def _logos(one: Attributions, other: Attributions, row: int, twin: int, width: int) -> list[dict[str, Any]]:
    """Return both logos of a row, each with the scale of its own largest score."""
    maps = [_scaled(one, row), _scaled(other, twin)]
    bases, start = len(maps[0]), 0
    if bases > width:
        sums = np.convolve(np.abs(maps[0]) + np.abs(maps[1]), np.ones(width), mode="valid")
        start = int(sums.argmax())
    part = slice(start, min(start + width, bases))
    letters = "".join(_LETTERS[one.arrays["sequence"][row][part]])
    return [{"letters": letters, "scores": [float(f"{value:.4g}") for value in scores[part]]} for scores in maps]


def _scaled(held: Attributions, row: int) -> Any:
    codes, hypothetical = held.arrays["sequence"][row], held.arrays["hypothetical"][row].astype(np.float64)
    scores = (hypothetical * (codes == np.arange(4)[:, None])).sum(axis=0)
    return scores / (float(np.abs(scores).max(initial=0.0)) or 1.0)


@dataclass(frozen=True)
class Ratings:
    """Choices of several raters.

    Attributes
    ----------
    raters : list of str
    pairs : list of str
        Those that every rater rated.
    chosen : int64 ndarray of shape (raters, pairs)
        0 where the file that comes first in the key was chosen, 1 for the other.
    counts : dict of (str, str) to (int, int)
        Of each two files, how often either was chosen, by any rater in any pair.
    left : float
        Share of all choices that were the left logo.
    """

    raters: list[str]
    pairs: list[str]
    chosen: IndexArray
    counts: Mapping[tuple[str, str], tuple[int, int]]
    left: float

    def to_json(self) -> dict[str, Any]:
        """Return preference and agreement as JSON values."""
        preferences = []
        for (one, other), (first, second) in self.counts.items():
            low, high = wilson(first, first + second)
            line = {"file": one, "against": other, "chosen": first, "choices": first + second}
            line |= {"share": first / (first + second), "low": low, "high": high, "p": sign_test(first, second)}
            preferences.append(line)
        cohen = [
            {
                "raters": [self.raters[one], self.raters[other]],
                "kappa": cohen_kappa(self.chosen[one], self.chosen[other]),
            }
            for one, other in combinations(range(len(self.raters)), 2)
        ]
        return {
            "raters": self.raters,
            "pairs_rated_by_all": len(self.pairs),
            "preference": preferences,
            "agreement": same_share(self.chosen),
            "fleiss_kappa": fleiss_kappa(self.chosen),
            "cohen_kappa": cohen,
            "left_share": self.left,
        }


def read_ratings(files: Sequence[Path], key: Path) -> Ratings:
    """Read the choices of raters.

    Parameters
    ----------
    files : sequence of Path
        What raters downloaded, one file each.
    key : Path
        Of the page.

    Raises
    ------
    FormatError
        If a file is none of these, of another page, or holds a choice that there is not.
    InputError
        If two files are of one rater.
    """
    held = _document(key, KEY_FORMAT)
    _check_key(key, held)
    answers = {str(pair["id"]): pair for pair in held["pairs"]}
    order = [str(about["file"]) for about in held["files"]]
    said: dict[str, dict[str, str]] = {}
    for path in files:
        document = _document(path, FORMAT)
        if document.get("page") != held["page"]:
            raise FormatError(f"{path}: is of another page than {key.name}; give the key that was made with its page")
        rater, choices = str(document.get("rater") or path.stem)[:80], document.get("choices")
        if rater in said:
            raise InputError(f"{path}: rater {rater!r} comes twice; give one file of each")
        if not isinstance(choices, dict) or not choices:
            raise FormatError(f"{path}: holds no choices")
        for pair, side in choices.items():
            if pair not in answers or side not in SIDES:
                raise FormatError(
                    f"{path}: choice {pair!r:.20}: {side!r:.20}; pairs of the key, left or right are allowed"
                )
        said[rater] = choices
    if not said:
        raise InputError("no ratings are given; name the files that raters downloaded")
    counts: _Counts = {}
    index = {
        (rater, pair): _number(answers[pair], side, order, counts)
        for rater, choices in said.items()
        for pair, side in choices.items()
    }
    common = [pair for pair in answers if all(pair in choices for choices in said.values())]
    chosen = np.array([[index[rater, pair] for pair in common] for rater in said], dtype=np.int64)
    sides = [side for choices in said.values() for side in choices.values()]
    totals = {pair: (first, second) for pair, (first, second) in counts.items()}
    return Ratings(list(said), common, chosen.reshape(len(said), len(common)), totals, sides.count("left") / len(sides))


def _number(
    answer: Mapping[str, Any], side: str, order: Sequence[str], counts: dict[tuple[str, str], list[int]]
) -> int:
    """Return which file of a pair was chosen, 0 for the first of the key, and count it."""
    one, other = sorted((str(answer["left"]), str(answer["right"])), key=order.index)
    number = 0 if str(answer[side]) == one else 1
    counts.setdefault((one, other), [0, 0])[number] += 1
    return number


def _document(path: Path, kind: str) -> dict[str, Any]:
    try:
        held = read_json(path, _MOST_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{path}: is no JSON ({error!s:.80})") from None
    if not isinstance(held, dict) or held.get("format") != kind or held.get("version") != VERSION:
        raise FormatError(f"{path}: is no {kind} of version {VERSION}; `borzoi-rt explain rate` and its page make them")
    return held


def _check_key(path: Path, held: Mapping[str, Any]) -> None:
    """Refuse a key that does not say which file each logo is of."""
    fields = {"files": ("file",), "pairs": ("id", *SIDES)}
    for name, texts in fields.items():
        items = held.get(name)
        if not isinstance(items, list) or not all(
            isinstance(item, dict) and all(isinstance(item.get(text), str) for text in texts) for item in items
        ):
            raise FormatError(f"{path}: {name} are damaged; take the key that was made with the page")
    files = {item["file"] for item in held["files"]}
    strange = next((item["id"] for item in held["pairs"] if not {item[side] for side in SIDES} <= files), None)
    if strange is not None or not isinstance(held.get("page"), str):
        raise FormatError(f"{path}: pair {strange!r:.40} is of other files; take the key that was made with the page")


def same_share(chosen: IndexArray) -> float | None:
    """Return how often two raters chose alike, over all pairs of raters and of logos; None of one rater."""
    raters, pairs = chosen.shape
    if raters < 2 or not pairs:
        return None
    return float(np.mean([chosen[one] == chosen[other] for one, other in combinations(range(raters), 2)]))


def cohen_kappa(one: IndexArray, other: IndexArray) -> float | None:
    """Return Cohen's kappa of two raters; None where both always choose the same."""
    if not len(one):
        return None
    shares = [np.array([np.mean(held == number) for number in (0, 1)]) for held in (one, other)]
    expected = float((shares[0] * shares[1]).sum())
    return None if expected == 1.0 else (float(np.mean(one == other)) - expected) / (1.0 - expected)


def fleiss_kappa(chosen: IndexArray) -> float | None:
    """Return Fleiss' kappa of raters, (raters, pairs); None of one rater, or where all always choose the same."""
    raters, pairs = chosen.shape
    if raters < 2 or not pairs:
        return None
    counts = np.stack([(chosen == number).sum(axis=0) for number in (0, 1)], axis=1)
    agreed = float((((counts**2).sum(axis=1) - raters) / (raters * (raters - 1))).mean())
    expected = float(((counts.sum(axis=0) / (raters * pairs)) ** 2).sum())
    return None if expected == 1.0 else (agreed - expected) / (1.0 - expected)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return Wilson's interval of 95 % of a share."""
    z, share = 1.959963984540054, hits / count
    middle, scale = share + z * z / (2 * count), 1.0 + z * z / count
    half = z * math.sqrt(share * (1.0 - share) / count + z * z / (4 * count * count))
    return (middle - half) / scale, (middle + half) / scale


def sign_test(one: int, other: int) -> float:
    """Return the chance that counts of two equal choices differ as much, by the binomial distribution, two-sided."""
    count, most = one + other, max(one, other)
    tail = sum(math.comb(count, number) for number in range(most, count + 1))
    return float(min(1.0, 2.0 * tail / 2**count))
