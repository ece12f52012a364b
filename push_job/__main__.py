"""Entry point of ``push-job`` and ``python -m push_job``."""

from __future__ import annotations

import gc
import io
import os
import sys

try:
    import signal
except KeyboardInterrupt:  # Ctrl-C right after the start prints no traceback, here and in main
    os._exit(130)


def main() -> None:
    """Run a command and end the process with its exit code."""
    # Ctrl-C during imports ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Imported modules and scraped tasks live until the end, so frequent garbage collection would find nothing.
    gc.set_threshold(100_000)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the terminal lacks must not end a command
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
    # Skip the interpreter's clean-up. It takes a tenth of a push's time, and would wait for threads that were left
    # behind at the deadline.
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
