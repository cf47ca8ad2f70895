#!/usr/bin/env python3
"""Follows the README word for word, as someone new would: on a fresh clone, in an empty directory.

Every block of the README that is marked `sh` is run by bash, in the order of the page, each in the directory where the
one before it ended. A block marked `text` right after it must appear in its output, line by line, where … stands for
anything. `sh keeps-running` starts what does not end by itself, a server: it is ready when that output is there, and is
ended at the end. `sh not-run` is left out, and that is said. The page's readers see none of these marks.

The clone is of the last commit here; git is told to find the public address there. Crates that others wrote are
compiled once and kept under target/newcomer; nothing else is shared with this directory.
"""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass
class Block:
    """One block of commands, with the lines that its output must have."""

    commands: str
    marks: list[str]
    expected: list[str]


class Difference(Exception):
    """The README says one thing, and another happens."""


def main():
    blocks = blocks_of((ROOT / "README.md").read_text())
    skipped = sum("not-run" in block.marks for block in blocks)
    if skipped == len(blocks):
        sys.exit("newcomer: README.md has no block marked `sh`; this check cannot fail")
    servers = []
    with tempfile.TemporaryDirectory(prefix="drawgate-newcomer-") as directory:
        newcomer = Newcomer(pathlib.Path(directory))
        try:
            for block in blocks:
                newcomer.follow(block, servers)
        except Difference as difference:
            print("newcomer: 0 passed, 1 failed")
            sys.exit(f"newcomer: {difference}")
        finally:
            for server in servers:
                end(server)
    print(f"newcomer: {len(blocks) - skipped} passed, 0 failed, {skipped} skipped")


def blocks_of(page):
    """The blocks marked `sh`, each with the `text` block that follows it directly."""
    blocks = []
    last_end = None
    for match in re.finditer(r"^```(\w+)([^\n]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        language, marks, body = match.groups()
        if language == "sh":
            blocks.append(Block(body, marks.split(), []))
            if unknown := set(marks.split()) - {"keeps-running", "not-run"}:
                raise SystemExit(f"newcomer: unknown marks in README.md: {unknown}")
        elif language == "text" and blocks and not page[last_end : match.start()].strip():
            blocks[-1].expected = body.splitlines()
        last_end = match.end()
    for block in blocks:
        if "keeps-running" in block.marks and not block.expected:
            raise SystemExit(f"newcomer: nothing in README.md says when this is ready:\n{block.commands}")
    return blocks


class Newcomer:
    """A shell whose directory outlives its commands."""

    def __init__(self, home):
        self.directory = home / "work"
        self.directory.mkdir()
        self.output_file = home / "output.txt"
        self.directory_file = home / "directory.txt"
        self.environment = {
            **os.environ,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{ROOT}.insteadOf",
            "GIT_CONFIG_VALUE_0": PUBLIC_ADDRESS,
            # Where cargo keeps what it compiles on the way; what the README names still appears where it says.
            "CARGO_BUILD_BUILD_DIR": str(ROOT / "target" / "newcomer"),
        }
        # Set by the machinery that runs this, not by a newcomer.
        for name in ("CARGO_TARGET_DIR", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
            self.environment.pop(name, None)

    def follow(self, block, servers):
        """Runs one block and compares what it prints; adds it to `servers` where it is to keep running."""
        if "not-run" in block.marks:
            print(f"not run, as the page's source says:\n{block.commands}", end="")
            return
        print(f"$ {block.commands}", end="", flush=True)
        # The directory is written down before each command and at the end, since a server's block has no end.
        script = f"set -euo pipefail\ntrap 'pwd > \"{self.directory_file}\"' DEBUG EXIT\n{block.commands}"
        with self.output_file.open("wb") as output:
            shell = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if "keeps-running" in block.marks:
            servers.append(shell)
            self.wait(block, lambda: not self.missing(block) or shell.poll() is not None)
            if shell.poll() is not None:
                raise Difference(f"this should keep running, and ended with {shell.returncode}:\n{self.shown(block)}")
        else:
            try:
                self.wait(block, lambda: shell.poll() is not None)
            finally:
                end(shell)
            if shell.returncode != 0:
                raise Difference(f"this ended with {shell.returncode}:\n{self.shown(block)}")
        if missing := self.missing(block):
            raise Difference(f"the output lacks {missing!r}:\n{self.shown(block)}")
        self.directory = pathlib.Path(self.directory_file.read_text().strip())

    def wait(self, block, done):
        """Returns once `done()` holds; a block that takes longer than BLOCK_SECONDS_MAX is a difference."""
        deadline = time.monotonic() + BLOCK_SECONDS_MAX
        while not done():
            if time.monotonic() > deadline:
                raise Difference(f"not done after {BLOCK_SECONDS_MAX} s:\n{self.shown(block)}")
            time.sleep(0.1)

    def missing(self, block):
        """The expected lines that the output does not have, in their order."""
        output = self.output_file.read_text(errors="replace")
        place = 0
        for line in filter(str.strip, block.expected):
            pattern = ".*".join(re.escape(part) for part in line.strip().split("…"))
            found = re.compile(pattern).search(output, place)
            if not found:
                return line
            place = found.end()
        return None

    def shown(self, block):
        return f"{block.commands}\n{self.output_file.read_text(errors='replace')[-OUTPUT_SHOWN_MAX:]}"


def end(shell):
    """Ends a block and whatever it started, if any of it still runs."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(shell.pid, number)
            shell.wait(END_SECONDS_MAX)
        except ProcessLookupError:
            shell.wait(END_SECONDS_MAX)
            return
        except subprocess.TimeoutExpired:
            continue


PUBLIC_ADDRESS = "https://github.com/drawgate/drawgate"
# An optimised build of everything, on two busy cores.
BLOCK_SECONDS_MAX = 900
END_SECONDS_MAX = 20
OUTPUT_SHOWN_MAX = 4000

if __name__ == "__main__":
    main()
