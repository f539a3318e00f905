"""Pages that need nothing else: one HTML file, its script and style inside; the only door to Jinja2."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from .. import __version__


def render_page(name: str, content: Mapping[str, Any], *, styles: Sequence[str] = ("report",), **context: Any) -> str:
    """Return a page: text made safe by Jinja2, data as JSON, script and style allowed by their hashes alone.

    Parameters
    ----------
    name : str
        ``NAME.html``, inside ``base.html``, and ``NAME.js``, behind ``common.js``, of the folder ``template``.
    content : mapping
        What the script draws, as JSON values without NaN.
    styles : sequence of str
        Names of style sheets of that folder, in their order.
    context
        What the template writes.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    style, script = "".join(_part(f"{one}.css") for one in styles), "".join(map(_part, ("common.js", f"{name}.js")))
    policy = (
        f"default-src 'none'; script-src {_allowed(script)}; style-src {_allowed(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_part)
    )
    # In a script element nothing but `<` can end it or open a comment.
    data = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return environment.get_template(f"{name}.html").render(
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        data=Markup(data),
        version=__version__,
        **context,
    )


def _allowed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _part(name: str) -> str:
    return files(__package__).joinpath("template", name).read_text(encoding="utf-8")
