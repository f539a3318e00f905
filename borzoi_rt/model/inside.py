"""What lies inside the network, and designed sequences.

The methods do what the commands of the same names do, and keep in memory what these write: most give a
:class:`borzoi_rt.inside.tables.Table`, with ``.to_pandas()``, ``.columns``, ``.matrix`` and ``.about``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

from ..engine.regions import Region
from ..errors import InputError
from ..explain.rows import VARIANT_WIDTH_BP, Row, gene_row, region_rows, variant_rows
from ..explain.target import TargetSpec, with_text
from ..genome.gene_index import genes_of
from ..genome.genes import Genes
from ..genome.intervals import Interval
from ..genome.variants import Variant
from ..inside.activation_run import activation_table
from ..inside.activations import EMBEDDING, TOKENS, Activations
from ..inside.attention_run import AttentionOptions, attention_table
from ..inside.design import Design, DesignOptions
from ..inside.design_run import design_row, design_unit
from ..inside.dissect import DissectOptions
from ..inside.embed import EmbedOptions, embed_table, variant_pairs
from ..inside.filters import FilterOptions, check_local
from ..inside.map_run import MapOptions, map_table
from ..inside.tables import Table
from ..inside.unit_rows import random_rows
from ..inside.unit_runs import dissected, filtered
from ..motifs.files import read_motifs
from ..motifs.scan import MotifScanner
from ..plain import whole_number
from ..scoring.named_gene import one_gene
from .explanations import Explanations
from .opened import Known, intervals_of, options_of

Where = Interval | str
Annotation = Genes | str | os.PathLike[str]
WINDOWS = 16  # of filters and dissections


class Inside(Explanations):
    """What methods of a model do that look inside it, or design sequences."""

    def cam(
        self,
        target: TargetSpec | str,
        region: Where | None = None,
        *,
        method: str = "gradcam",
        layer: str | None = None,
        tracks: str | None = None,
        against: str | None = None,
        gene: str | None = None,
        genes: Annotation | None = None,
        variant: Variant | str | Sequence[Any] | None = None,
        allele: str | None = None,
        truth: Known = (),
        check: int = 0,
        seed: int = 0,
    ) -> Table:
        """Map which tokens or bins of the window a number comes from: CAM, Grad-CAM, Grad-CAM++.

        Parameters
        ----------
        target, region, tracks, against, gene, genes, variant, allele
            See :meth:`explain`; the whole window is mapped.
        method : str
            One of :data:`borzoi_rt.inside.maps.MAPS`.
        layer : str, optional
            ``tokens``, ``layer_N`` or ``embedding``; tokens when None, of ``cam`` embedding.
        truth : Interval, sequence of Interval or str, or path, optional
            Known features, also a BED file: whether the map finds them is in ``.about["rows"]``.
        check : int
            Positions to shuffle to see whether the map follows what that does; 0 leaves it out.
        seed : int
            Of both.

        Returns
        -------
        Table
            A row for each position, with ``start``, ``end`` and ``score``.
        """
        _check_seed(seed, check, truth)
        where = layer or (EMBEDDING if method == "cam" else TOKENS)
        options = MapOptions(method=method, layer=where, check=check, seed=seed)
        spec = with_text(target, tracks=tracks, against=against)
        row = self._explained(region, gene, genes, variant, allele)
        how: dict[str, Any] = {"spec": spec, "options": options, "truth": intervals_of(truth)}
        return map_table([row], activations=self._opened(), fasta=self.fasta, **how)

    def attention(
        self,
        region: Where | None = None,
        *,
        how: str = "rows",
        queries: str | None = None,
        layers: Sequence[int] | None = None,
        target: TargetSpec | str | None = None,
        tracks: str | None = None,
        gene: str | None = None,
        genes: Annotation | None = None,
        variant: Variant | str | Sequence[Any] | None = None,
        allele: str | None = None,
        truth: Known = (),
        check: int = 0,
        seed: int = 0,
    ) -> Table:
        """Show where tokens of the transformer attend to. This is not attribution.

        Parameters
        ----------
        region, gene, genes, variant, allele
            See :meth:`explain`.
        how : str
            ``rows``, ``rollout`` or ``relevance``.
        queries : str, optional
            Tokens that ask, see :class:`borzoi_rt.inside.attention_run.AttentionOptions`.
        layers : sequence of int, optional
            Of ``rows``; all when None.
        target, tracks
            The number of ``relevance``, of queries ``target`` and of the check, which need it; of others none.
        truth, check, seed
            See :meth:`cam`.

        Returns
        -------
        Table
            A row for each token; a column for each layer and head (``l1h1``), or one. ``.arrays["by_query"]`` is
            (queries, columns, tokens).
        """
        _check_seed(seed, check, truth)
        if layers is not None and not isinstance(layers, Iterable):
            raise InputError(f"layers are {layers!r:.60}; a sequence of whole numbers is needed")
        chosen = None if layers is None else tuple(layers)
        options = AttentionOptions(how=how, queries=queries, layers=chosen, check=check, seed=seed)
        needed = how == "relevance" or queries == "target" or check
        if (target is not None or tracks is not None) and not needed:
            raise InputError(f"target and tracks are of relevance, queries target and check, and not of {how}")
        if needed and target is None:
            raise InputError("relevance, queries target and the check need a target; give one, like 'log SUM'")
        spec = None if target is None else with_text(target, tracks=tracks)
        row = self._explained(region, gene, genes, variant, allele)
        what: dict[str, Any] = {"options": options, "spec": spec, "truth": intervals_of(truth)}
        return attention_table([row], activations=self._opened(), fasta=self.fasta, **what)[1]

    def activations(
        self,
        region: Where | None = None,
        *,
        layer: str = TOKENS,
        units: Sequence[int] | None = None,
        variant: Variant | str | Sequence[Any] | None = None,
    ) -> Table:
        """Show what units of a layer are at a stretch of bases: a row for each position, a column for each unit.

        Parameters
        ----------
        region : Interval or str, optional
            The bases.
        layer : str
            ``stem``, ``tower_N``, ``layer_N``, ``tokens`` or ``embedding``.
        units : sequence of int, optional
            Channels; all when None.
        variant : Variant or str, optional
            Instead of a region: the 512 bases around it, on both haplotypes.
        """
        if (region is None) == (variant is None):
            raise InputError("give one of region and variant")
        opened, grid = self._opened(), self.bundle.geometry
        if variant is not None:
            rows = variant_rows(Variant.of(variant), self.fasta, grid, width_bp=VARIANT_WIDTH_BP)
        else:
            assert region is not None
            rows = region_rows([Interval.of(region)], self.fasta, grid)
        return activation_table(rows, activations=opened, fasta=self.fasta, layer=layer, units=units)

    def embed(
        self,
        regions: Where | Sequence[Where] | None = None,
        *,
        variants: Variant | str | Sequence[Variant | str | Sequence[Any]] | None = None,
        gene: str | Sequence[str] | None = None,
        genes: Annotation | None = None,
        layer: str = EMBEDDING,
        over: str | None = None,
        width_bp: int | None = None,
    ) -> Table:
        """Embed regions, alleles or genes: one vector each, the mean of a layer over its positions.

        Parameters
        ----------
        regions : Interval or str, or a sequence of these, optional
            What cannot be read keeps its row, with the reason as its status, here and below.
        variants : Variant or str, or a sequence of these or of (chrom, pos, ref, alt), optional
            Two rows each, REF and ALT.
        gene, genes : optional
            Genes by id or name, and their annotation.
        layer : str
            ``embedding``, ``tokens`` or ``layer_N``.
        over : str, optional
            Bins to average, like ``span:2048``; the bases when None, of a gene its exons.
        width_bp : int, optional
            Bases around the middle of each region or variant.

        Returns
        -------
        Table
            ``.matrix.values`` is float32 (rows, units); ``covered`` says which share of each lies in the layer.
        """
        if sum(item is not None for item in (regions, variants, gene)) != 1:
            raise InputError("give one of regions, variants and gene")
        if (gene is None) != (genes is None):
            raise InputError("gene and genes, its annotation, belong together; give both or neither")
        if gene is not None and width_bp is not None:
            raise InputError("width_bp is of regions and variants; choose bins of a gene by over")
        if width_bp is not None and whole_number("width_bp", width_bp) < 1:
            raise InputError(f"width_bp is {width_bp}; 1 or more is needed")
        options = EmbedOptions(layer=layer, region=over or ("exons" if gene is not None else None))
        if options.region is not None and Region.parse(options.region).of_genes and gene is None:
            raise InputError(
                f"over {options.region!r} is of a gene: give gene, or average window, span:BP or center:BP"
            )
        opened, grid = self._opened(), self.bundle.geometry
        if gene is not None and genes is not None:
            held = genes_of(genes)
            names = [gene] if isinstance(gene, str) else gene
            rows: list[Any] = [gene_row(one_gene(held, name, self.fasta), self.fasta, grid) for name in names]
        elif variants is not None:
            several = variants if isinstance(variants, Iterable) and not isinstance(variants, str) else [variants]
            width = VARIANT_WIDTH_BP if width_bp is None else width_bp
            rows = variant_pairs([Variant.of(one) for one in several], self.fasta, opened, width)
        else:
            assert regions is not None
            rows = [*region_rows(Interval.several(regions), self.fasta, grid, width_bp=width_bp, keep=True)]
        return embed_table(rows, activations=opened, fasta=self.fasta, options=options)

    def filters(
        self,
        layer: str = "stem",
        *,
        motifs: str | os.PathLike[str] | None = None,
        regions: Known | None = None,
        windows: int | None = None,
        units: Sequence[int] | None = None,
        options: FilterOptions | Mapping[str, Any] | None = None,
    ) -> Table:
        """Show what units of the first layers look for: the sequences at which each is most active, as a motif.

        Parameters
        ----------
        layer : str
            ``stem`` or ``tower_N``.
        motifs : path, optional
            MEME or JASPAR file that names are taken from.
        regions, windows
            See :meth:`dissect`.
        units : sequence of int, optional
            Channels; all when None.
        options : FilterOptions or mapping, optional

        Returns
        -------
        Table
            A row for each unit, as in ``filters.tsv``; ``.arrays["matrices"]`` is (units, 4, width).
        """
        check_local(layer)
        chosen = options_of(FilterOptions, options)
        named = () if motifs is None else read_motifs(Path(motifs))
        opened, rows = self._opened(), self._looked_at(regions, windows, chosen.seed)
        what: dict[str, Any] = {"options": chosen, "motifs": named, "units": units}
        return filtered(rows, activations=opened, fasta=self.fasta, layer=layer, **what).table

    def dissect(
        self,
        annotations: Known = (),
        *,
        motifs: str | os.PathLike[str] | None = None,
        layer: str = "layer_0",
        regions: Known | None = None,
        windows: int | None = None,
        units: Sequence[int] | None = None,
        options: DissectOptions | Mapping[str, Any] | None = None,
    ) -> Table:
        """Say which units of a layer follow annotations or motifs, and whether chance would (network dissection).

        Parameters
        ----------
        annotations : Interval, sequence of Interval or str, or path
            Concepts, also a BED file: intervals of one name are one.
        motifs : path, optional
            MEME or JASPAR file: the hits of each motif are a concept.
        layer, units
            See :meth:`activations`.
        regions : Interval, sequence of Interval or str, or path, optional
            What is looked at; ``windows`` drawn at random when None.
        windows : int, optional
            How many; 16 when None.
        options : DissectOptions or mapping, optional

        Returns
        -------
        Table
            A row for each concept; ``.arrays["iou"]`` is (units, concepts), ``.about["note"]`` says where the
            positions are too few.
        """
        chosen, known = options_of(DissectOptions, options), intervals_of(annotations)
        if not known and motifs is None:
            raise InputError("give annotations, motifs or both: without concepts there is nothing to compare with")
        opened, rows = self._opened(), self._looked_at(regions, windows, chosen.seed)
        scanner = None if motifs is None else MotifScanner(read_motifs(Path(motifs)))
        what: dict[str, Any] = {"options": chosen, "intervals": known, "scanner": scanner, "units": units}
        return dissected(rows, activations=opened, fasta=self.fasta, layer=layer, **what).table

    def design(
        self,
        region: Where,
        target: TargetSpec | str | None = None,
        *,
        unit: int | None = None,
        layer: str | None = None,
        tracks: str | None = None,
        against: str | None = None,
        gene: str | None = None,
        genes: Annotation | None = None,
        fixed: Where | Sequence[Where] = (),
        options: DesignOptions | Mapping[str, Any] | None = None,
        rc: bool = False,
    ) -> Design:
        """Design a sequence that raises a predicted number, or a unit, by substitutions (activation maximisation).

        Parameters
        ----------
        region : Interval or str
            The bases that may change.
        target, tracks, against, gene, genes
            The number, see :meth:`explain`; of the whole window unless it names bins.
        unit, layer
            Instead of a target: a channel of a layer, its largest activation in the region.
        fixed : Interval or str, or a sequence of these
            Bases of the region that stay.
        options : DesignOptions or mapping, optional
            How, see :class:`borzoi_rt.inside.design.DesignOptions`.
        rc : bool
            Average each prediction with that of the reverse complement; of a target.

        Returns
        -------
        Design
            ``.sequence``, ``.steps``, ``.start`` and ``.value``.
        """
        chosen = options_of(DesignOptions, options)
        kept = [] if isinstance(fixed, Sized) and not len(fixed) else Interval.several(fixed)
        if (target is None) == (unit is None):
            raise InputError("give one of target and unit: what is raised")
        if unit is None:
            if layer is not None:
                raise InputError("layer is of the unit that is raised; give unit, or leave it out")
            assert target is not None
            spec, row = with_text(target, tracks=tracks, against=against), self._explained(region, gene, genes, None)
            return design_row(self._explainer_here(), row, spec, chosen, None, fixed=kept, rc=rc)
        if layer is None:
            raise InputError("unit is a channel of a layer; give layer, like 'stem' or 'tower_3'")
        if rc or any(item is not None for item in (tracks, against, gene, genes)):
            raise InputError("tracks, against, gene, genes and rc are of a target, and a unit is raised instead")
        row = self._explained(region, None, None, None)
        return design_unit(self._opened(), self.fasta, row, layer, unit, chosen, None, fixed=kept)

    def _looked_at(self, regions: Known | None, windows: int | None, seed: int) -> list[Row]:
        """Return the rows of regions, or as many windows drawn at random."""
        if regions is not None and windows is not None:
            raise InputError("give one of regions and windows")
        grid = self.bundle.geometry
        if regions is not None:
            return region_rows(intervals_of(regions), self.fasta, grid, keep=True)
        return random_rows(self.fasta, grid, WINDOWS if windows is None else windows, seed=seed)

    def _opened(self) -> Activations:
        """Return what shows the inside, opened when it is first needed."""
        self._check_open()
        if len(self.members) > 1:
            raise InputError(f"this looks into one model, and {len(self.members)} are open; open the one that is meant")
        if self._inside is None:
            self._inside = Activations(self.bundle, self._device)
            self._stack.callback(self._inside.close)
        return self._inside


def _variant(variant: Variant | str | None) -> Variant:
    assert variant is not None
    return variant if isinstance(variant, Variant) else Variant.parse(variant)


def _check_seed(seed: int, check: int, truth: Known) -> None:
    """Refuse a seed that nothing heeds."""
    if seed != 0 and not check and not truth:
        raise InputError(f"seed {seed!r} is of check and truth: give one of these, or leave it out")
