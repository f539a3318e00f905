"""The manifest under its module path of release 0.1; it lives in :mod:`borzoi_rt.bundle.manifest`."""

from .bundle.manifest import *  # noqa: F403
