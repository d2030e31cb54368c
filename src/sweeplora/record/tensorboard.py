"""TensorBoard event files of run folders: every number and preview image exactly once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeplora.rundir.files import read_sealed, sealed, write_whole
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsTail

_MEMORY = "tensorboard.json"


class EventFiles:
    """The event files of many runs below one folder, one subfolder per run.

    `tensorboard.json` in the run folder says what was written and how large the event file was then. If a mirror is
    killed between the two writes, the next one truncates the file to that size, so no event appears twice.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix

    def update(self, path: Path, name: str, started: int) -> None:
        """Append what is new in the run folder `path`, shown as `name`; `started` (seconds) goes into the file name."""
        file = self._folder / f"{self._prefix}{name}" / f"events.out.tfevents.{started}.sweeplora"
        memory = _remembered(path, file)
        tail = MetricsTail(RunDir(path).metrics, memory["offset"])
        events = [_scalar(point.step, point.time, point.key, point.value) for point in tail.poll()]
        pictures = [picture for picture in _pictures(path) if picture.name not in memory["pictures"]]
        events += [_image(picture) for picture in pictures]
        if not events:
            return
        memory["offset"] = tail.offset
        memory["pictures"] += [picture.name for picture in pictures]
        memory["size"] = _append(file, memory["size"], events)
        write_whole(path / _MEMORY, json.dumps(sealed(memory)))


def _remembered(path: Path, file: Path) -> dict[str, Any]:
    known = read_sealed(path / _MEMORY) or {}
    if known.get("file") == str(file) and set(known) == {"file", "offset", "size", "pictures"} and file.exists():
        return known
    return {"file": str(file), "offset": 0, "size": 0, "pictures": []}


def _append(file: Path, size: int, events: list[bytes]) -> int:
    """Write events after a file's first `size` bytes; returns its new size. A new file starts with its version."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("r+b" if file.exists() else "x+b") as stream:
        stream.truncate(size)
        stream.seek(size)
        writer = RecordWriter(stream)
        if size == 0:
            writer.write(Event(file_version="brain.Event:2").SerializeToString())
        for event in events:
            writer.write(event)
        stream.flush()
        os.fsync(stream.fileno())
        return stream.tell()


def _scalar(step: int, when: float, key: str, value: float) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    summary = Summary(value=[Summary.Value(tag=key, simple_value=value)])
    encoded: bytes = Event(step=step, wall_time=when, summary=summary).SerializeToString()
    return encoded


def _image(picture: Path) -> bytes:
    from PIL import Image
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    step, _, index = picture.stem.partition("_")
    with Image.open(picture) as image:
        width, height = image.size
    shown = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=picture.read_bytes())
    summary = Summary(value=[Summary.Value(tag=f"samples/{index}", image=shown)])
    event = Event(step=int(step), wall_time=picture.stat().st_mtime, summary=summary)
    encoded: bytes = event.SerializeToString()
    return encoded


def _pictures(path: Path) -> Iterator[Path]:
    for picture in sorted(RunDir(path).samples.glob("*.png")):
        if not picture.name.startswith("."):
            yield picture
