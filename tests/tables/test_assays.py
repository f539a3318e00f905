"""What descriptions of tracks say, and AlphaGenome's names of scorers in both directions."""

from __future__ import annotations

import pytest

from borzoi_rt.errors import InputError
from borzoi_rt.scoring.alphagenome import native_name, scorer_name
from borzoi_rt.scoring.options import ScoreOptions, texts_of
from borzoi_rt.scoring.presets import PRESETS
from borzoi_rt.tables.assays import Assay, assay_of


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("RNA:adipose_tissue", Assay("RNA_SEQ", "RNA-seq", "adipose_tissue")),
        ("RNA3:liver", Assay("RNA_SEQ", "RNA-seq", "liver")),
        ("CAGE:CD4+ T Cells, donor1", Assay("CAGE", "CAGE", "CD4+ T Cells, donor1")),
        ("CAGE:carcinoma cell line:Ca9-22", Assay("CAGE", "CAGE", "carcinoma cell line:Ca9-22")),
        ("DNASE:K562", Assay("DNASE", "DNase-seq", "K562")),
        ("ATAC:blood", Assay("ATAC", "ATAC-seq", "blood")),
        ("CHIP:H3K27ac:HepG2 treated", Assay("CHIP_HISTONE", "Histone ChIP-seq", "HepG2 treated", histone="H3K27ac")),
        ("CHIP:H2AFZ:K562", Assay("CHIP_HISTONE", "Histone ChIP-seq", "K562", histone="H2AFZ")),
        ("CHIP:CTCF:A549", Assay("CHIP_TF", "TF ChIP-seq", "A549", factor="CTCF")),
        ("CHIP:HNF4A:liver", Assay("CHIP_TF", "TF ChIP-seq", "liver", factor="HNF4A")),
        ("PRO-CAP:x", Assay("PROCAP", "PRO-cap", "x")),
        ("something", Assay("OTHER", biosample="something")),
        ("HIC:x", Assay("OTHER", biosample="x")),
    ],
)
def test_assays(text: str, wanted: Assay) -> None:
    assert assay_of(text) == wanted


NAMES = [
    ("CenterMaskScorer(width=501, aggregation_type=DIFF_LOG2_SUM)", "DIFF_LOG2_SUM@center:501"),
    ("CenterMaskScorer(width=10_001, aggregation_type=AggregationType.L2_DIFF)", "L2_DIFF@center:10001"),
    ("CenterMaskScorer(width=None, aggregation_type=ACTIVE_SUM)", "ACTIVE_SUM@window"),
    ("GeneMaskLFCScorer()", "LFC@gene_mask"),
    ("GeneMaskLFCScorer", "LFC@gene_mask"),
    ("GeneMaskActiveScorer()", "ACTIVE_MEAN@gene_mask"),
    ("GeneMaskSplicingScorer(width=None)", "MAX_DIFF@gene_body"),
    ("PolyadenylationScorer()", "POLYADENYLATION@pas"),
    ("logSED@exons", "logSED@exons"),
]


@pytest.mark.parametrize(("text", "wanted"), NAMES)
def test_documented_names_are_read(text: str, wanted: str) -> None:
    assert native_name(text) == wanted
    spec = ScoreOptions(stats=(text, "D1")).specs[0]
    assert f"{spec.stat}@{spec.region}" == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ContactMapScorer()", "ContactMapScorer: the model has no such output; supported: CenterMaskScorer"),
        ("SpliceJunctionScorer", "SpliceJunctionScorer: the model has no such output"),
        ("OtherScorer()", "OtherScorer is no scorer; supported: CenterMaskScorer"),
        ("GeneMaskLFCScorer(requested_output=RNA_SEQ)", "requested_output chooses tracks; leave it out"),
        ("GeneMaskSplicingScorer(width=101)", r"takes no such argument; write GeneMaskSplicingScorer\(\)"),
        ("CenterMaskScorer(width=501)", r"write CenterMaskScorer\(width=501, aggregation_type=DIFF_LOG2_SUM\)"),
        ("CenterMaskScorer(width=x, aggregation_type=DIFF_SUM)", "with a width in bp or None"),
        ("CenterMaskScorer(501, DIFF_SUM)", "argument '501' has no name"),
    ],
)
def test_what_there_is_not_is_told(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScoreOptions(stats=(text,))


def test_commas_within_parentheses_part_nothing() -> None:
    text = "SUM, CenterMaskScorer(width=501, aggregation_type=DIFF_SUM),D2"
    assert texts_of("stats", text) == ("SUM", "CenterMaskScorer(width=501, aggregation_type=DIFF_SUM)", "D2")


@pytest.mark.parametrize(
    ("stat", "region", "wanted"),
    [
        (
            "DIFF_LOG2_SUM",
            "center:501",
            "CenterMaskScorer(requested_output=ATAC, width=501, aggregation_type=DIFF_LOG2_SUM)",
        ),
        ("ACTIVE_SUM", "window", "CenterMaskScorer(requested_output=ATAC, width=None, aggregation_type=ACTIVE_SUM)"),
        ("LFC", "gene_mask", "GeneMaskLFCScorer(requested_output=ATAC)"),
        ("ACTIVE_MEAN", "gene_mask", "GeneMaskActiveScorer(requested_output=ATAC)"),
        ("MAX_DIFF", "gene_body", "GeneMaskSplicingScorer(requested_output=ATAC, width=None)"),
        ("POLYADENYLATION", "pas", "PolyadenylationScorer()"),
        ("logSED", "exons", "logSED@exons"),
        ("SUM", "window", "SUM"),
        ("LFC", "exons", "LFC@exons"),
    ],
)
def test_names_of_scorers(stat: str, region: str, wanted: str) -> None:
    assert scorer_name(stat, region, "ATAC") == wanted


def test_the_preset_has_the_recommended_scorers() -> None:
    names = [scorer_name(spec.stat, str(spec.region), "X") for spec in PRESETS["alphagenome"].specs]
    assert sorted({name.partition("(")[0] for name in names}) == [
        *("CenterMaskScorer", "GeneMaskActiveScorer", "GeneMaskLFCScorer")
    ]
