#!/usr/bin/env python3
"""How much of the protocol crate its own tests reach, counted by the compiler's instrumentation and read by llvm-cov.

Fails under LINES_PERCENT_MIN of the lines. Also, and more finely, where a piece of code that no test reaches, be it the `?` of
a line that is reached, is not explained in docs/coverage.md, or where one is explained that is reached or gone. Tests
themselves are not counted: a file ends where its `mod tests` begins.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "crates" / "protocol" / "src"
PAGE = ROOT / "docs" / "coverage.md"


@dataclasses.dataclass(frozen=True)
class Gap:
    """A piece of code that no test reaches."""

    file: str
    line: int
    # As the page has it, since line numbers change too often: the line that the piece is of.
    code: str
    piece: str

    @property
    def row(self):
        return self.file, self.code


def main():
    argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0]).parse_args()
    tools = find_tools()
    with tempfile.TemporaryDirectory(prefix="drawgate-coverage-") as directory:
        programs, profile = counted(tools, pathlib.Path(directory))
        export = [tools / "llvm-cov", "export", f"--instr-profile={profile}", programs[0]]
        export += [f"--object={program}" for program in programs[1:]]
        lines = lines_of(run_tool([*export, "--format=lcov"]))
        gaps = gaps_of(json.loads(run_tool([*export, "--format=text", "--skip-functions"])))
    for file, hits in sorted(lines.items()):
        print(f"{file:26} {sum(map(bool, hits.values())):4} of {len(hits):4} lines")
    total = sum(map(len, lines.values()))
    reached = sum(sum(map(bool, hits.values())) for hits in lines.values())
    percent = 100 * reached / total
    failures = [*complaints(gaps, explained(PAGE.read_text()))]
    if percent < LINES_PERCENT_MIN:
        failures.append(f"that is less than {LINES_PERCENT_MIN} % of the lines")
    print(f"coverage: {reached} of {total} lines ({percent:.2f} %); pieces of code that no test reaches: {len(gaps)}")
    for failure in failures:
        print(f"FAILED: {failure}")
    sys.exit(1 if failures else 0)


def counted(tools, directory):
    """Runs the tests; returns their programs, and the profile that all of them left together."""
    environment = {
        **os.environ,
        "RUSTC_WORKSPACE_WRAPPER": str(ROOT / "conformance" / "coverage" / "rustc"),
        "LLVM_PROFILE_FILE": str(directory / "%p-%m.profraw"),
    }
    command = ["cargo", "test", "--package", "drawgate-protocol", "--lib", "--tests", "--locked", "--quiet"]
    done = subprocess.run(
        [*command, "--message-format=json-render-diagnostics"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        print("\n".join(line for line in done.stdout.splitlines() if not line.startswith("{")))
        raise CoverageError("the tests do not pass")
    programs = [program for line in done.stdout.splitlines() if (program := test_program(line))]
    raw = sorted(map(str, directory.glob("*.profraw")))
    if not programs or len(raw) < len(programs):
        raise CoverageError(f"{len(programs)} test programs left {len(raw)} profiles")
    profile = str(directory / "all.profdata")
    run_tool([tools / "llvm-profdata", "merge", "--sparse", "--output", profile, *raw])
    return programs, profile


def test_program(line):
    """The program that a line of cargo's says it has built of the crate's tests."""
    if not line.startswith("{"):
        return None
    message = json.loads(line)
    is_test = message["reason"] == "compiler-artifact" and message["profile"]["test"]
    return message["executable"] if is_test else None


def run_tool(command):
    """Runs one of LLVM's tools, which say on standard error what they could not read."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 or done.stderr.strip():
        raise CoverageError(f"{command[0].name} ended with {done.returncode}:\n{done.stderr}{ADVICE}")
    return done.stdout


def lines_of(lcov):
    """Whether each line of the crate's was reached, by file and number."""
    lines = {}
    for record in lcov.split("end_of_record\n"):
        source = re.search(r"^SF:(.*)$", record, re.MULTILINE)
        if source and (text := own_text(source[1])):
            hits = re.findall(r"^DA:(\d+),(\d+)", record, re.MULTILINE)
            lines[name_of(source[1])] = {number: hit != "0" for number, hit in hits if int(number) <= len(text)}
    if not lines:
        raise CoverageError("llvm-cov names no file of the crate")
    return lines


def gaps_of(export):
    """What no test reaches of the crate. A segment begins a region of code, which ends where the next begins."""
    gaps = []
    for file in export["data"][0]["files"]:
        text = own_text(file["filename"])
        segments = file["segments"]
        for (line, column, count, has_count, is_entry, is_gap), end in zip(segments, [*segments[1:], [0, 0]]):
            if line <= len(text) and has_count and is_entry and not is_gap and count == 0:
                piece = text[line - 1][column - 1 : end[1] - 1 if end[0] == line else None]
                gaps.append(Gap(name_of(file["filename"]), line, code_of(text, line, piece), piece))
    return gaps


def code_of(text, line, piece):
    """The line of a piece of code. A closing bracket stands for what is done if its `if` is not so: that line then."""
    if piece != "}":
        return text[line - 1].strip()
    indent = re.match(r" *", text[line - 1])[0]
    openers = (above for above in reversed(text[: line - 1]) if re.match(rf"{indent}\S", above))
    return next(openers).strip()


def own_text(path):
    """The lines of a file of the crate's, less its tests; none of any other file."""
    if not pathlib.Path(path).is_relative_to(SOURCES):
        return []
    lines = pathlib.Path(path).read_text().splitlines()
    return lines[: lines.index("mod tests {") - 1] if "mod tests {" in lines else lines


def name_of(path):
    return str(pathlib.Path(path).relative_to(SOURCES))


def explained(page):
    """The rows of the page's table: file and line of code."""
    rows = re.findall(r"^\| `([^`]+)` \| `(.+?)` \| \S.* \|$", page, re.MULTILINE)
    return {(file, code.replace("\\|", "|")) for file, code in rows}


def complaints(gaps, rows):
    """What the page lacks, and what it has too much of."""
    page = PAGE.relative_to(ROOT)
    for gap in gaps:
        if gap.row not in rows:
            yield f"{gap.file}:{gap.line}: no test reaches `{gap.piece}` of `{gap.code}`, and {page} does not say why"
    for file, code in sorted(rows - {gap.row for gap in gaps}):
        yield f"{page} explains `{code}` in {file}, which is reached or is not there"


def find_tools():
    """The folder of llvm-cov and llvm-profdata: rustup's, or else those that conformance/install.sh has put here."""
    rustc = subprocess.run(["rustc", "--print", "target-libdir"], capture_output=True, text=True, check=True)
    folders = [pathlib.Path(rustc.stdout.strip()).parent / "bin"]
    folders += (ROOT / "conformance" / "coverage").glob(".venv/lib/python3*/site-packages/llvm/bin")
    for folder in folders:
        if (folder / "llvm-cov").exists() and (folder / "llvm-profdata").exists():
            return folder
    raise CoverageError(f"there is no llvm-cov; {ADVICE}")


class CoverageError(Exception):
    """There is nothing to report."""


LINES_PERCENT_MIN = 97
ADVICE = "run conformance/install.sh conformance/coverage, or `rustup component add llvm-tools` for another compiler"

if __name__ == "__main__":
    try:
        main()
    except CoverageError as error:
        sys.exit(f"coverage: {error}")
