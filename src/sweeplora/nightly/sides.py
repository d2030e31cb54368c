"""What a night knows of each of its configurations, kept in its folder, so that it can become a baseline later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sweeplora.errors import UserError
from sweeplora.nightly.evidence import Evidence, read_evidence
from sweeplora.nightly.folder import NightFolder
from sweeplora.nightly.key import Key
from sweeplora.nightly.plan import Training
from sweeplora.nightly.surroundings import Surroundings
from sweeplora.nightly.trials import records_of
from sweeplora.rundir.files import read_sealed, sealed, write_json


@dataclass(frozen=True)
class KnownSide:
    """One configuration of a night: its key, what it ran on, its resolved settings, and what it measured."""

    key: Key
    surroundings: Surroundings
    config: Mapping[str, str]
    evidence: Evidence


def write_sides(night: NightFolder, sides: Sequence[KnownSide], trainings: Sequence[Training], canary: int) -> None:
    """Keep all but the measurements, which are in the run folders."""
    content = {
        side.key.configuration: {
            "key": asdict(side.key),
            "surroundings": asdict(side.surroundings),
            "config": dict(side.config),
            "trainings": [
                [one.number, one.seed, one.again] for one in trainings if one.configuration == side.key.configuration
            ],
        }
        for side in sides
    }
    write_json(night.sides, sealed({"canary_seed": canary, "sides": content}))


def read_sides(night: NightFolder) -> dict[str, KnownSide]:
    """Every configuration of a night by its name. Raises UserError if the night did not keep them."""
    content = read_sealed(night.sides)
    if content is None:
        raise UserError("night", night.path.name, f"{night.sides.name} is gone or damaged; train the night again")
    records = records_of(night.path)
    found = {}
    for name, kept in content["sides"].items():
        trainings = [Training(number, name, seed, (), again) for number, seed, again in kept["trainings"]]
        evidence = read_evidence(trainings, records, content["canary_seed"])
        found[name] = KnownSide(Key(**kept["key"]), Surroundings(**kept["surroundings"]), kept["config"], evidence)
    return found
