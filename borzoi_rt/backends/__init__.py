"""Sessions: a model that answers ``run``, wherever it runs.

:mod:`~borzoi_rt.backends.protocols` says what a session is, :mod:`~borzoi_rt.backends.opening` makes one of a bundle,
:mod:`~borzoi_rt.backends.parity` compares two.
"""
