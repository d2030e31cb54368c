"""`python -m sweeplora.record`: mirror one study or single run into MLflow while it grows."""

from __future__ import annotations

import gc
import os
import sys
from typing import TextIO, cast

if __name__ == "__main__":
    gc.disable()  # what importing mlflow allocates stays; rescanning it is a fifth of the startup time
    # MLflow does without, as its package mlflow-skinny does; importing it would be a sixth of the startup time.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    from sweeplora.record.provenance.secret import Redacted

    # The log captures the output of MLflow and its libraries, which may contain a server's address and password.
    sys.stdout, sys.stderr = cast(TextIO, Redacted(sys.stdout)), cast(TextIO, Redacted(sys.stderr))
    from sweeplora.record.follow import main

    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is on the disk; to take MLflow's modules apart would be a third of a second at the end
