"""Options take the numbers of NumPy and pandas as Python's, and refuse what is of another type; the Python interface
does so for all it is given, in one line."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import worlds

import borzoi_rt
from borzoi_rt.bundle.opening import Bundle
from borzoi_rt.errors import BorzoiError, InputError
from borzoi_rt.genome.fasta import Fasta
from borzoi_rt.genome.intervals import Interval
from borzoi_rt.genome.variants import Variant
from borzoi_rt.model import Model, open_model
from borzoi_rt.plain import check_types
from borzoi_rt.runs.settings import RunSettings
from borzoi_rt.scoring.haplotypes import HaplotypeOptions
from borzoi_rt.scoring.options import ScoreOptions

TEXT = worlds.random_dna(6000, seed=6)
ALT = "ACGT"["CGTA".index(TEXT[2999])]
VARIANT = Variant("chr1", 3000, TEXT[2999], ALT)
SUM = ScoreOptions(stats=("SUM",))
TWINS: dict[str, Callable[[Any], Any]] = {"bool": np.bool_, "int": np.int64, "float": np.float64, "str": np.str_}
WRONG = {"bool": "no", "int": 1.5, "float": "0.5", "str": 5}
NEEDED = {"bool": "True or False", "int": "a whole number", "float": "a number", "str": "text"}


def option_classes() -> Iterator[type]:
    """Yield every class of options, of whatever room."""
    for item in pkgutil.walk_packages(borzoi_rt.__path__, "borzoi_rt."):
        if ".cli" in item.name or item.name.endswith("__main__"):
            continue
        try:
            module = import_module(item.name)
        except ImportError:  # of a server's own Python
            continue
        for name, found in vars(module).items():
            own = inspect.isclass(found) and is_dataclass(found) and found.__module__ == item.name
            if own and (name.endswith(("Options", "Settings")) or name in ("TargetSpec", "Device")):
                yield found


CLASSES = {f"{item.__module__.removeprefix('borzoi_rt.')}.{item.__name__}": item for item in option_classes()}
NEEDS: dict[str, dict[str, Any]] = {
    "scoring.haplotypes.HaplotypeOptions": {"samples": ("S",)},
    "runs.explain.ExplainOptions": {"motifs": "m.meme"},
}


def required(title: str, item: type) -> dict[str, Any]:
    """Return what a class cannot be made without."""
    known = {"str": "cpu" if title.endswith("Device") else "SUM", "int": 1, "float": 0.5, "bool": False}
    found = {
        one.name: known.get(str(one.type), ())
        for one in fields(item)
        if one.default is MISSING and one.default_factory is MISSING
    }
    return {**found, **NEEDS.get(title, {})}


def plain_fields(item: type) -> Iterator[tuple[Field[Any], str]]:
    for one in fields(item):
        kinds = str(one.type).split(" | ")
        if kinds[0] in TWINS and set(kinds[1:]) <= {"None"}:
            yield one, kinds[0]


def test_all_rooms_are_looked_at() -> None:
    assert {title.split(".")[0] for title in CLASSES} >= {"scoring", "engine", "runs", "explain", "inside", "promoter"}
    assert len(CLASSES) > 35


@pytest.mark.parametrize("title", CLASSES)
def test_a_number_of_numpy_is_that_of_python(title: str) -> None:
    item, made = CLASSES[title], None
    try:
        made = item(**required(title, item))
    except BorzoiError:
        pytest.skip("needs several choices that go together")
    for one, kind in plain_fields(item):
        value = getattr(made, one.name)
        if value is None:
            continue
        twin = item(**{**required(title, item), one.name: TWINS[kind](value)})
        assert type(getattr(twin, one.name)) is type(value) or kind == "float"
        assert twin == made or item.__eq__ is object.__eq__ or "began" in made.__dict__


@pytest.mark.parametrize("title", CLASSES)
def test_another_type_is_refused(title: str) -> None:
    item = CLASSES[title]
    for one, kind in plain_fields(item):
        wrong: list[Any] = [WRONG[kind], [], *(() if kind == "bool" else (True,))]
        for value in wrong:
            with pytest.raises(InputError) as found:
                item(**{**required(title, item), one.name: value})
            assert str(found.value).startswith(f"{one.name} is "), found.value


def test_what_is_said() -> None:
    for name, value, needed in (
        ("normalize", 1, "True or False"),
        ("phase_floor", 2.0, "a whole number"),
        ("max_n_fraction", "0.5", "a number"),
        ("family", None, "text"),
    ):
        with pytest.raises(InputError, match=f"{name} is {value!r}; {needed} is needed"):
            ScoreOptions(**{name: value})


def test_names_of_files_become_paths() -> None:
    assert borzoi_rt.EngineOptions(tile_cache="tiles").tile_cache == Path("tiles")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="tile_cache is 5; the name of a file is needed"):
        borzoi_rt.EngineOptions(tile_cache=5)  # type: ignore[arg-type]
    assert check_types.__doc__


# Variants and intervals


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("plain")
    worlds.write_fasta(made / "toy.fa", {"chr1": TEXT})
    worlds.write_vcf(made / "in.vcf", [f"chr1 3000 v {TEXT[2999]} {ALT}"])
    return made


@pytest.fixture(scope="module")
def model(toy_bundle: Bundle, folder: Path) -> Iterator[Model]:
    with open_model(toy_bundle, fasta=folder / "toy.fa", threads=1) as opened:
        yield opened


def frame() -> pd.DataFrame:
    return pd.DataFrame({"chrom": ["chr1"], "pos": [3000], "ref": [TEXT[2999]], "alt": [ALT]})


TABLES: dict[str, Callable[[], Any]] = {
    "pandas": frame,
    "names of a VCF": lambda: frame().rename(columns={"chrom": "#CHROM", "pos": "POS", "ref": "REF", "alt": "ALT"}),
    "other columns too": lambda: frame().assign(beta=0.5)[["beta", "alt", "ref", "pos", "chrom"]],
    "types of pandas": lambda: frame().astype({"chrom": "category", "pos": "Int64", "ref": "string"}),
    "Arrow": lambda: pa.Table.from_pandas(frame()),
    "rows": lambda: frame().itertuples(index=False),
    "records": lambda: frame().to_records(index=False),
    "rows of an array": lambda: frame().to_numpy(),
    "texts of an array": lambda: np.array([f"chr1:3000:{TEXT[2999]}:{ALT}"]),
}


@pytest.mark.parametrize("title", TABLES)
def test_variants_of_a_table(model: Model, title: str) -> None:
    wanted = model.score([VARIANT], options=SUM).to_pandas()
    pd.testing.assert_frame_equal(model.score(TABLES[title](), options=SUM).to_pandas(), wanted)
    streamed = list(borzoi_rt.score_variants(TABLES[title](), bundle=model.bundle, fasta=model.fasta, options=SUM))
    assert [item.status for item in streamed] == ["ok"]


def test_a_table_without_a_column_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="a table of variants with columns chrom, pos, ref has no alt; chrom, pos,"):
        model.score(frame().drop(columns="alt"))
    with pytest.raises(InputError, match=r"pos of a variant on 'chr1' is 3000\.0 \(float\); a whole number"):
        model.score(frame().astype({"pos": float}))


def test_intervals_have_whole_numbers_and_a_contig() -> None:
    given = Interval("chr1", np.int64(5), np.uint8(9))  # type: ignore[arg-type]
    assert given == Interval("chr1", 5, 9)
    assert (type(given.start), type(given.end)) == (int, int)
    for values, message in (
        (("chr1", 5.0, 9), r"start of an interval on 'chr1' is 5\.0; a whole number is needed"),
        (("chr1", 5, float("nan")), "end of an interval on 'chr1' is nan"),
        (("chr1", "5", 9), "start of an interval on 'chr1' is '5'"),
        (("chr1", True, 9), "start of an interval on 'chr1' is True"),
        ((None, 5, 9), "chrom of an interval is None"),
        (("", 5, 9), "chrom of an interval is ''"),
        (("chr1", 5, 9, "name", "x"), "strand of an interval is 'x'"),
    ):
        with pytest.raises(InputError, match=message):
            Interval(*values)  # type: ignore[arg-type]


@pytest.mark.parametrize("digits", [31, 5000])
def test_numbers_without_end_are_no_positions(digits: int) -> None:
    """Python itself refuses to read more than 4,300 digits, with an error of its own."""
    many = "1" * digits
    for read, text in (
        (Interval.parse, f"chr1:1-{many}"),
        (Interval.parse, f"chr1:{many}-{many}"),
        (Variant.parse, f"chr1:{many}:A:C"),
        (Variant.parse, f"chr1:{many}A>C"),
    ):
        with pytest.raises(InputError, match="cannot be read"):
            read(text)
    for window in (f"at:{many}", f"grid:{many}", f"cluster:0.{many}"):
        with pytest.raises(InputError, match="is unknown; allowed: centered"):
            borzoi_rt.PredictionOptions(window=window)


def test_regions_are_intervals_or_texts(model: Model, folder: Path) -> None:
    given: dict[str, Any] = {"bundle": model.bundle, "fasta": folder / "toy.fa", "settings": RunSettings(threads=1)}
    for number, regions in enumerate(("chr1:3001-3002", Interval("chr1", 3000, 3002), ["chr1:3001-3002"])):
        assert borzoi_rt.score_ism(regions, folder / f"{number}.tsv", **given, options=SUM) == {"ok": 6}  # type: ignore[arg-type]
        assert borzoi_rt.predict_regions(regions, folder / f"p{number}", **given)  # type: ignore[arg-type]
    assert (folder / "0.tsv").read_bytes() == (folder / "1.tsv").read_bytes() == (folder / "2.tsv").read_bytes()


# Everything that is called


def calls(model: Model, folder: Path) -> dict[str, Callable[[Any], Any]]:
    """Return calls of the Python interface with one argument left open."""
    files: dict[str, Any] = {"bundle": model.bundle, "fasta": folder / "toy.fa"}
    null: dict[str, Any] = {**files, "options": SUM, "min_count": 20}
    vcf, region = folder / "in.vcf", "chr1:3001-3010"
    return {
        "bundle": lambda x: open_model(x),
        "fasta": lambda x: open_model(model.bundle, fasta=x).score([VARIANT]),
        "Fasta": lambda x: Fasta(x),
        "threads": lambda x: open_model(model.bundle, threads=x),
        "device": lambda x: open_model(model.bundle, device=x),
        "engine": lambda x: open_model(model.bundle, fasta=folder / "toy.fa", engine=x).score([VARIANT]),
        "variants": lambda x: model.score(x),
        "a variant": lambda x: model.score([x]),
        "stats": lambda x: model.score([VARIANT], stats=x),
        "tracks": lambda x: model.score([VARIANT], tracks=x),
        "preset": lambda x: model.score([VARIANT], preset=x),
        "options": lambda x: model.score([VARIANT], options=x),
        "genes": lambda x: model.score([VARIANT], stats="SUM@exons", genes=x),
        "pas": lambda x: model.score([VARIANT], stats="COVR@pas", genes=folder / "none.gtf", pas=x),
        "calibration": lambda x: model.score([VARIANT], options=SUM, calibration=x),
        "haplotypes": lambda x: model.score([VARIANT], options=SUM, haplotypes=x),
        "samples": lambda x: HaplotypeOptions(samples=x),
        "region": lambda x: model.predict(x),
        "tracks of coverage": lambda x: model.predict(region, tracks=x),
        "ism": lambda x: model.ism(x),
        "target": lambda x: model.explain(x, region),
        "explained": lambda x: model.explain("SUM", x),
        "method": lambda x: model.explain("SUM", region, method=x),
        "gene": lambda x: model.explain("SUM", gene=x, genes=folder / "none.gtf"),
        "methods": lambda x: model.explain_compare("SUM", region, methods=(x, "ism")),
        "width": lambda x: model.explain("SUM", region, method="occlusion", options={"width": x}),
        "vcf": lambda x: borzoi_rt.score_file(x, folder / "x.tsv", **files),
        "out": lambda x: borzoi_rt.score_file(vcf, x, **files),
        "workers": lambda x: RunSettings(workers=x),
        "regions": lambda x: borzoi_rt.predict_regions(x, folder / "x", **files),
        "intervals": lambda x: borzoi_rt.score_ism(x, folder / "x.tsv", **files),
        "random": lambda x: borzoi_rt.calibrate(folder / "n", random=x, **null),
        "seed": lambda x: borzoi_rt.calibrate(folder / "n", random=20, seed=x, **null),
        "shifts": lambda x: borzoi_rt.PredictionOptions(shifts=x),
    }


# What may be left out, and what may be empty.
NOTHING = {
    *("stats", "tracks", "preset", "options", "genes", "pas", "calibration", "haplotypes", "tracks of coverage"),
    *("engine", "threads", "gene", "width"),
}
EMPTY = {"variants"}


@pytest.mark.parametrize("wrong", [None, 5.5, b"chr1", object(), (), {"a": 1}], ids=lambda x: type(x).__name__)
def test_what_is_none_of_the_kind_is_refused_in_one_line(model: Model, folder: Path, wrong: Any) -> None:
    failed = {}
    for name, call in calls(model, folder).items():
        if (wrong is None and name in NOTHING) or (wrong == () and name in EMPTY):
            continue
        try:
            call(wrong)
            failed[name] = "taken"
        except BorzoiError as error:
            if not 0 < len(str(error)) < 2100 or "\n" in str(error):
                failed[name] = str(error)
        except Exception as error:
            failed[name] = repr(error)
    assert failed == {}
    assert not (folder / "x.tsv").exists()
