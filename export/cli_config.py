"""``--config FILE`` of the commands that train: every option can stand in it, and a run saves its own."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from borzoi_rt.errors import BackendError, FormatError

_NO_KEYS = ("config", "help", "verbose")  # of the call, not of the run
_NOT_SAVED = (*_NO_KEYS, "resume")
_META = "borzoi_rt.other_keys"


def config_option(others: Sequence[str] = (), *, about: str = "") -> Callable[[Any], Any]:
    """Return the option ``--config``; what stands on the command line wins over the file.

    Parameters
    ----------
    others : sequence of str
        Keys that are no options; :func:`other_keys` gives their values to the command.
    about : str
        What these are, for the help.
    """

    def load(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
        if path is not None:
            context.default_map, context.meta[_META] = _sorted(read_config(path), context.command, others, str(path))

    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=load,
        help=f"YAML or JSON file of these options{about}; the command line wins. A run saves its own as "
        "OUT/run.yaml  [default: none].",
    )


def other_keys() -> dict[str, Any]:
    """Return what the file of ``--config`` holds beside options."""
    return dict(click.get_current_context().meta.get(_META, {}))


def resolved(**found: Any) -> dict[str, Any]:
    """Return the options of the command that runs, by the names they have in a file.

    Parameters
    ----------
    **found
        Values by parameter, where the command line gave none and something else decided.
    """
    context = click.get_current_context()
    values = {**context.params, **{name: value for name, value in found.items() if name in context.params}}
    saved = {
        _key(parameter): _plain(values[parameter.name])
        for parameter in context.command.params
        if parameter.name in values and _key(parameter) not in _NOT_SAVED
    }
    return {key: value for key, value in saved.items() if value not in (None, [])} | other_keys()


def read_config(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON mapping.

    Raises
    ------
    FormatError
        If it is missing, damaged, no mapping, or names a key twice.
    BackendError
        If YAML cannot be read for lack of a package.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text, object_pairs_hook=_once) if path.suffix == ".json" else _yaml(text)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path}: holds {type(values).__name__}; `option: value` lines are needed")
    return values


def _sorted(
    values: Mapping[Any, Any], command: click.Command, others: Sequence[str], source: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return options by the name of their parameter, and the other keys."""
    known = {
        name.removeprefix("--"): parameter
        for parameter in command.params
        if _key(parameter) not in _NO_KEYS
        for name in parameter.opts
        if name.startswith("--")
    }
    found: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("_", "-")
        if name in known:
            parameter = known[name]
            if parameter.name in found:
                raise FormatError(f"{source}: {key!r} is given twice, under two spellings")
            if value is not None:
                found[str(parameter.name)] = _value(parameter, value, f"{source}: {key}")
        elif str(key).replace("-", "_") in others:
            rest[str(key).replace("-", "_")] = value
        else:
            near = difflib.get_close_matches(name, [*known, *others], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted([*known, *others]))}"
            raise FormatError(f"{source}: unknown key {key!r}; {hint}")
    return found, rest


def _value(parameter: click.Parameter, value: Any, where: str) -> Any:
    """Return a value in the form that the command line would give it."""
    if parameter.multiple:
        return [_scalar(item, where) for item in (value if isinstance(value, list) else [value])]
    if isinstance(parameter, click.Option) and parameter.is_flag:
        if not isinstance(value, bool):
            raise FormatError(f"{where} is {value!r}; true or false is needed")
        return value
    return _scalar(value, where)


def _scalar(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise FormatError(f"{where} is {value!r}; one word or number is needed")
    return str(value)


def _key(parameter: click.Parameter) -> str:
    return next(name for name in parameter.opts if name.startswith("--")).removeprefix("--")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, str) and "/" in value and Path(value).exists():
        return str(Path(value).absolute())
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise BackendError("a YAML file needs pyyaml; pip install 'borzoi-rt[train]', or write JSON") from error

    class Once(yaml.SafeLoader):
        """Plain values; a key that is given twice is an error."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            return _once([(self.construct_object(k, True), self.construct_object(v, True)) for k, v in node.value])

    try:
        return yaml.load(text, Loader=Once)  # a safe loader
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        raise ValueError(error) from error


def _once(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ValueError(f"key {twice!r} is given twice")
    return dict(pairs)
