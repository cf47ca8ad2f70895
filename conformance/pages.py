"""Pages of documentation that are followed word for word: the blocks of commands and files in them, and a shell for those.

Every block that is marked `sh` is run by bash, in the order of the page, each in the directory where the one before it
ended. A block marked `text` right after it must appear in its output, line by line, where … stands for anything.
`sh keeps-running` starts what does not end by itself, a server: it is ready when that output is there, and is ended at the
end. `sh not-run` is left out, and that is said. A block of any language with `file=NAME` is written to that file. The
page's readers see none of these marks.

Used by newcomer.py and docs.py.
"""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import time


@dataclasses.dataclass
class Block:
    """One block of commands, or of a file's content, with the lines that its output must have."""

    content: str
    marks: list[str]
    expected: list[str]
    file: str | None = None


class Difference(Exception):
    """A page says one thing, and another happens."""


def blocks_of(name, page):
    """The blocks of the page called `name` that are to be followed, each with the `text` block right after it."""
    blocks = []
    last_end = None
    for match in re.finditer(r"^```(\w+)([^\n]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        language, marks, body = match.groups()
        files = [mark.removeprefix("file=") for mark in marks.split() if mark.startswith("file=")]
        if files:
            blocks.append(Block(body, [], [], files[0]))
        elif language == "sh":
            blocks.append(Block(body, marks.split(), []))
            if unknown := set(marks.split()) - {"keeps-running", "not-run"}:
                raise SystemExit(f"{name}: unknown marks: {unknown}")
        elif language == "text" and blocks and not page[last_end : match.start()].strip():
            blocks[-1].expected = body.splitlines()
        last_end = match.end()
    for block in blocks:
        if "keeps-running" in block.marks and not block.expected:
            raise SystemExit(f"{name}: nothing says when this is ready:\n{block.content}")
    return blocks


def follow(name, page, shell):
    """Follows all blocks of a page; how many were, and how many were left out. Ends what it started."""
    blocks = blocks_of(name, page)
    skipped = sum("not-run" in block.marks for block in blocks)
    servers = []
    try:
        for block in blocks:
            shell.follow(block, servers)
    finally:
        for server in servers:
            end(server)
    return len(blocks) - skipped, skipped


class Shell:
    """A shell whose directory outlives its commands, with these variables beside the usual ones."""

    def __init__(self, home, variables):
        self.directory = home / "work"
        self.directory.mkdir()
        self.output_file = home / "output.txt"
        self.directory_file = home / "directory.txt"
        self.environment = {**os.environ, **variables}
        # Set by the machinery that runs this, not by a newcomer.
        for name in ("CARGO_TARGET_DIR", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
            self.environment.pop(name, None)

    def follow(self, block, servers):
        """Runs one block and compares what it prints; adds it to `servers` where it is to keep running."""
        if block.file is not None:
            (self.directory / block.file).write_text(block.content)
            return
        if "not-run" in block.marks:
            print(f"not run, as the page's source says:\n{block.content}", end="")
            return
        print(f"$ {block.content}", end="", flush=True)
        # The directory is written down before each command and at the end, since a server's block has no end.
        script = f"set -euo pipefail\ntrap 'pwd > \"{self.directory_file}\"' DEBUG EXIT\n{block.content}"
        # Servers of earlier blocks go on writing to it: each of them appends, so that none overwrites what another says.
        self.output_file.write_bytes(b"")
        with self.output_file.open("ab") as output:
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
        return f"{block.content}\n{self.output_file.read_text(errors='replace')[-OUTPUT_SHOWN_MAX:]}"


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


# An optimised build of everything, on two busy cores.
BLOCK_SECONDS_MAX = 900
END_SECONDS_MAX = 20
OUTPUT_SHOWN_MAX = 4000
