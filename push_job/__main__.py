"""``push-job``, which is the same as ``python -m push_job``."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run a command and end the process with its exit code."""
    # A Ctrl-C while the libraries are imported ends the process as it would any other, without Python's traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What is imported and what a scrape holds lives to the end: looking for garbage in it, again and again, finds none.
    gc.set_threshold(100_000)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a sign that the terminal does not know must not end a command
    from push_job.cli import main as command

    code: object = 0
    try:
        try:
            command()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except SystemExit as ended:
        code = ended.code
    except OSError as error:
        code = f"Error: cannot write the output: {error.strerror}"
    if isinstance(code, str):
        os.write(2, f"{code}\n".encode())
    # Without the interpreter's clean-up, which costs a push a tenth of its time, and which a thread that was left
    # behind at the deadline could hold up.
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
