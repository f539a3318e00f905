"""Compile csrc/*.pyx into borzoi_rt._kernels; all metadata is in pyproject.toml."""

import gzip
import os
import tarfile
import time
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.sdist import sdist

KERNELS = ("onehot", "squash")
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "freethreading_compatible": True,
}


def kernel(name: str) -> Extension:
    """Describe one extension; ``depends`` keeps its .pyx in the sdist, where cythonize would drop it."""
    source = f"csrc/{name}.pyx"
    return Extension(
        f"borzoi_rt._kernels.{name}",
        [source],
        depends=[source],
        # No -ffast-math: NaN and infinity must pass through, and no -march=native: a wheel runs elsewhere.
        extra_compile_args=["-O3", "-fno-math-errno", "-fno-trapping-math"],
    )


class Archive(sdist):
    """A source archive whose bytes follow from its files and SOURCE_DATE_EPOCH alone."""

    def make_archive(self, base_name, kind, root_dir=None, base_dir=None, owner=None, group=None):
        """Write the archive in the order of names, with one time, no owner, and the permissions that matter."""
        if kind != "gztar":
            raise ValueError(f"format {kind!r}; only 'gztar' is made")
        seconds, out = int(os.environ.get("SOURCE_DATE_EPOCH", time.time())), f"{base_name}.tar.gz"

        def plain(item: tarfile.TarInfo) -> tarfile.TarInfo:
            item.mtime, item.uid, item.gid, item.uname, item.gname = seconds, 0, 0, "", ""
            item.mode = 0o755 if item.isdir() or item.mode & 0o100 else 0o644
            return item

        top = Path(base_dir)
        with (
            open(out, "wb") as raw,
            gzip.GzipFile("", "wb", 9, raw, seconds) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in [top, *sorted(top.rglob("*"))]:
                archive.add(path, path.as_posix(), recursive=False, filter=plain)
        return out


setup(
    cmdclass={"sdist": Archive},
    ext_modules=cythonize([kernel(name) for name in KERNELS], build_dir="build/cython", compiler_directives=DIRECTIVES),
)
