"""`python -m sweeplora.record`: mirror one study or single run into MLflow while it grows."""

from __future__ import annotations

import gc
import sys
from typing import TextIO, cast

if __name__ == "__main__":
    gc.disable()  # what importing mlflow allocates stays; rescanning it is a fifth of the startup time
    from sweeplora.record.provenance.secret import Redacted

    # The log captures the output of MLflow and its libraries, which may contain a server's address and password.
    sys.stdout, sys.stderr = cast(TextIO, Redacted(sys.stdout)), cast(TextIO, Redacted(sys.stderr))
    from sweeplora.record.follow import main

    sys.exit(main(sys.argv[1:]))
