"""The Python environment of a Triton server that runs without a container: where it is, what it holds, how it is made.

The wheel ``nvidia-pytriton`` carries a whole ``tritonserver`` 2.51.0 with the python backend. It needs NumPy 1: with
NumPy 2 the python backend of this release answers with empty tensors and says nothing. So it lives in a virtual
environment of its own, of the same Python as this package, whose compiled kernels the server's models use.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ...backends.cores import cache_root
from ...backends.runtime import NO_REPORTS
from ...errors import BackendError

VARIABLE = "BORZOI_RT_TRITON"
SERVER_WHEEL = "nvidia-pytriton==0.7.0"
SERVER_VERSION = "2.51.0"
PYTHONS = ((3, 11), (3, 12))

_FACTS = """
import importlib.util as find, json, sys, sysconfig
held = [name for name in ("numpy", "onnxruntime", "pysam", "pytriton") if find.find_spec(name)]
numpy = __import__("numpy").__version__ if "numpy" in held else ""
print(json.dumps({"site": sysconfig.get_paths()["purelib"], "libdir": sysconfig.get_config_var("LIBDIR") or "",
                  "version": list(sys.version_info[:2]), "numpy": numpy, "held": held}))
"""


@dataclass(frozen=True, slots=True)
class ServerEnvironment:
    """A virtual environment that can run ``tritonserver``.

    Attributes
    ----------
    python : Path
        Its interpreter.
    site : Path
        Its site-packages.
    libdir : str
        Where its ``libpython`` lies.
    version : (int, int)
        Major and minor version of Python.
    """

    python: Path
    site: Path
    libdir: str
    version: tuple[int, int]

    @property
    def distribution(self) -> Path:
        """The server's files inside the wheel."""
        return self.site / "pytriton" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The executable that runs a model of the python backend, for this Python."""
        name = f"{self.version[0]}.{self.version[1]}"
        return self.distribution / "python_backend_stubs" / name / "triton_python_backend_stub"

    def variables(self) -> dict[str, str]:
        """Return the environment variables of a server process.

        The stub takes its prefix from PATH and its libraries from LD_LIBRARY_PATH; without them it silently runs with
        another Python, or hangs.
        """
        dropped = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
        values = {name: value for name, value in os.environ.items() if name not in dropped}
        libraries = (str(self.site / "nvidia_pytriton.libs"), self.libdir, values.get("LD_LIBRARY_PATH", ""))
        values["LD_LIBRARY_PATH"] = os.pathsep.join(part for part in libraries if part)
        values["PATH"] = os.pathsep.join([str(self.python.parent), values.get("PATH", "")])
        return values | NO_REPORTS


def default_folder() -> Path:
    """Return where the environment is looked for: ``BORZOI_RT_TRITON``, else a folder of the user's cache."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    return cache_root() / "borzoi_rt" / "triton-venv"


def find_environment(folder: Path | None = None) -> ServerEnvironment:
    """Look at an environment and make sure that a server will run in it.

    Raises
    ------
    BackendError
        If it is missing or cannot work; the message says how to make one.
    """
    folder = folder or default_folder()
    python = Path(os.path.abspath(folder / "bin" / "python"))  # not resolved: the link is what leads to the environment
    advice = f"make one with `borzoi-rt triton venv` or `make triton-venv`, or name one in {VARIABLE}"
    if not python.exists():
        raise BackendError(f"{folder}: no Triton environment; {advice}")
    found = subprocess.run([str(python), "-c", _FACTS], capture_output=True, text=True, env=_bare())
    if found.returncode:
        raise BackendError(f"{python}: does not run ({found.stderr.strip()[-200:]}); {advice}")
    facts = json.loads(found.stdout)
    missing = [name for name in ("pytriton", "numpy", "onnxruntime", "pysam") if name not in facts["held"]]
    if missing:
        raise BackendError(f"{folder}: has no {missing[0]}; {advice}")
    if int(facts["numpy"].split(".")[0]) >= 2:
        raise BackendError(
            f"{folder}: has NumPy {facts['numpy']}, with which Triton {SERVER_VERSION} answers with empty tensors; "
            f"NumPy 1 is needed, {advice}"
        )
    version = (facts["version"][0], facts["version"][1])
    if version != sys.version_info[:2]:
        raise BackendError(
            f"{folder}: is of Python {version[0]}.{version[1]}, this package runs in {sys.version_info[0]}."
            f"{sys.version_info[1]}, and its kernels are compiled for one; {advice}"
        )
    environment = ServerEnvironment(python, Path(facts["site"]), facts["libdir"], version)
    _check_stub(environment, advice)
    return environment


def make_environment(folder: Path | None = None) -> ServerEnvironment:
    """Make the environment with pip: the server's wheel without its requirements, NumPy 1, onnxruntime and pysam.

    Raises
    ------
    BackendError
        If this Python has no such server, or pip fails.
    """
    folder = folder or default_folder()
    if sys.version_info[:2] not in PYTHONS:
        found = ".".join(map(str, sys.version_info[:2]))
        raise BackendError(f"Python {found} has no Triton wheel with NumPy 1; use Python 3.11 or 3.12")
    folder.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        _call([sys.executable, "-m", "venv", "--clear", str(folder)])
        # The wheel's requirements are those of its Python interface; the server needs none of them, and pip says so.
        _call([*pip, "--no-deps", SERVER_WHEEL])
        _call([*pip, "numpy<2", _same("onnxruntime"), _same("pysam")])
    except BackendError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return find_environment(folder)


def _same(package: str) -> str:
    """Pin the release that runs here, so that both sides compute the same bits."""
    try:
        return f"{package}=={metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package


def _bare() -> dict[str, str]:
    dropped = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=_bare())
    if done.returncode:
        raise BackendError(f"`{' '.join(command[:5])} ...` failed: {(done.stderr or done.stdout).strip()[-400:]}")


def _check_stub(environment: ServerEnvironment, advice: str) -> None:
    """Ask the loader first: a stub that lacks a library lets the server wait for ever."""
    for path in (environment.distribution / "bin" / "tritonserver", environment.stub):
        if not path.exists():
            raise BackendError(f"{path}: is missing; {advice}")
    listed = subprocess.run(
        ["ldd", str(environment.stub)], capture_output=True, text=True, env=environment.variables()
    ).stdout
    absent = [line.strip() for line in listed.splitlines() if "not found" in line]
    if absent:
        raise BackendError(f"{environment.stub}: {absent[0]}; {advice}")
