"""AlphaGenome's variant scorers by their documented names, as ``STAT@REGION`` and back.

================================================  ======================
``CenterMaskScorer(width=W, aggregation_type=A)``  ``A@center:W``, of width None ``A@window``
``GeneMaskLFCScorer()``                            ``LFC@gene_mask``
``GeneMaskActiveScorer()``                         ``ACTIVE_MEAN@gene_mask``
``GeneMaskSplicingScorer()``                       ``MAX_DIFF@gene_body``
``PolyadenylationScorer()``                        ``POLYADENYLATION@pas``
================================================  ======================

They are taken over tracks at the resolution of this model's bins; ``requested_output`` is a choice of tracks here.
Contact maps, splice junctions and probabilities of splice sites are no outputs of this family of models.
"""

from __future__ import annotations

import re

from ..errors import InputError

AGGREGATIONS = (
    *("DIFF_MEAN", "DIFF_SUM", "DIFF_SUM_LOG2", "DIFF_LOG2_SUM", "L2_DIFF", "L2_DIFF_LOG1P"),
    *("ACTIVE_MEAN", "ACTIVE_SUM"),
)
_OF_GENES = {
    "GeneMaskLFCScorer": "LFC@gene_mask",
    "GeneMaskActiveScorer": "ACTIVE_MEAN@gene_mask",
    "GeneMaskSplicingScorer": "MAX_DIFF@gene_body",
    "PolyadenylationScorer": "POLYADENYLATION@pas",
}
_CENTER = "CenterMaskScorer"
_SUPPORTED = f"{_CENTER}(width=BP, aggregation_type=NAME), {', '.join(_OF_GENES)}"
_ABSENT = ("ContactMapScorer", "SpliceJunctionScorer")
RECOMMENDED = (
    *("DIFF_LOG2_SUM@center:501", "DIFF_LOG2_SUM@center:2001", "ACTIVE_SUM@center:501", "ACTIVE_SUM@center:2001"),
    *("LFC@gene_mask", "ACTIVE_MEAN@gene_mask"),
)


def native_name(text: str) -> str:
    """Return the ``STAT@REGION`` of a scorer's documented name; any other text as it is.

    Raises
    ------
    InputError
        If it is a scorer of outputs that there are none of, or its arguments cannot be taken.
    """
    found = re.fullmatch(r"\s*([A-Za-z]+Scorer)\s*(?:\((.*)\))?\s*", text)
    if not found:
        return text
    name, arguments = found[1], _arguments(text, found[2] or "")
    if name in _ABSENT:
        raise InputError(f"{name}: the model has no such output; supported: {_SUPPORTED}")
    if name not in _OF_GENES and name != _CENTER:
        raise InputError(f"{name} is no scorer; supported: {_SUPPORTED}")
    if "requested_output" in arguments:
        raise InputError(f"{text.strip()}: requested_output chooses tracks; leave it out, and select tracks")
    width = arguments.pop("width", "None")
    if name != _CENTER:
        if arguments or width != "None":
            raise InputError(f"{text.strip()}: takes no such argument; write {name}()")
        return _OF_GENES[name]
    stat = arguments.pop("aggregation_type", "").rpartition(".")[2]
    if arguments or stat not in AGGREGATIONS or not re.fullmatch(r"None|[1-9][0-9_]*", width):
        raise InputError(
            f"{text.strip()}: write {_CENTER}(width=501, aggregation_type=DIFF_LOG2_SUM), with a width in bp or None "
            f"and one of {', '.join(AGGREGATIONS)}"
        )
    return f"{stat}@window" if width == "None" else f"{stat}@center:{width.replace('_', '')}"


def _arguments(text: str, inner: str) -> dict[str, str]:
    found = {}
    for part in filter(None, (item.strip() for item in inner.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise InputError(f"{text.strip()}: argument {part!r} has no name; write name=value")
        found[name.strip()] = value.strip()
    return found


def scorer_name(stat: str, region: str, output_type: str) -> str:
    """Return what AlphaGenome's client calls a scorer of tracks of a type; of others the name they have here."""
    name = f"{stat}@{region}"
    of_genes = {own: scorer for scorer, own in _OF_GENES.items()}
    if name in of_genes:
        scorer = of_genes[name]
        inner = "" if scorer == "PolyadenylationScorer" else f"requested_output={output_type}"
        return f"{scorer}({inner}{', width=None' if scorer == 'GeneMaskSplicingScorer' else ''})"
    center = region.removeprefix("center:")
    if stat in AGGREGATIONS and (center != region or region == "window"):
        width = "None" if region == "window" else center
        return f"{_CENTER}(requested_output={output_type}, width={width}, aggregation_type={stat})"
    return stat if region == "window" else name
