"""``borzoi-rt explain rate``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from ..errors import InputError
from ..explain.rating import MOST_PAIRS, QUESTION, WIDTH_BP, RatingOptions, read_ratings, write_rating
from ..runs.outputs import check_target
from ._talk import say

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
@click.option(
    "--out", required=True, type=_FILE, help="Page to write: .html, with OUT.key.json beside it; of --read a .json."
)
@click.option("--read", is_flag=True, help="FILEs are what raters downloaded: say what they prefer.")
@click.option("--key", type=_FILE, help="Key of the page, OUT.key.json, for --read  [default: none].")
@click.option("--question", help=f"What raters are asked  [default: {QUESTION}].")
@click.option("--width", "width_bp", type=click.IntRange(min=1), help=f"Most bases of a logo  [default: {WIDTH_BP}].")
@click.option("--pairs", type=click.IntRange(min=1), help=f"Most pairs, drawn by chance  [default: {MOST_PAIRS}].")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Number that pairs, their order and their sides follow  [default: 0]."
)
def rate(
    files: tuple[Path, ...],
    out: Path,
    read: bool,
    key: Path | None,
    question: str | None,
    width_bp: int | None,
    pairs: int | None,
    seed: int | None,
) -> None:
    """Let people compare attributions without knowing which is which, and read what they chose.

    FILEs are two or more of `borzoi-rt explain`, of the same bases: methods, or the same method of a model with weights
    in random order. The page works offline and tells nobody anything; raters download their choices. OUT.key.json says
    which file is on which side: keep it from raters.
    """
    given = {"question": question, "width_bp": width_bp, "pairs": pairs, "seed": seed}
    chosen = {name: value for name, value in given.items() if value is not None}
    if read:
        _read(files, out, key, chosen)
        return
    if key is not None:
        raise InputError("--key is read with --read; a page gets its own, OUT.key.json: leave it out")
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{out.name}: the page is an HTML file; give a name that ends in .html")
    options, beside = RatingOptions(**chosen), out.with_name(out.name + ".key.json")  # type: ignore[arg-type]
    for target in (out, beside):
        check_target(target, files)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        drafts = Path(scratch) / out.name, Path(scratch) / beside.name
        count = write_rating(*drafts, files, options)
        drafts[1].replace(beside)
        drafts[0].replace(out)
    say(f"{count} pair{'' if count == 1 else 's'} -> {out}; keep {beside.name} from raters")


def _read(files: tuple[Path, ...], out: Path, key: Path | None, chosen: Mapping[str, object]) -> None:
    """Say what raters chose."""
    if key is None:
        raise InputError("--read needs the key of the page: give --key OUT.key.json")
    if chosen:
        shown = next(iter(chosen)).removesuffix("_bp")
        raise InputError(f"--{shown} is of a page; leave it out of --read")
    if out.suffix.lower() != ".json":
        raise InputError(f"{out.name}: what raters chose is written as .json; choose that suffix")
    check_target(out, [*files, key])
    found = read_ratings(files, key).to_json()
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        draft = Path(scratch) / out.name
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        draft.replace(out)
    lines = [("file", "against", "chosen", "choices", "share", "low", "high", "p")]
    for held in found["preference"]:
        numbers = (f"{held[name]:.4g}" for name in ("share", "low", "high", "p"))
        lines.append((held["file"], held["against"], str(held["chosen"]), str(held["choices"]), *numbers))
    click.echo("".join("\t".join(line) + "\n" for line in lines), nl=False)
    told = {name: "none" if found[name] is None else f"{found[name]:.3f}" for name in ("agreement", "fleiss_kappa")}
    say(
        f"{len(found['raters'])} raters, {found['pairs_rated_by_all']} pairs rated by all: agreement "
        f"{told['agreement']}, Fleiss' kappa {told['fleiss_kappa']} -> {out}"
    )
