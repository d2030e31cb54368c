"""An experiment: the configuration that a command line composes to, and what the check derives from it."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweeplora.errors import UserError, UserErrors


def yaml_text(config: Mapping[str, Any]) -> str:
    """A resolved configuration as in config.yaml: as OmegaConf.to_yaml writes it, but `${` in a text stays as it is."""
    import yaml
    from omegaconf._utils import get_omega_conf_dumper

    return str(
        yaml.dump(config, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=get_omega_conf_dumper())
    )


@dataclass(frozen=True)
class Configuration:
    """A composed configuration, not checked yet.

    `config` is plain resolved data, `overrides` the command line's words that led to it. A missing value is "???": a
    sweep may propose it. `notices`: one line for each thing that works but deserves attention.
    """

    config: dict[str, Any]
    overrides: tuple[str, ...]
    notices: tuple[str, ...]

    @functools.cached_property
    def yaml(self) -> str:
        """The configuration as the text stored in a run folder; written when it is first asked for."""
        return yaml_text(self.config)


class NotComposed(UserErrors):
    """Words that do not compose; `rest` is the configuration without them, which may have further errors."""

    def __init__(self, errors: Sequence[UserError], rest: Configuration) -> None:
        super().__init__(errors)
        self.rest = rest


@dataclass(frozen=True)
class Experiment(Configuration):
    """A checked configuration that can run.

    `signature` identifies the experiment: same signature, same result. It covers the configuration, `contents` (content
    hashes by dotted key) and `code` (the hash of the source and the versions of the libraries). `steps` counts
    optimizer steps, `steps_per_epoch` those of a whole epoch, and `arithmetic` explains the count in one line.
    `validates`: images are held out.
    """

    signature: str
    contents: Mapping[str, str]
    code: Mapping[str, str]
    steps: int
    arithmetic: str
    validates: bool
    steps_per_epoch: int

    def last_due(self, every_epochs: int, every_steps: int) -> int:
        """The last step before the end at which something is due that often (0: never by that count); 0 if none."""
        due = steps_due(self.steps, self.steps_per_epoch, every_epochs, every_steps)
        return max((one[-1] for one in due if one), default=0)


def steps_due(steps: int, steps_per_epoch: int, every_epochs: int, every_steps: int) -> tuple[range, ...]:
    """The steps before the last one, `steps`, at which something is due after so many epochs, and steps; 0: never."""
    return tuple(range(every, steps, every) for every in (every_epochs * steps_per_epoch, every_steps) if every)


class Group(Mapping[str, Any]):
    """One config group, frozen and hashable, so that it can be a cache key; compared by its JSON text.

    1, 1.0 and true are equal in Python but differ in JSON, so groups that differ in them are different keys.
    """

    __slots__ = ("_content", "_text")

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = dict(content)
        self._text = json.dumps(self._content)

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Group({self._text})"


class Bucket(NamedTuple):
    """A bucket in an epoch: width and height in pixels, uses of images, and the batches they make."""

    width: int
    height: int
    uses: int
    batches: int


@dataclass(frozen=True)
class Memory:
    """Bytes that one process of a training holds; None is not known. What passes through (activations) is not in it.

    `base`: what stays of the frozen model. `encoding`: VAE and text encoders, while images and captions are encoded
    before the first step. `trained`: the network's weights and gradients. `optimizer`: the optimizer's state.
    """

    base: int
    encoding: int
    trained: int | None
    optimizer: int | None


@dataclass(frozen=True)
class Disk:
    """Bytes that one training writes; None is not known.

    `weights`: one weights file, of which `files` are kept. `state`: what it goes on from. `previews`: all preview
    images, at most. `caches`: latents and text outputs, once for all trainings on the same data.
    """

    weights: int | None
    files: int
    state: int | None
    previews: int
    caches: int

    @property
    def of_a_run(self) -> int:
        """What stays of one training, without its state: what is known of it."""
        return (self.weights or 0) * self.files + self.previews


@dataclass(frozen=True)
class Outlook:
    """What an experiment will take, counted before anything starts.

    `images` are different files, `uses` with their repeats, in an epoch. `parameters`: trained numbers, None if not
    known. `prompts`: the preview images of each process, drawn `drawings` times.
    """

    images: int
    uses: int
    buckets: tuple[Bucket, ...]
    batch_size: int
    accumulation: int
    steps_per_epoch: int
    epochs: int
    steps: int
    processes: int
    parameters: int | None
    memory: Memory
    disk: Disk
    prompts: tuple[int, ...]
    drawings: int
