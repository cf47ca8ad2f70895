"""The program under test: found, started, waited for, and ended.

Used by all that runs the program. It starts nothing but the drawgate program, and ends nothing that it did not start.
"""

import os
import pathlib
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


class ProgramError(Exception):
    """The program could not be found, started or ended as it should."""


class Program:
    """One run of the program in a directory of its own; what it prints is kept in `output.txt` there."""

    def __init__(self, binary, arguments, directory):
        self.output_file = pathlib.Path(directory) / "output.txt"
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                [binary, *arguments], cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def output(self):
        """All that it printed so far."""
        return self.output_file.read_text(errors="replace")

    def wait_until(self, ready):
        """Returns once `ready()` holds; raises as soon as the program has ended, or after START_SECONDS_MAX."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while not ready():
            if self.process.poll() is not None:
                raise ProgramError(f"drawgate ended with {self.process.returncode} while starting:\n{self.output()}")
            if time.monotonic() > deadline:
                raise ProgramError(f"drawgate was not ready after {START_SECONDS_MAX} s:\n{self.output()}")
            time.sleep(0.05)

    def terminate(self):
        """Asks it to end, which it may have done by itself already. The exit code is for `end_code`."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end_code(self):
        """Waits for its end and returns the exit code; kills it and raises after END_SECONDS_MAX."""
        try:
            return self.process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProgramError(f"drawgate still ran {END_SECONDS_MAX} s after SIGTERM:\n{self.output()}") from None

    def kill(self):
        """Ends it at once, whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def find_binary(named):
    """The program's absolute path: the one named, else the debug build."""
    path = pathlib.Path(named) if named else ROOT / "target" / "debug" / "drawgate"
    if not os.access(path, os.X_OK) or path.is_dir():
        raise ProgramError(f"there is no program at {path}; build it with `cargo build --locked`, or name it with --binary")
    return str(path.resolve())


def free_port():
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(host, port):
    """Whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


# A debug build on a busy machine of two cores is ready in well under a second.
START_SECONDS_MAX = 20
# The drain takes at most 10 s, and its jitter 3 s.
END_SECONDS_MAX = 20
