"""A page opened in a headless browser, where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def opened(page: Path) -> tuple[str, str, list[str]]:
    """Open a page in Chromium: the document it becomes, what is said, and what is asked of the network for it."""
    log = page.with_name("net.json")
    options = (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
        *("--enable-logging=stderr", f"--user-data-dir={page.parent / 'profile'}", f"--log-net-log={log}"),
    )
    ended = subprocess.run(
        [str(CHROMIUM), *options, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    of_pages = [text for text in log.read_text(errors="replace").splitlines() if "{site=file://" in text]
    asked = [found[1] for text in of_pages if (found := re.search(r'"url":"((?:http|ws)s?:[^"]*)"', text))]
    return ended.stdout, ended.stderr, asked
