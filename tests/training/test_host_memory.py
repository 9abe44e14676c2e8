"""The allocator gives memory back: measured in a process of its own, as the setting holds for all of it."""

import os
import platform
import subprocess
import sys

import pytest

HOLES = """
import sys, torch
from conclip.runtime import return_large_blocks
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
if sys.argv[1] == "set":
    print(return_large_blocks())
# Freed, it raises glibc's own threshold above the blocks that follow.
torch.ones(8 << 20)
torch.ones(7 << 20)
large, small = [], []
for _ in range(100):
    large.append(torch.ones(1 << 19))
    small.append(torch.ones(1 << 13))
before = resident()
large.clear()
print(before - resident())
"""


def lines(how: str, **environment: str) -> list[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", HOLES, how], env={**env, **environment}, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_blocks_leave_the_process():
    was_set, returned = lines("set")
    assert was_set == "True"
    assert int(returned) > 150 * 2**20
    assert int(lines("leave")[0]) < 50 * 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_the_users_own_setting_stays():
    assert lines("set", MALLOC_MMAP_THRESHOLD_=str(1 << 25))[0] == "False"
