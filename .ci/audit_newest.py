"""Known faults by the package index alone, where it tells them of the newest release of a package and of no other.

Usage: audit_newest.py REQUIREMENTS...; each line NAME==VERSION. Exit 0: nothing found; 1: a fault; 3: the index does
not answer, or knows too few of the packages to say anything.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pip._internal.models.index import PyPI

PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
TIMEOUT_S = 30.0
ENOUGH = 0.5  # share of the packages below which silence would be a false comfort


def asked(package: tuple[str, str]) -> tuple[str, str, list[dict[str, Any]] | None]:
    """Return name, version and faults of a package; None where nothing is known of this version."""
    name, version = package
    try:
        with urllib.request.urlopen(f"{PyPI.pypi_url}/{name}/json", timeout=TIMEOUT_S) as answer:
            document = json.load(answer)
    except (OSError, ValueError):
        return name, version, None
    if document.get("info", {}).get("version") != version.partition("+")[0] or "vulnerabilities" not in document:
        return name, version, None
    return name, version, [item for item in document["vulnerabilities"] if not item.get("withdrawn")]


def main() -> int:
    """Ask for every package and say what was found."""
    text = "\n".join(Path(path).read_text() for path in sys.argv[1:])
    packages = sorted(set(PINNED.findall(text)))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(asked, packages))
    known = [item for item in found if item[2] is not None]
    for name, version, faults in known:
        for fault in faults or ():
            print(f"{name} {version}: {fault.get('id')} {fault.get('summary') or ''}"[:160])
    print(f"audit: the index tells faults of {len(known)} of {len(packages)} packages, those in their newest release")
    if any(faults for _, _, faults in known):
        return 1
    return 0 if len(known) >= ENOUGH * len(packages) else 3


if __name__ == "__main__":
    sys.exit(main())
