"""Calico's training files (``tfrecords/{split}-{number}.tfr``), read without TensorFlow.

A file is one zlib stream of TFRecord frames: length (uint64), its checksum (4 bytes), payload, checksum (4 bytes), all
little-endian. The checksums are not compared: zlib's own, at the end of the stream, covers every byte. The payload is a
protocol buffer, ``tf.train.Example``, with the features ``sequence`` (uint8) and ``target`` (float16, bins x tracks).
The 8 bytes of an empty stream are a file without records, which the reference's writer can leave behind.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import FormatError
from .window import UNKNOWN, Window

_CHUNK_BYTES = 1 << 20
_MAX_FRAME_BYTES = 1 << 31
_SPARE_BYTES = 1 << 20
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# The reference mixes 4 files and shuffles in a buffer of 256 windows; the published window has 94 MB of targets.
INTERLEAVED_FILES = 4
BUFFER_WINDOWS = 256
BUFFER_BYTES = 1 << 30


class TFRecordSplit:
    """The files of one split, in order.

    Parameters
    ----------
    paths : sequence of Path
        Files in natural order.
    windows : int
        Number of records that statistics.json promises.
    length, tracks, bins : int
        Sizes of one record.
    indexed : bool
        Bases are stored as codes, else as one-hot rows of four.
    """

    def __init__(
        self, paths: Sequence[Path], windows: int, *, length: int, tracks: int, bins: int, indexed: bool = True
    ) -> None:
        self._paths = tuple(paths)
        self._windows = windows
        self._length, self._tracks, self._bins, self._indexed = length, tracks, bins, indexed

    def __len__(self) -> int:
        return self._windows

    def in_order(self) -> Iterator[Window]:
        """Yield every window in the order of sequences.bed.

        Raises
        ------
        FormatError
            If a file is damaged, or there are more or fewer records than promised.
        """
        count = 0
        for path in self._paths:
            for window in self._read(path):
                count += 1
                yield window
        self._check_count(count)

    def shuffled(self, seed: Sequence[int], wanted: Callable[[int], bool] | None = None) -> Iterator[Window]:
        """Yield every window once, in an order that ``seed`` fixes: mixed files, then a shuffle buffer.

        A stream cannot skip: windows that are not wanted are read all the same.
        """
        for index, window in enumerate(self._mixed(np.random.default_rng(list(seed)))):
            if wanted is None or wanted(index):
                yield window

    def _mixed(self, generator: np.random.Generator) -> Iterator[Window]:
        size = max(2, min(BUFFER_WINDOWS, BUFFER_BYTES // (2 * self._tracks * self._bins + self._length)))
        buffer: list[Window] = []
        count = 0
        for window in self._interleaved(generator):
            count += 1
            buffer.append(window)
            if len(buffer) == size:
                yield _take(buffer, generator)
        self._check_count(count)
        while buffer:
            yield _take(buffer, generator)

    def _interleaved(self, generator: np.random.Generator) -> Iterator[Window]:
        waiting = [self._paths[index] for index in generator.permutation(len(self._paths))]
        running: list[Iterator[Window]] = []
        while waiting or running:
            while waiting and len(running) < INTERLEAVED_FILES:
                running.append(self._read(waiting.pop(0)))
            for source in list(running):
                window = next(source, None)
                if window is None:
                    running.remove(source)
                else:
                    yield window

    def _read(self, path: Path) -> Iterator[Window]:
        # Twice what is needed: other features may stand beside the two.
        largest = _SPARE_BYTES + 2 * (4 * self._length + 2 * self._tracks * self._bins)
        for number, payload in enumerate(read_frames(path, largest)):
            try:
                features = read_example(payload)
                yield self._window(features)
            except (ValueError, IndexError, KeyError) as error:
                reason = f"no feature {error}" if isinstance(error, KeyError) else str(error)
                raise FormatError(f"{path}, record {number}: {reason}") from error

    def _window(self, features: dict[str, bytes]) -> Window:
        codes = np.frombuffer(features["sequence"], dtype=np.uint8)
        width = 1 if self._indexed else 4
        if codes.size != width * self._length:
            raise ValueError(f"sequence has {codes.size} bytes; statistics.json gives {width * self._length}")
        if not self._indexed:
            rows = codes.reshape(self._length, 4)
            codes = np.where(rows.any(axis=1), rows.argmax(axis=1), UNKNOWN).astype(np.uint8)
        if codes.size and codes.max() > UNKNOWN:
            raise ValueError(f"base code {int(codes.max())}; 0 to 4 are allowed")
        target = np.frombuffer(features["target"], dtype="<f2")
        if target.size != self._tracks * self._bins:
            raise ValueError(
                f"target has {target.size} values; {self._bins} bins x {self._tracks} tracks of statistics.json are "
                f"{self._tracks * self._bins}"
            )
        return Window(codes, target.reshape(self._bins, self._tracks).T)

    def _check_count(self, count: int) -> None:
        if count != self._windows:
            first = self._paths[0].name if self._paths else "no file"
            raise FormatError(
                f"{count} windows in {len(self._paths)} files ({first}, ...), statistics.json says {self._windows}; "
                "a file is missing or was cut short, copy the data again"
            )


def read_frames(path: Path, largest: int = _MAX_FRAME_BYTES) -> Iterator[bytes]:
    """Yield the payload of every frame, of up to ``largest`` bytes each.

    Raises
    ------
    FormatError
        If the stream is damaged or ends inside a frame.
    """
    stream = _Inflated(path)
    while header := stream.read(12, or_end=True):
        length = int.from_bytes(header[:8], "little")
        if length > largest:
            raise FormatError(
                f"{path}: a record of {length} bytes; at most {largest} are expected, this is no zlib-compressed "
                "TFRecord file of these data"
            )
        payload = stream.read(length)
        stream.read(4)
        yield payload


class _Inflated:
    """A zlib stream with ``read``; holds little more than what was asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._inflate = zlib.decompressobj()
        self._held = bytearray()

    def read(self, count: int, *, or_end: bool = False) -> bytes:
        """Return exactly ``count`` bytes; with ``or_end`` none at the end of the stream."""
        while len(self._held) < count and not self._inflate.eof:
            raw = self._inflate.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            if not raw:
                raise FormatError(f"{self._path}: the zlib stream is cut short; copy the file again")
            try:
                self._held += self._inflate.decompress(raw, 4 * _CHUNK_BYTES)
            except zlib.error as error:
                raise FormatError(f"{self._path}: not a zlib stream, or damaged ({error})") from error
        if self._inflate.eof and len(self._held) < count:
            self._file.close()
            if or_end and not self._held:
                return b""
            raise FormatError(f"{self._path}: ends inside a record; copy the file again")
        found = bytes(self._held[:count])
        del self._held[:count]
        return found


