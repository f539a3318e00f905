"""Compile csrc/*.pyx into borzoi_rt._kernels; all metadata is in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

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


setup(
    ext_modules=cythonize([kernel(name) for name in KERNELS], build_dir="build/cython", compiler_directives=DIRECTIVES),
)
