"""The tests of the rules do not depend on whether ranges include their left end.

Prometheus 3 leaves out a sample that is exactly as old as the range; Prometheus 2 does not. With samples at full
seconds, a range that is a second shorter does the same.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from testbed.command import ROOT

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
TESTS = sorted(path.name for path in ROOT.glob("prometheus/tests/*.yml"))


def a_second_shorter(found: re.Match[str]) -> str:
    """Return the range without its left end."""
    return f"[{int(found[1]) * SECONDS[found[2]] - 1}s]"


@pytest.mark.slow
@pytest.mark.parametrize("name", TESTS)
def test_rules_pass_without_the_left_ends_of_ranges(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "prometheus", tmp_path, dirs_exist_ok=True)
    replaced = 0
    for rules in tmp_path.glob("rules/*.yml"):
        text, count = re.subn(r"\[(\d+)([smhd])\]", a_second_shorter, rules.read_text())
        rules.write_text(text)
        replaced += count
    assert replaced
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "tests" / name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
