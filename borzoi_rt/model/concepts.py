"""Named concepts, and neighbours of embeddings.

The methods do what the commands of the same names do, and keep in memory what these write, see
:mod:`borzoi_rt.model.inside`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..concepts.bottleneck_run import BottleneckOptions, bottleneck_table, counted_files, counted_words, make_bottleneck
from ..concepts.examples import check_names, files_from, named_file, words_from
from ..concepts.implants import implanted
from ..concepts.tcav_run import TcavOptions, run_tcav, tcav_table
from ..errors import InputError
from ..examples.neighbour_table import neighbour_table
from ..examples.neighbours import NeighbourOptions
from ..explain.rows import VARIANT_WIDTH_BP, Row, gene_row, region_rows, variant_rows
from ..explain.target import TargetSpec, with_text
from ..genome.variants import Variant
from ..inside.embed import Embeddings, embeddings_of, read_embeddings
from ..inside.tables import Table
from .inside import Annotation, Inside
from .opened import Regions, options_of, regions_of


class Concepts(Inside):
    """What methods of a model do with concepts and embeddings."""

    def tcav(
        self,
        target: TargetSpec | str,
        regions: Regions | None = None,
        *,
        motifs: str | Sequence[str] = (),
        concepts: str | Sequence[str] = (),
        tracks: str | None = None,
        against: str | None = None,
        gene: str | None = None,
        genes: Annotation | None = None,
        variant: Variant | str | Sequence[Any] | None = None,
        width_bp: int | None = None,
        options: TcavOptions | Mapping[str, Any] | None = None,
    ) -> Table:
        """Test in which direction concepts move a predicted number (TCAV).

        Parameters
        ----------
        target, tracks, against, gene, genes
            The number, see :meth:`explain`.
        regions : Interval or str, a sequence of these, or a BED file as a Path, optional
            The inputs; with ``gene`` alone the whole window around it.
        motifs : str or sequence of str
            Concepts that are put in: ``LETTERS``, ``NAME=LETTERS`` or ``@FILE``, a MEME or JASPAR file.
        concepts : str or sequence of str
            Concepts of files, ``NAME=FILE``: sequences (FASTA) or regions (BED).
        variant : Variant, str or (chrom, pos, ref, alt), optional
            Instead of regions: the bases around it on both haplotypes.
        width_bp : int, optional
            Bases around the middle of each region or variant.
        options : TcavOptions or mapping, optional

        Returns
        -------
        Table
            A row for each concept, with what it changes where it is put in (``implant``); ``.arrays`` has ``scores``,
            ``random_scores`` and ``vectors``.
        """
        spec, words = with_text(target, tracks=tracks, against=against), words_from(_texts(motifs))
        files = _texts(concepts)
        check_names([word.name for word in words] + [named_file(text)[0] for text in files])
        opened = self._opened()
        rows = self._inputs(spec, regions, gene, genes, variant, width_bp)
        held = [*words, *files_from(files, self.fasta, self.bundle.geometry)]
        what: dict[str, Any] = {"activations": opened, "fasta": self.fasta, "spec": spec}
        chosen = options_of(TcavOptions, options)
        found = run_tcav(rows, held, options=chosen, **what)
        implants = [implanted(concept, rows, seed=chosen.seed, **what) for concept in held]
        return tcav_table(found, held, rows, options=chosen, implants=implants, **what)

    def bottleneck(
        self,
        target: TargetSpec | str,
        regions: Regions,
        *,
        motifs: str | Sequence[str] = (),
        concepts: str | Sequence[str] = (),
        tracks: str | None = None,
        against: str | None = None,
        gene: str | None = None,
        genes: Annotation | None = None,
        width_bp: int | None = None,
        options: BottleneckOptions | Mapping[str, Any] | None = None,
    ) -> Table:
        """Say a predicted number by named concepts alone, read from embeddings: a concept bottleneck, post hoc.

        Parameters
        ----------
        target, regions, tracks, against, gene, genes, width_bp
            See :meth:`tcav`.
        motifs : str or sequence of str
            Concepts that are counted on both strands: ``LETTERS``, ``NAME=LETTERS`` or ``@FILE``.
        concepts : str or sequence of str
            ``NAME=FILE``, intervals of a BED file that share a base with the region.
        options : BottleneckOptions or mapping, optional

        Returns
        -------
        Table
            A row for each concept; ``.about`` has the accuracies, ``.arrays`` weights, counts and what was held out.
        """
        spec, words = with_text(target, tracks=tracks, against=against), counted_words(_texts(motifs))
        files = _texts(concepts)
        check_names([word.name for word in words] + [named_file(text)[0] for text in files])
        opened = self._opened()
        rows = self._inputs(spec, regions, gene, genes, None, width_bp)
        held = [*words, *counted_files(files, self.fasta)]
        what: dict[str, Any] = {"activations": opened, "fasta": self.fasta, "spec": spec}
        what["options"] = options_of(BottleneckOptions, options)
        return bottleneck_table(*make_bottleneck(rows, held, **what), held, rows, **what)

    def neighbours(
        self,
        embeddings: Table | str | os.PathLike[str],
        among: Table | str | os.PathLike[str] | None = None,
        *,
        options: NeighbourOptions | None = None,
    ) -> Table:
        """Find the regions or alleles whose embeddings are nearest.

        Parameters
        ----------
        embeddings : Table or path
            What :meth:`embed` gave, or an ``.h5`` file of ``borzoi-rt embed``, of this model.
        among : Table or path, optional
            What is searched; ``embeddings`` itself when None.
        options : NeighbourOptions, optional

        Returns
        -------
        Table
            A row for each query and neighbour, the nearest first; ``.about["recall"]`` says how many are found.
        """
        queries = self._embeddings(embeddings)
        return neighbour_table(queries, None if among is None else self._embeddings(among), options)

    def _embeddings(self, given: Table | str | os.PathLike[str]) -> Embeddings:
        self._check_open()
        found = embeddings_of(given) if isinstance(given, Table) else read_embeddings(given)
        made = found.about["model"]
        if made["sha256"] != self.bundle.sha256:
            raise InputError(
                f"these embeddings are of the model {made['name']!r}, which is not this one; embed them anew"
            )
        return found

    def _inputs(
        self,
        spec: TargetSpec,
        regions: Regions | None,
        gene: str | None,
        genes: Annotation | None,
        variant: Variant | str | Sequence[Any] | None,
        width_bp: int | None,
    ) -> list[Row]:
        """Return the rows that concepts are tested on, refusing what the commands refuse."""
        if regions is not None and variant is not None:
            raise InputError("regions and variant both say which bases; leave one of the two out")
        if regions is None and variant is None and gene is None:
            raise InputError("nothing says which bases are looked at: give regions, gene or variant")
        owner, grid = self._gene(gene, genes), self.bundle.geometry
        if spec.of_genes and owner is None:
            raise InputError(f"target {spec.name} is of a gene: give gene and genes")
        if variant is not None:
            width = VARIANT_WIDTH_BP if width_bp is None else width_bp
            return variant_rows(Variant.of(variant), self.fasta, grid, width_bp=width, gene=owner)
        if regions is not None:
            return region_rows(regions_of(regions), self.fasta, grid, width_bp=width_bp, gene=owner)
        assert owner is not None
        if not spec.of_genes:
            raise InputError(f"target {spec.name} is of no gene: give regions beside gene, or another target")
        if width_bp is not None:
            raise InputError("width_bp is of regions and variants; give regions beside gene")
        return [gene_row(owner, self.fasta, grid)]


def _texts(given: str | Sequence[str]) -> list[str]:
    """Return one text, or several; the letters of one are no concepts of their own."""
    return [given] if isinstance(given, str) else list(given)
