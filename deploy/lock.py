"""Write ``deploy/requirements.lock``: every package of the image with version and hash.

    python deploy/lock.py

Run it in the root of the repository, with a pip that sees the package index; review the difference before it is
committed. The versions are for the Python and the platform of the image, whatever this machine has.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PYTHON = "3.12"  # of the server's container
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Resolve the requirements of the runtime and of its extra ``gpu``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    gpu = (requirement.replace("[cuda,cudnn]", "") for requirement in project["optional-dependencies"]["gpu"])
    wanted = [*project["dependencies"], *gpu]  # the container brings CUDA and cuDNN itself
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += [f"--report={report}", f"--python-version={PYTHON}", "--only-binary=:all:", f"--target={folder}"]
        subprocess.run([*command, *wanted], check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    lines = [f"# Python {PYTHON}, x86-64 Linux; made by deploy/lock.py"]
    for item in sorted(found, key=lambda item: str(item["metadata"]["name"]).lower()):
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{item['metadata']['name']}=={item['metadata']['version']} --hash=sha256:{digest}")
    (ROOT / "deploy" / "requirements.lock").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
