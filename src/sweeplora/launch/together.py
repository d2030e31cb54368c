"""`accelerate launch` for one multi-process training: exits with its parent, and with its processes' own exit code.

accelerate exits with 1 whatever happened to a process; this exit code tells which signal killed one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from sweeplora.launch.child import PARENT, die_with_parent, ignore_state_requests


def main(words: Sequence[str]) -> int:
    """Run `accelerate launch` with these arguments; returns the exit code of the process that failed, 0 if none did."""
    die_with_parent()
    ignore_state_requests()
    os.environ[PARENT] = str(os.getpid())
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        launch_command(launch_command_parser().parse_args(list(words)))
    except ChildFailedError as error:
        print(error, file=sys.stderr)
        return exit_code([failure.exitcode for failure in error.failures.values()])
    except SignalException as error:
        return -error.sigval
    return 0


def exit_code(codes: Sequence[int]) -> int:
    """The most informative of several exit codes: a signal's, since the other processes then fail as a consequence."""
    return min(codes) if min(codes) < 0 else codes[0]


def leave(code: int) -> None:
    """Exit this process with a code; a negative code by that signal."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
