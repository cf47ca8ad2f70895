#!/usr/bin/env python3
"""Fuzzes the targets for some minutes, on the stable compiler, and says how often each ran. docs/fuzzing.md explains.

The committed corpus is read and never written but by --merge, which puts what was found into it, minimised; --count adds
the executions to the table in docs/fuzzing.md. Fails where a target does, and says how to run that input again.
"""

import argparse
import concurrent.futures
import datetime
import os
import pathlib
import re
import shutil
import subprocess
import sys

FUZZ = pathlib.Path(__file__).resolve().parent
PAGE = FUZZ.parent / "docs" / "fuzzing.md"
BUILD = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", FUZZ / "target")) / "fuzzing"
WORK = FUZZ / "target" / "found"

# The most bytes of an input, and how large a part of the time the target gets. Short inputs run often: a rule is broken within
# a few frames, and what only length shows has its files in the corpus, which `make test` replays whole.
TARGETS = {
    "audit": (2048, 1),
    "configuration": (4096, 3),
    "connection": (128, 12),
    "deflate": (512, 3),
    "forwarded": (512, 1),
    "handshake": (1024, 1),
    "json": (512, 1),
    "jwe": (512, 1),
    "key_set": (2048, 1),
    "policy": (512, 2),
    "proxy": (600, 1),
    "receiver": (512, 8),
    "schema": (512, 2),
    "sender": (512, 1),
    "ticket": (512, 1),
    "token": (1024, 1),
}

# libFuzzer's own names for what it found: the hash of the content.
FOUND_NAME = re.compile(r"[0-9a-f]{40}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1, help="the time for all targets together")
    parser.add_argument("--target", choices=TARGETS, help="this one alone")
    parser.add_argument("--jobs", type=int, default=1, help="how many targets run at a time")
    parser.add_argument("--count", action="store_true", help="add the executions to docs/fuzzing.md")
    parser.add_argument("--merge", action="store_true", help="put what was found into the corpus")
    arguments = parser.parse_args()
    names = [arguments.target] if arguments.target else list(TARGETS)
    build()
    shares = sum(TARGETS[name][1] for name in names)
    at_a_time = min(arguments.jobs, len(names))
    seconds = {name: arguments.minutes * 60 * at_a_time * TARGETS[name][1] / shares for name in names}
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        outcomes = list(pool.map(lambda name: fuzz(name, max(1, round(seconds[name]))), names))
    failed = [name for name, (executions, _) in zip(names, outcomes) if executions is None]
    for name, (executions, rate) in zip(names, outcomes):
        if executions is not None:
            print(f"fuzz: {name}: {executions:,} executions, {rate:,} a second", flush=True)
    passed = {name: executions for name, (executions, _) in zip(names, outcomes) if executions is not None}
    if arguments.merge:
        for name in passed:
            merge(name)
    if arguments.count:
        count(passed)
    if failed:
        sys.exit(f"fuzz: failed: {', '.join(failed)}")


def build():
    """All binaries; those of the crates to explore are instrumented by instrument.sh."""
    environment = {**os.environ, "RUSTC_WRAPPER": str(FUZZ / "instrument.sh"), "CARGO_TARGET_DIR": str(BUILD)}
    command = ["cargo", "build", "--release", "--locked", "--features", "libfuzzer", "--bins"]
    subprocess.run([*command, "--manifest-path", FUZZ / "Cargo.toml"], env=environment, check=True)


def fuzz(name, seconds):
    """The executions and how many there were a second; no executions where one failed."""
    found, log = WORK / name / "corpus", WORK / name / "log"
    found.mkdir(parents=True, exist_ok=True)
    command = [
        BUILD / "release" / name,
        f"-max_total_time={seconds}",
        f"-max_len={TARGETS[name][0]}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        # What is rare is not weighed: for targets that reach thousands of places it costs more than the target does.
        "-entropic=0",
        "-print_final_stats=1",
        f"-artifact_prefix={WORK / name}/",
        *dictionary(name),
        found,
        FUZZ / "corpus" / name,
    ]
    # An execution's memory stays for the next: to get it from the kernel each time costs as much as many executions do.
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_TOP_PAD_": "67108864"}
    with log.open("wb") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment).returncode
    said = log.read_text(errors="replace")
    executions = re.search(r"stat::number_of_executed_units:\s+(\d+)", said)
    rate = re.search(r"stat::average_exec_per_sec:\s+(\d+)", said)
    if code == 0 and executions and rate:
        return int(executions[1]), int(rate[1])
    print("\n".join(said.splitlines()[-40:]))
    print(f"fuzz: {name} failed; its log is {log}. Again, with the input that is named there:\n    {command[0]} INPUT")
    return None, None


def dictionary(name):
    path = FUZZ / "dictionaries" / f"{name}.txt"
    return [f"-dict={path}"] if path.exists() else []


def merge(name):
    """Leaves the named files of the corpus, and of all that was found the least that reaches as much."""
    committed, minimised = FUZZ / "corpus" / name, WORK / name / "minimised"
    shutil.rmtree(minimised, ignore_errors=True)
    minimised.mkdir(parents=True)
    for path in committed.iterdir():
        if not FOUND_NAME.fullmatch(path.name):
            shutil.copy(path, minimised)
    command = [BUILD / "release" / name, "-set_cover_merge=1", f"-max_len={TARGETS[name][0]}", "-timeout=10"]
    folders = [minimised, committed, WORK / name / "corpus"]
    subprocess.run([*command, *folders], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(committed)
    shutil.copytree(minimised, committed)
    print(f"fuzz: {name}: {len(list(committed.iterdir()))} files in its corpus")


def count(passed):
    """Adds the executions to the table's rows, which are `| target | executions | files | date | promise |`."""
    lines = PAGE.read_text().splitlines()
    left = set(passed)
    for at, line in enumerate(lines):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = cells[0].strip("`")
        if len(cells) != 5 or name not in left:
            continue
        left.remove(name)
        cells[1] = f"{int(cells[1].replace(',', '')) + passed[name]:,}"
        cells[2] = str(len(list((FUZZ / "corpus" / name).iterdir())))
        cells[3] = datetime.date.today().isoformat()
        lines[at] = f"| {' | '.join(cells)} |"
    if left:
        sys.exit(f"fuzz: {PAGE} has no row for {', '.join(sorted(left))}")
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
