"""Predicted coverage of a region, or of a sequence."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..genome.intervals import Interval
from ..genome.variants import Variant
from ..results import AlleleCoverage, CoverageResult
from ..runs.predict import CoverageOptions, check_windows, coverage_predictor, windows_of
from ..runs.predict_variant import bin_positions, check_prediction, predict_alleles
from ..sequence import encode
from .opened import Opened


class Coverage(Opened):
    """What :meth:`predict` of a model does."""

    def predict(
        self,
        region: Interval | str,
        *,
        tracks: str | None = None,
        options: CoverageOptions | None = None,
    ) -> CoverageResult:
        """Predict the coverage of a region, or of a sequence.

        Parameters
        ----------
        region : Interval or str
            A region of the genome, also as text like ``chr1:1,001-2,000``; a region longer than the output of the model
            gives adjacent windows. Or the bases of one input window, which need no genome.
        tracks : str, optional
            Selection, see :meth:`borzoi_rt.tracks.TrackTable.select`; all when None.
        options : CoverageOptions, optional
            Strands, shifts, scale.

        Returns
        -------
        CoverageResult
        """
        if options is not None and options.tracks is not None and tracks is not None:
            raise InputError("tracks stand in the options too; leave one of the two out")
        chosen = options or CoverageOptions()
        check_windows(chosen.prediction)
        positions = self.tracks.select(tracks if tracks is not None else chosen.tracks)
        predictor = coverage_predictor(self.bundle, self._whole_session(), positions, chosen)
        grid = self.bundle.geometry
        if isinstance(region, str) and set(region.upper()) <= set("ACGTN") and region:
            if len(region) != grid.sequence_length_bp:
                raise InputError(f"the sequence has {len(region)} bases; the window has {grid.sequence_length_bp}")
            windows = [Interval(".", grid.crop_bp, grid.crop_bp + grid.bins * grid.bin_size_bp)]
            values = [predictor.sequence(encode(region.upper()))]
        else:
            _, found = windows_of([Interval.of(region)], self.fasta, grid)
            windows = list(found)
            values = [predictor.window(self.fasta, item.chrom, item.start - grid.crop_bp) for item in windows]
        if not chosen.squashed:
            values = [predictor.squash.inverse(np.ascontiguousarray(item)) for item in values]
        return CoverageResult(windows, self.tracks.take(positions), np.stack(values), grid.bin_size_bp)

    def predict_variant(
        self, variant: Variant | str, *, tracks: str | None = None, options: CoverageOptions | None = None
    ) -> AlleleCoverage:
        """Predict the coverage of both alleles of a variant, in the window that it is the middle of.

        Alleles of different length are stitched, as for scores: REF and ALT of a bin are the same bases.

        Parameters
        ----------
        variant : Variant or str
            Like ``chr1:14677:G:A``; REF must be what the genome holds.
        tracks : str, optional
            Selection, see :meth:`borzoi_rt.tracks.TrackTable.select`; all when None.
        options : CoverageOptions, optional
            Strands, shifts, scale.

        Returns
        -------
        AlleleCoverage
            Its ``plot`` draws both, its ``to_pandas`` has a row per track and bin.

        Raises
        ------
        ReferenceMismatchError
            If REF is not what the genome holds.
        InputError
            If the variant cannot be predicted otherwise, or options have no meaning here.
        """
        if options is not None and options.tracks is not None and tracks is not None:
            raise InputError("tracks stand in the options too; leave one of the two out")
        chosen = options or CoverageOptions()
        check_prediction(chosen.prediction)
        positions, given = self.tracks.select(tracks if tracks is not None else chosen.tracks), Variant.of(variant)
        held, made = predict_alleles(given, self.bundle, self.fasta, self._whole_session(), positions, chosen)
        starts, ends = bin_positions(made, len(held.ref) - len(held.alt), self.bundle.geometry)
        return AlleleCoverage(given, held.chrom, starts, ends, self.tracks.take(positions), made.ref[0], made.alt[0])
