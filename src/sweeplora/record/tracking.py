"""The tracking settings of conf/tracking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, MinLen

from sweeplora.errors import UserError
from sweeplora.record.provenance.secret import without_credentials


@dataclass(frozen=True)
class Tracking:
    """Where the record goes; the target of conf/tracking."""

    enabled: bool
    uri: Annotated[str, MinLen(1)]
    artifacts: str
    experiment: Annotated[str, MinLen(1)]
    workspace: bool
    workspace_cap_mib: Annotated[float, Gt(0)]
    tensorboard: Annotated[str, MinLen(1)] | None = None  # older run folders have neither of these
    tensorboard_prefix: str = ""

    def __post_init__(self) -> None:
        """Refuse addresses that MLflow 3 has no store for, and options that would have no effect."""
        if self.tensorboard_prefix and self.tensorboard is None:
            mend = "has no effect without tracking.tensorboard; give its folder too"
            raise UserError("tracking.tensorboard_prefix", self.tensorboard_prefix, mend)
        if self.tensorboard is not None and not self.enabled:
            mend = "tracking=none records nothing; use tracking=mlflow, or null"
            raise UserError("tracking.tensorboard", self.tensorboard, mend)
        if "://" not in self.uri or self.uri.startswith("file:"):
            mend = "give sqlite:///PATH.db for a database beside the runs, or the http:// address of a server"
            raise UserError("tracking.uri", self.uri, mend)

    @property
    def address(self) -> str:
        """The store and experiment without credentials; the mirror remembers what it sent per address."""
        return f"{without_credentials(self.uri)}|{self.experiment}"
