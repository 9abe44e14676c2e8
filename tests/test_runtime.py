"""Memory returned to the system, and how commands end; in processes of their own where a setting holds for all."""

import os
import platform
import signal
import subprocess
import sys

import pytest

from conclip.errors import UsageError
from conclip.runtime import command_line, run_command

HOLES = """
import sys, torch
from conclip.errors import UsageError
from conclip.runtime import return_large_blocks, run_command
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


def fail():
    raise UsageError("There is no file x: name another.")


def interrupt():
    raise KeyboardInterrupt


def wait_for_workers(interruption):
    """Ends as `datasets` does, which raises an error of its own while it handles the interruption."""
    try:
        try:
            raise interruption
        finally:
            raise TimeoutError
    except TimeoutError as error:
        raise ValueError("the rows could not be written") from error


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        (lambda: None, 0, ""),
        (fail, 1, "Error: There is no file x: name another.\n"),
        (interrupt, 130, "\nInterrupted; nothing was written.\n"),
        (lambda: wait_for_workers(KeyboardInterrupt()), 130, "\nInterrupted; nothing was written.\n"),
    ],
)
def test_a_command_ends_with_one_sentence_and_a_status(command, status, says, capsys):
    assert run_command(command, interrupted="Interrupted; nothing was written.") == status
    assert capsys.readouterr().err == says


def test_a_signal_while_workers_run_keeps_its_status():
    with pytest.raises(SystemExit) as stopped:
        run_command(lambda: wait_for_workers(SystemExit(143)), interrupted="")
    assert stopped.value.code == 143


@pytest.mark.parametrize(
    ("argv", "num_processes", "command"),
    [
        (None, 1, "accelerate launch train_accelerate.py --seed 1"),
        (None, 4, "accelerate launch --num_processes 4 train_accelerate.py --seed 1"),
        (["--output_dir", "my run"], 1, "conclip train --output_dir 'my run'"),
        (["--seed", "2"], 2, "accelerate launch --num_processes 2 -m conclip train --seed 2"),
    ],
)
def test_the_command_that_repeats_a_run(argv, num_processes, command, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_accelerate.py", "--seed", "1"])
    assert command_line("train", argv, num_processes) == command


def test_a_fault_of_our_own_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0, interrupted="")


SIGTERM_IN_PARENT_AND_WORKER = """
import os, signal, sys, time
from conclip.runtime import exit_on_sigterm
exit_on_sigterm()
ready, write_end = os.pipe()
worker = os.fork()
if worker == 0:
    try:
        # Python runs a handler of its own only between two instructions: not while a worker waits at a lock.
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        os.write(write_end, b"1")
        time.sleep(60)
    finally:
        # An exception in the worker would run this.
        os._exit(7)
os.read(ready, 1)
os.kill(worker, signal.SIGTERM)
print("worker", os.WTERMSIG(os.waitpid(worker, 0)[1]), flush=True)
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
finally:
    print("tidied up", flush=True)
"""


def test_sigterm_lets_the_main_process_tidy_up_and_ends_its_workers_at_once():
    done = subprocess.run(
        [sys.executable, "-c", SIGTERM_IN_PARENT_AND_WORKER], capture_output=True, text=True, timeout=50
    )
    assert done.stdout == f"worker {signal.SIGTERM.value}\ntidied up\n"
    assert done.returncode == 143


SIGTERM_WHILE_FORKING = """
import os, signal, time
from conclip.runtime import exit_on_sigterm
# Hooks run in the order in which they were registered: before the worker changes its action.
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
exit_on_sigterm()
exit_on_sigterm()
worker = os.fork()
if worker == 0:
    time.sleep(20)
    os._exit(7)
status = os.waitpid(worker, 0)[1]
print(os.WIFSIGNALED(status) and os.WTERMSIG(status), signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""


def test_a_worker_that_gets_sigterm_while_it_is_forked_ends():
    done = subprocess.run([sys.executable, "-c", SIGTERM_WHILE_FORKING], capture_output=True, text=True, timeout=50)
    assert done.stdout == f"{signal.SIGTERM.value} set()\n"


SIGTERM_TO_A_PARENT_WHILE_IT_FORKS = """
import os, signal, sys, time
from conclip.runtime import exit_on_sigterm
terminate = lambda: os.kill(os.getpid(), signal.SIGTERM)
when = sys.argv[1]
# Registered before ours, a hook for `before` runs after ours, and one for `after_in_parent` before ours.
os.register_at_fork(**{when: terminate})
exit_on_sigterm()
worker = os.fork()
if worker == 0:
    time.sleep(60)
try:
    time.sleep(60)
finally:
    os.kill(worker, signal.SIGKILL)
    print("tidied up", flush=True)
"""


@pytest.mark.parametrize("when", ["before", "after_in_parent"])
def test_sigterm_is_not_lost_while_the_main_process_forks(when):
    # From 3.12 on, Python warns of a fork beside threads, which is what is tested here.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SIGTERM_TO_A_PARENT_WHILE_IT_FORKS, when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (143, "tidied up\n", "")


LEFT = """
import os, signal, sys, time
import {module}
from conclip.runtime import exit_on_sigterm

exit_on_sigterm()
child = {module}.get_context("fork").Process(target=time.sleep, args=(300,))
child.start()
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(300)
"""


@pytest.mark.parametrize("module", ["multiprocessing", "multiprocess"])
def test_sigterm_ends_a_process_that_nobody_waits_for(module):
    code = LEFT.format(module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 143, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
