"""The published weights of the Borzoi family by name, as data: where they lie and how they must be exported.

Rows were checked in their sources: the README of ``calico/borzoi``, that of ``extensions/prime`` in
``calico/borzoi-paper``, and that of ``johahi/borzoi-pytorch`` name the addresses. That targets of Borzoi and of Borzoi
Prime were squashed by the *old* formulas is said by an author in ``calico/borzoi#58``. Flashzoi keeps the head of
Borzoi and was trained on from it (``finetuning.py`` of ``johahi/training-borzoi``), hence on the same scale. No source
gives hashes, so none are here: a bundle records the hash of what was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from .errors import InputError

DOWNLOAD = "about 0.7 GB"  # 176 to 186 million weights in float32, counted and not measured
HUB = "https://huggingface.co"
STORAGE = "https://storage.googleapis.com/seqnn-share"
_GITHUB = "https://raw.githubusercontent.com/calico"
_TARGETS = {
    "borzoi": f"{_GITHUB}/borzoi/main/examples/targets_{{}}.txt",
    "prime": f"{_GITHUB}/borzoi-paper/main/extensions/prime/examples/targets_{{}}.txt",
}
_PARAMS = {
    "borzoi": f"{STORAGE}/borzoi/params.json",
    "prime": f"{_GITHUB}/borzoi-paper/main/extensions/prime/examples/params.json",
}
_TRACKS = {"borzoi": {"human": 7611, "mouse": 2608}, "prime": {"human": 5431, "mouse": 1774}}
_BINS = {"borzoi": (6144, 32), "prime": (12288, 16)}
_MIT = "MIT, as the Flashzoi paper (doi:10.1093/bioinformatics/btaf467) is quoted; see the repository's page"
_PORT = "not found for the weights; ported with permission, says borzoi-pytorch"
_CALICO = "not found for the weights; the code beside them is Apache-2.0"


@dataclass(frozen=True)
class Published:
    """Weights that can be had by name.

    Attributes
    ----------
    name : str
        What ``borzoi-rt get`` calls them.
    family : str
        ``Borzoi``, ``Flashzoi`` or ``Borzoi Prime``.
    head : str
        Genome of the head: ``human`` or ``mouse``.
    repository : str or None
        Hugging Face repository id; None where the weights are Calico's Keras files.
    files : dict of str to str
        Name of each other file -> its address: the targets table, and for Calico's the weights and the params.
    squash : str
        How the training targets were squashed, a kind of :data:`borzoi_rt.squash.KINDS`.
    tracks, bins, bin_size_bp : int
        Outputs of the head.
    licence : str
        What the source says.
    """

    name: str
    family: str
    head: str
    repository: str | None
    files: dict[str, str]
    squash: str
    tracks: int
    bins: int
    bin_size_bp: int
    licence: str

    @property
    def source(self) -> str:
        """Return where the weights lie."""
        return self.repository or self.files[self.weights]

    @property
    def weights(self) -> str:
        """Return the name of the file of weights."""
        return "model.safetensors" if self.repository else f"model{int(self.head == 'mouse')}_best.h5"

    @property
    def targets(self) -> str:
        """Return the name of the targets table."""
        return f"targets_{self.head}.txt"

    def addresses(self) -> dict[str, str]:
        """Return name -> address of every file that an export needs, for somebody who fetches them by hand."""
        hub = {
            name: f"{HUB}/{self.repository}/resolve/main/{name}"
            for name in ("model.safetensors", "config.json")
            if self.repository
        }
        return {**hub, **self.files}


def _of(name: str, kind: str, head: str, *, repository: str | None, weights: str | None, licence: str) -> Published:
    family = {"borzoi": "Borzoi", "flashzoi": "Flashzoi", "prime": "Borzoi Prime"}[kind]
    grid = "prime" if kind == "prime" else "borzoi"
    files = {f"targets_{head}.txt": _TARGETS[grid].format(head)}
    if weights is not None:
        files = {f"model{int(head == 'mouse')}_best.h5": weights, "params.json": _PARAMS[grid], **files}
    bins, size = _BINS[grid]
    return Published(name, family, head, repository, files, "old", _TRACKS[grid][head], bins, size, licence)


def _all() -> list[Published]:
    found = []
    for head in ("human", "mouse"):
        tail = "" if head == "human" else "-mouse"
        for number in range(4):
            port = f"johahi/borzoi-replicate-{number}{tail}"
            found.append(
                _of(f"borzoi-{number}{tail}", "borzoi", head, repository=port, weights=None, licence=_MIT),
            )
    for number in range(4):
        port = f"johahi/flashzoi-replicate-{number}"
        found.append(_of(f"flashzoi-{number}", "flashzoi", "human", repository=port, weights=None, licence=_MIT))
    for number in range(4):
        port = f"johahi/borzoi-prime-replicate-{number}"
        found.append(_of(f"prime-{number}", "prime", "human", repository=port, weights=None, licence=_PORT))
    for kind, folder in (("borzoi", "borzoi/f{}"), ("prime", "prime/rep{}")):
        for head in ("human", "mouse"):
            tail = "" if head == "human" else "-mouse"
            for number in range(4):
                weights = f"{STORAGE}/{folder.format(number)}/model{int(head == 'mouse')}_best.h5"
                name = f"{kind}-calico-{number}{tail}"
                found.append(_of(name, kind, head, repository=None, weights=weights, licence=_CALICO))
    return found


PUBLISHED = {entry.name: entry for entry in _all()}


def published(name: str) -> Published:
    """Return the published weights of a name.

    Raises
    ------
    InputError
        If there are none.
    """
    if name not in PUBLISHED:
        near = get_close_matches(name, PUBLISHED, n=3)
        raise InputError(
            f"no published weights are called {name!r}; "
            + (f"near it: {', '.join(near)}; " if near else "")
            + "`borzoi-rt models` lists all"
        )
    return PUBLISHED[name]
