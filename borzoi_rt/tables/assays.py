"""What the description of a track says of its experiment: ``RNA:liver``, ``CHIP:H3K27ac:K562``, ``CAGE:...``."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HISTONE = re.compile(r"H(1|2A|2B|2AZ|2AFZ|3|4)[.A-Za-z0-9]*", re.IGNORECASE)
_TITLES = {
    "CAGE": "CAGE",
    "DNASE": "DNase-seq",
    "ATAC": "ATAC-seq",
    "CHIP_HISTONE": "Histone ChIP-seq",
    "CHIP_TF": "TF ChIP-seq",
    "RNA_SEQ": "RNA-seq",
    "PROCAP": "PRO-cap",
}


@dataclass(frozen=True, slots=True)
class Assay:
    """The experiment of a track.

    Attributes
    ----------
    output_type : str
        As AlphaGenome calls it: ``RNA_SEQ``, ``CAGE``, ``DNASE``, ``ATAC``, ``CHIP_TF``, ``CHIP_HISTONE``, ``PROCAP``;
        ``OTHER`` where the description does not say.
    title : str
        The assay.
    biosample : str
        Cells or tissue.
    factor, histone : str
        Target of a ChIP.
    """

    output_type: str
    title: str = ""
    biosample: str = ""
    factor: str = ""
    histone: str = ""


def assay_of(description: str) -> Assay:
    """Read the description of a track, whose parts are separated by colons."""
    kind, colon, rest = description.partition(":")
    kind = kind.strip().upper().replace("-", "")
    if not colon:
        return Assay("OTHER", biosample=description)
    if kind == "CHIP":
        target, _, sample = rest.partition(":")
        histone = bool(_HISTONE.fullmatch(target.strip()))
        output = "CHIP_HISTONE" if histone else "CHIP_TF"
        names = {"histone" if histone else "factor": target.strip()}
        return Assay(output, _TITLES[output], sample.strip(), **names)
    output = "RNA_SEQ" if kind.startswith("RNA") else kind
    if output not in _TITLES:
        return Assay("OTHER", biosample=rest.strip())
    return Assay(output, _TITLES[output], rest.strip())
