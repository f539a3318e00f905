"""`borzoi-rt get` against stand-ins: a hub and a storage on this machine, with the published layouts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import toys
from command_line import Cli, check_error
from weight_files import keras_layers, torch_state, write_keras

from borzoi_rt import published
from borzoi_rt.bundle.opening import open_bundle
from borzoi_rt.squash import KINDS

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from safetensors.torch import save_file  # noqa: E402

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Server:
    """Files by the path of their address, and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = 0  # bytes that the end of an answer lacks
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                outer.asked.append(f"{self.command} {self.path}")
                content = outer.files.get(self.path)
                self.send_response(200 if content is not None else 404)
                if content is None:
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_header("Content-Length", str(len(content)))
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.end_headers()
                if body:
                    self.wfile.write(content[: len(content) - outer.cut])

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=served.http.serve_forever, daemon=True)
    thread.start()
    yield served
    served.http.shutdown()
    served.http.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def calico(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Server:
    """The storage of Calico with a toy as borzoi-calico-1-mouse: weights, params with two heads, targets."""
    torch.manual_seed(5)
    state = {name: tensor.numpy() for name, tensor in toys.model().state_dict().items()}
    params = toys.params()
    head = params.pop("head_toy")
    params = {
        "model": {**params, "head_human": {**head, "units": 9}, "head_mouse": head},
        "train": {"batch_size": 2},
    }
    write_keras(tmp_path / "model1_best.h5", keras_layers(state))
    toys.tracks().write(tmp_path / "targets_mouse.txt")
    base = "/seqnn-share/borzoi"
    server.files = {
        f"{base}/f1/model1_best.h5": (tmp_path / "model1_best.h5").read_bytes(),
        f"{base}/params.json": json.dumps(params).encode(),
        "/calico/borzoi/main/examples/targets_mouse.txt": (tmp_path / "targets_mouse.txt").read_bytes(),
    }
    entry = published.PUBLISHED["borzoi-calico-1-mouse"]
    local = {name: f"{server.address}/{address.split('/', 3)[3]}" for name, address in entry.files.items()}
    monkeypatch.setitem(published.PUBLISHED, entry.name, dataclasses.replace(entry, files=local))
    return server


NAME = "borzoi-calico-1-mouse"


def test_calico(cli: Cli, calico: Server, cache: Path, tmp_path: Path) -> None:
    code, out, err = cli("get", NAME, "--out", tmp_path / "b", "--unscale")
    assert code == 0, err
    assert out.splitlines()[-1].startswith(f"{tmp_path / 'b'}: 6 tracks; ")
    assert err.count(": downloading to ") == 3
    info = open_bundle(tmp_path / "b").info
    assert (info.name, info.head, info.squash.kind, info.squash.unscale) == (NAME, "head_mouse", "old", True)
    weights = calico.files["/seqnn-share/borzoi/f1/model1_best.h5"]
    assert info.provenance["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    kept = cache / "borzoi_rt" / "published" / NAME
    assert sorted(path.name for path in kept.iterdir()) == ["model1_best.h5", "params.json", "targets_mouse.txt"]
    calico.asked.clear()
    assert cli("get", NAME, "--out", tmp_path / "c")[0] == 0
    assert calico.asked == [], "the cache is enough"


def test_a_download_that_breaks_leaves_nothing(cli: Cli, calico: Server, cache: Path, tmp_path: Path) -> None:
    calico.cut = 1
    code, out, err = cli("get", NAME, "--out", tmp_path / "b")
    assert (code, out) == (1, "")
    assert "cannot be downloaded" in err
    assert "targets_mouse.txt (about 0.7 GB) into a directory DIR" in err
    assert not list((cache / "borzoi_rt" / "published" / NAME).iterdir())
    assert not (tmp_path / "b").exists()


def test_files_fetched_by_hand(cli: Cli, calico: Server, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for path, content in calico.files.items():
        (folder / path.rpartition("/")[2]).write_bytes(content)
    code, _, err = cli("get", NAME, "--files", folder, "--out", tmp_path / "b")
    assert (code, err, calico.asked) == (0, "", [])
    (folder / "params.json").unlink()
    result = cli("get", NAME, "--files", folder, "--out", tmp_path / "c")
    check_error(result, f"{folder}: lacks params.json. Fetch {calico.address}/seqnn-share/borzoi/params.json into")
    assert "model1_best" not in result[2]


def narrow(tmp_path: Path) -> dict[str, bytes]:
    """A repository of the hub with a narrow network at the published window."""
    torch.manual_seed(43)
    small = toys.config(
        stem_filters=4, tower_widths=(4, 4, 4, 8, 8, 8), key_size=4, depth=1, tail_filters=8, widths_of=4096
    )
    state = {name: tensor.numpy() for name, tensor in toys.model(small).state_dict().items()}
    tensors = {name: torch.from_numpy(values.copy()) for name, values in torch_state(state).items()}
    save_file(tensors, tmp_path / "model.safetensors")
    return {
        "model.safetensors": (tmp_path / "model.safetensors").read_bytes(),
        "config.json": json.dumps({"bins_to_return": 128}).encode(),
    }


def test_hub(server: Server, cache: Path, tmp_path: Path) -> None:
    """The real client of the hub, sent to the stand-in, in a process of its own: it reads the address at import."""
    files = narrow(tmp_path)
    server.files = {f"/johahi/borzoi-replicate-2/resolve/main/{name}": content for name, content in files.items()}
    toys.tracks().write(tmp_path / "human.txt")
    environment = {**os.environ, "HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    words = ["get", "borzoi-2", "--targets", str(tmp_path / "human.txt"), "--out", str(tmp_path / "b")]
    done = subprocess.run(
        [sys.executable, "-m", "borzoi_rt", *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    info = open_bundle(tmp_path / "b").info
    assert (info.name, info.head, info.squash.kind, info.geometry.bins) == ("borzoi-2", "head_human", "old", 128)
    assert info.provenance["source"] == "borzoi-pytorch"
    assert {"model.safetensors", "config.json"} <= {
        line.rpartition("/")[2] for line in server.asked if line.startswith("GET")
    }


def test_offline_says_what_to_fetch_and_where(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    toys.tracks().write(tmp_path / "human.txt")
    result = cli("get", "flashzoi-3", "--targets", tmp_path / "human.txt", "--out", tmp_path / "b")
    code, out, err = result
    assert (code, out) == (1, "")
    error = err.splitlines()[-1]
    base = "https://huggingface.co/johahi/flashzoi-replicate-3/resolve/main"
    assert f"Fetch {base}/model.safetensors and {base}/config.json and https://" in error
    assert error.endswith(
        "(about 0.7 GB) into a directory DIR, then `borzoi-rt get flashzoi-3 --files DIR --out BUNDLE`"
    )


def test_unknown_name(cli: Cli, tmp_path: Path) -> None:
    check_error(
        cli("get", "borzoi-7", "--out", tmp_path / "b"), "no published weights are called 'borzoi-7'; near it: "
    )


def test_the_table() -> None:
    assert len(published.PUBLISHED) == 32
    for name, entry in published.PUBLISHED.items():
        assert (entry.name, entry.squash in KINDS, entry.head in ("human", "mouse")) == (name, True, True)
        assert entry.bins * entry.bin_size_bp == 196_608, "both grids cover the same bases"
        assert ("mouse" in name) == (entry.head == "mouse")
        addresses = entry.addresses()
        assert {entry.weights, entry.targets} <= set(addresses)
        assert all(address.startswith("https://") for address in addresses.values())
        if entry.repository is None:
            assert f"model{int(entry.head == 'mouse')}_best.h5" in addresses
            assert "params.json" in addresses
        else:
            assert entry.repository.startswith("johahi/")
    assert len({entry.source for entry in published.PUBLISHED.values()}) == 32, "no two names for the same weights"


def test_the_list(cli: Cli) -> None:
    code, out, _ = cli("models")
    rows = [line.split("  ")[0] for line in out.split("\n\n")[0].splitlines()[1:]]
    assert (code, rows) == (0, list(published.PUBLISHED))
    parsed = json.loads(cli("models", "--json")[1])
    assert {row["name"]: row["squash"] for row in parsed} == {
        name: entry.squash for name, entry in published.PUBLISHED.items()
    }


@pytest.mark.parametrize(("table", "head"), [("targets_human.txt", "human")])
def test_published_tables_have_the_rows_that_are_said(shared: Path, table: str, head: str) -> None:
    rows = len((shared / "data" / "tables" / table).read_text().splitlines()) - 1
    assert {e.tracks for e in published.PUBLISHED.values() if e.head == head and "prime" not in e.name} == {rows}
