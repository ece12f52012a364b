"""Run a command and print its cost: `python -I -S launcher.py COMMAND ...`.

On Linux, a process inherits the peak memory (`ru_maxrss`) of its parent through fork, vfork and exec. So this small
process of about 10 MB starts the measured command, instead of the benchmark. No command can appear to need less than
that.
"""

import json
import os
import sys
import time


def main(command: list[str]) -> int:
    """Run the command, print its cost as JSON, and return its exit code."""
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
