"""What may be installed is what is tested: bounds, pins, classifiers and the table of .ci/matrix say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MATRIX = re.findall(r"^# (\w+) +(3\.\d+) +(\S+) +(\w+)$", (ROOT / ".ci" / "matrix").read_text(), re.MULTILINE)


def release(text: str) -> tuple[int, ...]:
    """Return a release without the zeros at its end: 3.10 and 3.10.0 are one."""
    numbers = [int(part) for part in text.split(".")]
    while numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def test_the_oldest_pins_are_the_lower_bounds() -> None:
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["cpu"]]
    bounds = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", item).groups() for item in wanted)  # type: ignore[union-attr]
    lines = (ROOT / "tests" / "constraints-oldest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins.keys() == bounds.keys()
    assert {name: release(pins[name]) for name in pins} == {name: release(bounds[name]) for name in pins}


def test_every_python_is_in_the_matrix_and_gets_a_wheel() -> None:
    said = [item.rpartition(" ")[2] for item in PROJECT["project"]["classifiers"] if ":: Python :: 3." in item]
    assert [version for _, version, _, _ in MATRIX] == said
    assert PROJECT["project"]["requires-python"] == f">={said[0]}"
    wheels = [item.removeprefix("cp").removesuffix("-*") for item in PROJECT["tool"]["cibuildwheel"]["build"]]
    assert wheels == [version.replace(".", "") for version in said]
    assert all((ROOT / pins).is_file() for _, _, pins, _ in MATRIX)
    assert {extra for _, _, _, extra in MATRIX} <= PROJECT["project"]["optional-dependencies"].keys()


def test_every_dependency_has_its_licence_named() -> None:
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    named = {
        name for row in re.findall(r"^\| [\w, ]+ \| ([\w, -]+) \|", page, re.MULTILINE) for name in row.split(", ")
    }
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *(item for extra in extras.values() for item in extra)]
    names = {re.split(r"[<>=\[!~ ]", item)[0] for item in wanted} - {"borzoi-rt"}
    assert named - {"package"} == names
