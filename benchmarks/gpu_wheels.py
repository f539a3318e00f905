"""Carry Python packages to a machine that reaches no registry and takes small transfers only.

    python -m benchmarks.gpu_wheels pack  --out DIR [--part-mb 48] [--only-sm 90] WHEEL ...
    python -m benchmarks.gpu_wheels install DIR --target SITE

``pack`` writes one compressed archive in parts and a list with their hashes. ``install`` joins what has arrived, checks
it and unpacks the wheels; where parts are missing it names them and ends with 3, so that it can be called after every
transfer. ``--only-sm`` blanks the CUDA code of other cards in every library: onnxruntime-gpu then travels in 60 MB
instead of 256. It uses the standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import lzma
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

LIST = "parts.json"
_FATBIN, _ELF = b"\x50\xed\x55\xba", 2


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("wheels", nargs="+", type=Path)
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--part-mb", type=float, default=48.0)
    packing.add_argument("--only-sm", type=int, help="keep CUDA code for this architecture only, e.g. 90")
    installing = commands.add_parser("install")
    installing.add_argument("folder", type=Path)
    installing.add_argument("--target", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "pack":
        pack(options.wheels, options.out, int(options.part_mb * 2**20), options.only_sm)
    else:
        install(options.folder, options.target)


def pack(wheels: list[Path], out: Path, part_bytes: int, only_sm: int | None = None) -> None:
    """Write the parts of an archive of all wheels, and the list of their hashes."""
    out.mkdir(parents=True, exist_ok=True)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as source:
                for item in (item for item in source.infolist() if not item.is_dir()):
                    content = source.read(item)
                    if only_sm and ".so" in item.filename:
                        content = blank_other_code(content, only_sm)
                    entry = tarfile.TarInfo(item.filename)
                    entry.size, entry.mode = len(content), 0o644
                    archive.addfile(entry, io.BytesIO(content))
    packed = lzma.compress(plain.getvalue())
    parts = []
    for number, start in enumerate(range(0, len(packed), part_bytes)):
        content = packed[start : start + part_bytes]
        name = f"part-{number:03d}"
        (out / name).write_bytes(content)
        parts.append({"name": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)})
    (out / LIST).write_text(json.dumps({"wheels": [wheel.name for wheel in wheels], "parts": parts}, indent=2))
    print(f"{len(parts)} parts, {len(packed) / 2**20:.1f} MB")


def install(folder: Path, target: Path) -> None:
    """Join the parts, check them, and unpack all wheels into ``target``."""
    parts = json.loads((folder / LIST).read_text())["parts"]
    missing = [part["name"] for part in parts if not (folder / part["name"]).exists()]
    if missing:
        print(f"missing: {', '.join(missing)}")
        sys.exit(3)
    packed = b""
    for part in parts:
        content = (folder / part["name"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != part["sha256"]:
            sys.exit(f"{part['name']}: its bytes are not those that were packed")
        packed += content
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(packed))) as archive:
        archive.extractall(target, filter="data")
    print(f"unpacked into {target}")


def blank_other_code(library: bytes, keep: int) -> bytes:
    """Return a library with zeros for CUDA machine code of other architectures than ``keep``.

    A fat binary is a header of 16 bytes (magic, version 1, size of the header, size of the rest) and entries, each with
    its own header: kind (1 PTX, 2 machine code), sizes of header and code, and the architecture at byte 28. The driver
    reads the entry of its card alone. Nothing moves, so all other addresses stay true.
    """
    found = bytearray(library)
    for entries in _fat_binaries(library):
        if any(kind == _ELF and sm == keep for kind, sm, _, _ in entries):
            for kind, sm, start, size in entries:
                if (kind, sm) != (_ELF, keep):
                    found[start : start + size] = bytes(size)
    return bytes(found)


def _fat_binaries(library: bytes) -> Iterator[list[tuple[int, int, int, int]]]:
    """Yield the entries of each fat binary: kind, architecture, first byte and size of the code."""
    start = library.find(_FATBIN)
    while start >= 0:
        version, header, size = struct.unpack_from("<HHQ", library, start + 4)
        end, entries = start + header + size, []
        if version == 1 and header == 16 and end <= len(library):
            position = start + header
            while position < end:
                kind, _, own, length = struct.unpack_from("<HHIQ", library, position)
                (sm,) = struct.unpack_from("<I", library, position + 28)
                entries.append((kind, sm, position + own, length))
                position += own + length
            yield entries
            start = library.find(_FATBIN, end)
        else:
            start = library.find(_FATBIN, start + 4)


if __name__ == "__main__":
    main()
