"""Which bases drive a number made of predicted coverage."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from typing import Any

from ..bundle.opening import open_bundle
from ..errors import InputError
from ..explain.compare import Comparison, chosen_methods, compare
from ..explain.evaluate.faithful import EvaluateOptions
from ..explain.evaluate.metrics import chosen_metrics, unheeded
from ..explain.evaluate.run import COLUMNS, judge
from ..explain.evaluate.run import table as lines_of
from ..explain.evaluate.stable import open_all
from ..explain.evaluate.subject import subject_of
from ..explain.evaluate.words import verdict_of
from ..explain.explainer import ExplainOptions
from ..explain.result import Explanation
from ..explain.rows import ALT, REF, VARIANT_WIDTH_BP, Row, gene_row, region_rows, variant_rows
from ..explain.segments import read_segments
from ..explain.target import TargetSpec, with_text
from ..genome.gene_index import genes_of
from ..genome.genes import Gene, Genes
from ..genome.intervals import Interval
from ..genome.variants import Variant
from ..inside.tables import Table
from ..scoring.named_gene import one_gene
from .opened import Known, Opened, intervals_of, options_of


class Explanations(Opened):
    """What :meth:`explain`, :meth:`explain_compare` and :meth:`explain_evaluate` of a model do."""

    def explain(
        self,
        target: TargetSpec | str,
        region: Interval | str | None = None,
        *,
        method: str = "saliency",
        tracks: str | None = None,
        against: str | None = None,
        gene: str | None = None,
        genes: Genes | str | os.PathLike[str] | None = None,
        variant: Variant | str | Sequence[Any] | None = None,
        allele: str | None = None,
        options: ExplainOptions | Mapping[str, Any] | None = None,
    ) -> Explanation:
        """Attribute a number made of predicted coverage to bases.

        Parameters
        ----------
        target : TargetSpec or str
            What is explained, as ``"log SUM@exons"``; see :mod:`borzoi_rt.explain.target`.
        region : Interval or str, optional
            The bases, text as browsers write it; with ``gene`` alone the whole window around it.
        method : str
            A key of :data:`borzoi_rt.explain.methods.METHODS`.
        tracks, against : str, optional
            Selections, see :class:`borzoi_rt.explain.target.TargetSpec`.
        gene : str, optional
            Gene of the target, by id or name.
        genes : Genes or path, optional
            Annotation with that gene.
        variant : Variant, str or (chrom, pos, ref, alt), optional
            Explain the 512 bases around it on one haplotype; ``region`` is then left out. Of an insertion or deletion
            each haplotype has its own frame, see ``.about["notes"]``.
        allele : str, optional
            Of ``variant``: ``"alt"``, the default, or ``"ref"``.
        options : ExplainOptions or mapping, optional
            Options of the method by name; or everything, which then also says the method.

        Returns
        -------
        Explanation
            ``.scores`` (4, bases), ``.projected``, ``.plot(path)``, ``.to_bed()``, ``.to_pandas()``.
        """
        spec = with_text(target, tracks=tracks, against=against)
        if isinstance(options, ExplainOptions):
            if method not in ("saliency", options.method):
                raise InputError(f"method {method!r} and options of {options.method!r}; leave one of the two out")
            chosen = options
        else:
            chosen = ExplainOptions(method=method, options=options)
        row = self._explained(region, gene, genes, variant, allele)
        return self._opened_explainer([chosen.method]).explain(self._segmented(row, [chosen]), spec, chosen)

    def explain_compare(
        self,
        target: TargetSpec | str,
        region: Interval | str | None = None,
        *,
        methods: Sequence[str] = ("saliency", "ism"),
        tracks: str | None = None,
        against: str | None = None,
        gene: str | None = None,
        genes: Genes | str | os.PathLike[str] | None = None,
        variant: Variant | str | Sequence[Any] | None = None,
        allele: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Comparison:
        """Explain one target by several methods: what each says, what it costs, how far they agree.

        Parameters
        ----------
        target, region, tracks, against, gene, genes, variant, allele
            See :meth:`explain`.
        methods : sequence of str
            Keys of :data:`borzoi_rt.explain.methods.METHODS`.
        options : mapping, optional
            Options by name; each goes to every method that has it.

        Returns
        -------
        Comparison
            ``.explanations[method]``, ``.table()``, ``.agreement(one, other)``, ``.plot(path)``.
        """
        spec = with_text(target, tracks=tracks, against=against)
        chosen = chosen_methods(methods, options or {})
        row = self._explained(region, gene, genes, variant, allele)
        explainer = self._opened_explainer([item.method for item in chosen])
        return compare(self._segmented(row, chosen), spec, chosen, explainer)

    def explain_evaluate(
        self,
        explanations: Explanation | Mapping[str, Explanation],
        *,
        metrics: str | Sequence[str] | None = None,
        truth: Known = (),
        folds: Sequence[str | os.PathLike[str]] = (),
        randomised: Sequence[str | os.PathLike[str]] = (),
        options: EvaluateOptions | Mapping[str, Any] | None = None,
    ) -> Table:
        """Judge explanations: do they say what the model does, and would they be said again?

        Parameters
        ----------
        explanations : Explanation, or mapping of str to Explanation
            What :meth:`explain` gave, by names of yours.
        metrics : str or sequence of str, optional
            Keys of :data:`borzoi_rt.explain.evaluate.metrics.METRICS`; the cheap ones when None, and what is given for.
        truth : Interval, sequence of Interval or str, or path, optional
            Bases that are known to count, also a BED file, for the measure of that name.
        folds, randomised : sequence of path
            Bundles for the measures of these names.
        options : EvaluateOptions or mapping, optional
            What departs from the usual must be of one of the measures.

        Returns
        -------
        Table
            A row for each explanation, measure and number of it; ``.about["verdicts"]`` has a line for each.
        """
        known, others = intervals_of(truth), [[open_bundle(path) for path in paths] for paths in (folds, randomised)]
        given = {"folds": len(others[0]), "randomised": len(others[1]), "truth": len(known)}
        names, judging = chosen_metrics(metrics, **given), options_of(EvaluateOptions, options)
        _check_heeded(judging, names)
        held = _named(explanations)
        how: dict[str, Any] = {"options": judging, "truth": known}
        explainer = self._explainer_here()
        with ExitStack() as stack:
            opened = [open_all(bundles, explainer, self._device) for bundles in others]
            for one in (*opened[0], *opened[1]):
                stack.callback(one.close)
            how |= {"folds": opened[0], "randomised": opened[1], "explainer": explainer}
            found = [judge(subject_of(name, one), names, **how) for name, one in held.items()]
        lines = lines_of(found)
        about = {"metrics": list(names), "verdicts": [verdict_of(one.table()) for one in found]}
        return Table("metrics", about, {name: [line[name] for line in lines] for name in COLUMNS})

    def _segmented(self, row: Row, chosen: Sequence[ExplainOptions]) -> Row:
        """Return a row with the stretches that options of methods ask for."""
        asked = next((text for item in chosen if (text := getattr(item.options, "segments", ""))), "")
        return read_segments(asked).of([row], self.fasta, self.bundle.geometry)[0] if asked else row

    def _explained(
        self,
        region: Interval | str | None,
        gene: str | None,
        genes: Genes | str | os.PathLike[str] | None,
        variant: Variant | str | Sequence[Any] | None,
        allele: str | None = None,
    ) -> Row:
        """Return the one row that the arguments of :meth:`explain` mean."""
        if allele is not None and variant is None:
            raise InputError("allele is of a variant; give variant, or leave allele out")
        if allele not in (None, REF, ALT):
            raise InputError(f"allele {allele!r} is unknown; allowed: {REF}, {ALT}")
        if len(self.members) > 1:
            raise InputError(f"this takes one model, this one has {len(self.members)} members; open each by itself")
        grid, owner = self.bundle.geometry, self._gene(gene, genes)
        if variant is not None:
            if region is not None:
                raise InputError("region and variant both say which bases; leave one of the two out")
            held = Variant.of(variant)
            ref, alt = variant_rows(held, self.fasta, grid, width_bp=VARIANT_WIDTH_BP, gene=owner)
            return ref if allele == REF else alt
        if region is not None:
            (row,) = region_rows([Interval.of(region)], self.fasta, grid, gene=owner)
            return row
        if owner is None:
            raise InputError("nothing says which bases are explained: give region, gene or variant")
        return gene_row(owner, self.fasta, grid)

    def _gene(self, gene: str | None, genes: Genes | str | os.PathLike[str] | None) -> Gene | None:
        """Return the one gene that is named, None where none is."""
        if (gene is None) != (genes is None):
            raise InputError("gene and genes, its annotation, belong together; give both or neither")
        return None if gene is None or genes is None else one_gene(genes_of(genes), gene, self.fasta)


def _named(explanations: Explanation | Mapping[str, Explanation]) -> Mapping[str, Explanation]:
    """Return explanations by name, one alone by its method."""
    if isinstance(explanations, Explanation):
        return {explanations.about["method"]: explanations}
    if not isinstance(explanations, Mapping) or not explanations:
        raise InputError(
            f"explanations are {explanations!r:.60}; an Explanation or a mapping of names to some is needed"
        )
    for name, one in explanations.items():
        if not isinstance(one, Explanation):
            raise InputError(f"explanation {name!r:.40} is {one!r:.60}; what explain gives is needed")
    return explanations


def _check_heeded(options: EvaluateOptions, metrics: Sequence[str]) -> None:
    """Refuse options of judging that none of the measures heeds."""
    given = [one.name for one in fields(options) if getattr(options, one.name) != one.default]
    found = unheeded(given, metrics)
    if found is not None:
        raise InputError(f"{found[0]} is {found[1]}; leave it out")
