"""`python -m sweeplora.record`: mirror one study or single run into MLflow while it grows."""

from __future__ import annotations

import gc
import sys
from typing import TextIO, cast

if __name__ == "__main__":
    gc.disable()  # what importing mlflow allocates stays; walking it over and over is a fifth of the start's cost
    from sweeplora.record.provenance.secret import Redacted

    # The log keeps what MLflow and its libraries write, which may be a server's address with its password.
    sys.stdout, sys.stderr = cast(TextIO, Redacted(sys.stdout)), cast(TextIO, Redacted(sys.stderr))
    from sweeplora.record.follow import main

    sys.exit(main(sys.argv[1:]))
