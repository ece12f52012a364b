"""Runs one command and prints what it cost, as JSON: `python -I -S launcher.py COMMAND ...`.

On Linux a process inherits the peak memory (`ru_maxrss`) of the one that it was made from, through fork, vfork and exec
alike. So what is measured is started by this small process, of about 10 MB, and not by the benchmark itself. For the
same reason nothing that is measured seems to take less than that.
"""

import json
import os
import sys
import time


def main(command: list[str]) -> int:
    """Run the command, its output on stderr, print its cost on stdout; its exit code, or 1 if a signal ended it."""
    started = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - started
    # ru_maxrss is in KiB on Linux (getrusage(2)).
    cost = {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 1024}
    print(json.dumps(cost))
    return max(os.waitstatus_to_exitcode(status), -1) % 256


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
