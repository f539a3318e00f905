"""What an import costs, and what the facade offers; each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import borzoi_rt

HEAVY = (
    *("torch", "onnx", "onnxruntime", "pysam", "pandas", "pyarrow", "h5py", "pybigtools"),
    *("click", "rich", "matplotlib", "pyfftw", "tritonclient", "scipy"),
)


def run(code: str) -> str:
    """Run code in a new interpreter that has the paths of this one, and return what it printed."""
    code = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def runtime_modules() -> list[str]:
    root = Path(borzoi_rt.__file__).parent
    files = (path.relative_to(root.parent).with_suffix("") for path in root.rglob("*.py"))
    return sorted(".".join(file.parts).removesuffix(".__init__") for file in files)


def importable(module: str) -> bool:
    """Tell whether the optional dependency of a module is there; its absence is told where it is used."""
    needs = {"borzoi_rt.backends.triton": "tritonclient", "borzoi_rt.promoter.fftw": "pyfftw"}.get(module)
    return needs is None or find_spec(needs) is not None


def test_import_loads_no_heavy_module():
    loaded = run("import borzoi_rt; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert "borzoi_rt" in loaded
    assert not set(HEAVY) & set(loaded)


def test_numpy_and_the_kernels_are_all_that_sequences_squash_and_manifests_cost():
    names = "borzoi_rt.sequence.encode('A'), borzoi_rt.Squash, borzoi_rt.open_bundle, borzoi_rt.TrackTable"
    loaded = run(f"import borzoi_rt; {names}; print(*{{name.partition('.')[0] for name in sys.modules}})").split()
    assert "numpy" in loaded
    assert not set(HEAVY) & set(loaded)


def test_every_runtime_module_is_imported_without_torch():
    modules = [module for module in runtime_modules() if importable(module)]
    assert len(modules) > 25
    # None in sys.modules makes `import torch` fail wherever it stands.
    blocked = "torch", "onnx", "onnxscript", "borzoi_export"
    code = (
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "from importlib import import_module\n"
        f"for name in {modules!r}: import_module(name)\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'onnxruntime'])"
    )
    # onnxruntime is loaded by the first session, so that a missing one is told with its install line.
    assert run(code).strip() == "[]"


@pytest.mark.parametrize("name", sorted(borzoi_rt._HOME))
def test_public_names_are_what_their_modules_define(name):
    """In a fresh interpreter, so that no other import helps; each with a docstring of its own."""
    home = f"borzoi_rt.{borzoi_rt._HOME[name]}"
    found = run(
        f"import borzoi_rt; thing = borzoi_rt.{name}\n"
        "from importlib import import_module\n"
        f"home = import_module({home!r})\n"
        f"print(thing is home.{name}, thing.__module__, bool((thing.__doc__ or '').strip()))"
    )
    assert found.split() == ["True", home, "True"]


def test_dir_lists_the_public_names():
    assert dir(borzoi_rt) == sorted(borzoi_rt.__all__)
    assert len(set(borzoi_rt.__all__)) == len(borzoi_rt.__all__)


def test_type_checkers_see_the_same_names():
    """The block under TYPE_CHECKING repeats the table of homes, module by module."""
    import ast

    tree = ast.parse(Path(borzoi_rt.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname: f"{'borzoi_rt.' + node.module if node.module else 'borzoi_rt'}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted([*seen, "__version__"]) == sorted(borzoi_rt.__all__)
    homes = {name: getattr(borzoi_rt, name).__module__ for name in seen if name != "sequence"}
    assert homes == {name: home for name, home in seen.items() if name != "sequence"}


def test_no_public_name_is_also_a_module():
    """Importing such a module would replace the name (`sequence` is meant to be the module)."""
    top = {module.split(".")[1] for module in runtime_modules() if "." in module}
    assert set(borzoi_rt.__all__) & top == {"sequence"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'borzoi_rt' has no attribute 'score_variant'"):
        borzoi_rt.score_variant  # noqa: B018
    assert not hasattr(borzoi_rt, "torch")