def read_example(payload: bytes) -> dict[str, bytes]:
    """Return the byte features of a serialised ``tf.train.Example`` by name.

    Raises
    ------
    ValueError, IndexError
        If the bytes are no such message.
    """
    features = {}
    for field, features_message in _fields(memoryview(payload)):
        if field != 1:
            continue
        for _, entry in _fields(features_message):
            parts = dict(_fields(entry))
            for kind, values in _fields(parts[2]):
                if kind == 1:  # bytes_list
                    features[bytes(parts[1]).decode()] = b"".join(bytes(value) for _, value in _fields(values))
    return features


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and bytes of every length-delimited field of a protocol buffer; others are passed over."""
    offset = 0
    while offset < len(message):
        key, offset = _varint(message, offset)
        kind = key & 7
        if kind == _BYTES:
            size, offset = _varint(message, offset)
            if offset + size > len(message):
                raise ValueError("the record is no tf.train.Example: a field is longer than its message")
            yield key >> 3, message[offset : offset + size]
            offset += size
        elif kind == _VARINT:
            _, offset = _varint(message, offset)
        elif kind in (_FIXED32, _FIXED64):
            offset += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"the record is no tf.train.Example: wire type {kind}")


def _varint(message: memoryview, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[offset]
        offset += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, offset
        shift += 7
        if shift > 63:
            raise ValueError("the record is no tf.train.Example: a number of more than 64 bits")


def _take(buffer: list[Window], generator: np.random.Generator) -> Window:
    index = int(generator.integers(len(buffer)))
    buffer[index], buffer[-1] = buffer[-1], buffer[index]
    return buffer.pop()
