"""Imports, read with ``ast``: they point only downwards, and each heavy dependency has its doors."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Set
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import borzoi_rt

PACKAGE = Path(borzoi_rt.__file__).parent

# From the ground up. A module may import from its own room and from rooms below; a room is a module or a folder.
ROOMS = (
    ("errors", "types", "html", "closing", "_kernels"),
    ("reading", "plain", "drafts"),
    ("sequence", "selection", "targets", "published"),
    ("tracks", "genome"),
    ("squash",),
    ("motifs", "bundle"),
    ("manifest", "backends", "dataset"),
    ("engine",),
    ("scoring", "promoter", "evaluation"),
    ("tables",),
    ("report",),
    ("runs", "results"),
    ("explain",),
    ("inside",),
    ("surrogates", "examples"),
    ("concepts",),
    ("model",),
    ("demo", "serving"),
    ("cli",),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}

# Import root -> files (or folders) that may import it. Everything else is NumPy or the standard library.
DOORS = {
    "onnxruntime": ("backends/runtime.py",),
    "tritonclient": ("backends/triton.py",),
    "google": ("backends/triton.py",),
    "onnx": ("serving/graphs.py",),
    "triton_python_backend_utils": ("serving/answering.py",),
    "pysam": ("genome/fasta.py", "genome/lines.py", "genome/vcf_copy.py"),
    "pybigtools": ("genome/bigwig.py",),
    "ray": ("runs/ray.py",),
    "pyarrow": (
        "runs/",
        "tables/",
        "results/",
        "explain/result.py",
        "explain/kept.py",
        "explain/plan.py",
        "explain/motif_tables.py",
        "inside/tables.py",
        "dataset/arrow.py",
    ),
    "h5py": ("tables/", "explain/attr_file.py", "inside/tables.py"),
    "matplotlib": ("report/style.py", "report/inside.py"),
    "jinja2": ("report/pages.py",),
    "markupsafe": ("report/pages.py",),
    "pyfftw": ("promoter/fftw.py",),
    "faiss": ("examples/neighbours.py",),
    "sklearn": ("surrogates/models.py",),
    "scipy": ("concepts/chance.py",),
    "lightmotif": ("motifs/scan.py",),
    "click": ("cli/",),
    "rich": ("cli/",),
}

FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


EXPORT = PACKAGE.parent / "export"
EXPORT_FILES = sorted(path.relative_to(EXPORT).as_posix() for path in EXPORT.rglob("*.py"))


def module_name(file: str) -> str:
    """Return ``genome.fasta`` for ``genome/fasta.py``, ``genome`` for ``genome/__init__.py``, nothing for the root."""
    return file.removesuffix(".py").removesuffix("__init__").rstrip("/").replace("/", ".")


MODULES = {module_name(file) for file in FILES} | {"_kernels.onehot", "_kernels.squash"}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(
    file: str, *, top_level_only: bool = False, root: Path = PACKAGE, modules: Set[str] = MODULES
) -> Iterator[str]:
    """Yield what a file imports, modules of ours as ``.genome.fasta``; not what only type checkers read."""
    package = ["", *module_name(file).split(".")]
    if not file.endswith("__init__.py"):
        package.pop()
    nodes: list[ast.AST] = [ast.parse((root / file).read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if is_type_checking(node) or (top_level_only and isinstance(node, ast.FunctionDef | ast.ClassDef)):
            continue
        nodes.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module)
        elif isinstance(node, ast.ImportFrom):
            base = [part for part in package[: len(package) - node.level + 1] if part]
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                name = ".".join([*base, alias.name])
                yield "." + (name if name in modules else ".".join(base))


def internal(file: str, *, top_level_only: bool = False) -> set[str]:
    return {name[1:] for name in imports(file, top_level_only=top_level_only) if name.startswith(".")}


def test_the_reader_sees_imports_of_every_form():
    """What the tests below rest on: plain, relative, of a module as a name, and inside functions."""
    assert {"sys", "click"} <= set(imports("cli/__init__.py"))
    assert {"_kernels.onehot", "errors", "types"} == internal("sequence.py")
    assert {"genome.fasta", "bundle.manifest", "errors"} <= internal("engine/alleles.py")
    assert "onnxruntime" in set(imports("backends/runtime.py"))
    assert "onnxruntime" not in set(imports("backends/runtime.py", top_level_only=True))
    assert "tracks" not in internal("squash.py")


@pytest.mark.parametrize("file", [file for file in FILES if file != "__init__.py"])
def test_imports_point_downwards(file):
    room = module_name(file).split(".")[0]
    assert room in LEVEL, f"{file}: give the room {room!r} its level in ROOMS"
    for name in internal(file):
        other = name.split(".")[0]
        # The package itself gives its version, which costs nothing.
        assert other in ("", room) or LEVEL[other] < LEVEL[room], f"{file} imports {name}"


def test_the_facade_imports_nothing_of_ours():
    assert internal("__init__.py") == set()
    assert {name.split(".")[0] for name in imports("__init__.py")} == {"__future__", "importlib", "typing"}


def test_no_module_needs_itself_to_be_imported():
    edges = {module_name(file): internal(file, top_level_only=True) - {module_name(file)} for file in FILES}
    # A sub-package is run before its modules, so that what it imports of them must not come back.
    TopologicalSorter(edges).prepare()


@pytest.mark.skipif(not EXPORT_FILES, reason="an installed package: the torch world lies elsewhere")
def test_the_torch_world_has_no_circle():
    """Imports inside functions count: none of them is there to hide a circle."""
    modules = {module_name(file) for file in EXPORT_FILES}
    edges = {}
    for file in EXPORT_FILES:
        found = imports(file, root=EXPORT, modules=modules)
        edges[module_name(file)] = {name[1:] for name in found if name.startswith(".")} - {module_name(file)}
    assert "models.borzoi" in edges["graphs.exact"]  # the reader sees them
    TopologicalSorter(edges).prepare()


@pytest.mark.parametrize("file", FILES)
def test_heavy_dependencies_come_through_their_doors(file):
    roots = {name.split(".")[0] for name in imports(file) if not name.startswith(".")}
    for root in roots - sys.stdlib_module_names - {"numpy"}:
        doors = DOORS.get(root, ())
        assert any(file == door or (door.endswith("/") and file.startswith(door)) for door in doors), (
            f"{file} imports {root}; its doors are {doors or 'none'}"
        )


@pytest.mark.parametrize("root", sorted(DOORS))
def test_no_door_stands_open_unused(root):
    """A file that no longer imports the dependency loses the right to; rooms that are not built yet keep theirs."""
    users = {file for file in FILES for name in imports(file) if name.split(".")[0] == root}
    for door in DOORS[root]:
        if any(file.startswith(door) for file in FILES):
            assert any(file.startswith(door) for file in users), f"{door} does not import {root}"


@pytest.mark.parametrize("file", FILES)
def test_the_torch_world_is_named_in_one_place(file):
    """No import of ``borzoi_export`` or torch, by ``import_module`` neither; commands and one method are looked up."""
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None
    }
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    named = {
        str(node.value)
        for node in strings
        if node not in docstrings and str(node.value).split(".")[0] in ("borzoi_export", "torch")
    }
    allowed = {
        "borzoi_export.cli",
        "borzoi_export.cli_get",
        "borzoi_export.cli_train",
        "borzoi_export.promoter.cli",
        "torch",
    }
    expected = {
        "cli/_commands.py": allowed - {"torch"},
        "cli/_extras.py": {"borzoi_export", "torch"},
        "explain/secants.py": {"borzoi_export.deeplift", "torch"},
    }
    assert named == expected.get(file, set())
