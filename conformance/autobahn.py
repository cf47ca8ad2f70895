#!/usr/bin/env python3
"""Runs the Autobahn test suite, server side, against the real program, and holds it to the strictest verdict.

Groups 1 to 7, 9 and 10: 301 cases. A case passes when both its behaviour and its close are OK or INFORMATIONAL (the
verdict of the three cases that the RFC leaves open). NON-STRICT fails, and so does a close that is not clean.

docs/autobahn.md keeps the table: a run compares it and fails where it is out of date, `--write` brings it up to date.
The cases come from the kosoku package (conformance/requirements.txt). A run takes 5 to 15 seconds.
"""

import argparse
import asyncio
import collections
import pathlib
import re
import sys
import tempfile
import time

from kosoku import FailureError, run_fuzzingclient
from kosoku.cases import CASES

from program import ROOT, Program, ProgramError, accepts, find_binary, free_port


def main():
    arguments = parse_arguments()
    if arguments.url:
        failed = report(asyncio.run(run_groups(arguments.url, arguments.groups)))
    else:
        failed = run_against_drawgate(arguments)
    sys.exit(1 if failed else 0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", help="the program to test (default: target/debug/drawgate)")
    parser.add_argument("--url", help="test the server at this URL and leave the table alone, e.g. ws://127.0.0.1:9001")
    parser.add_argument("--groups", nargs="+", default=GROUPS, choices=GROUPS, help="only these groups")
    parser.add_argument("--write", action="store_true", help="bring docs/autobahn.md up to date")
    return parser.parse_args()


def run_against_drawgate(arguments):
    """Starts the program on a free port, runs the cases, ends it; returns whether anything was wrong."""
    binary = find_binary(arguments.binary)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="drawgate-autobahn-") as directory:
        config = pathlib.Path(directory) / "autobahn.toml"
        config.write_text(config_with_port(port))
        drawgate = Program(binary, ["run", "--config", str(config)], directory)
        try:
            drawgate.wait_until(lambda: accepts("127.0.0.1", port))
            results = asyncio.run(run_groups(f"ws://127.0.0.1:{port}", arguments.groups))
            drawgate.terminate()
            code = drawgate.end_code()
            output = drawgate.output()
        finally:
            drawgate.kill()
    failed = report(results)
    if code != 0:
        print(f"drawgate ended with {code} after SIGTERM, not 0")
    if failed or code != 0:
        print(f"what drawgate printed last:\n{output[-OUTPUT_SHOWN_MAX:]}")
        return True
    return arguments.groups == GROUPS and not table_is_current(results, arguments.write)


def config_with_port(port):
    """conformance/autobahn.toml, listening on this port."""
    text = (ROOT / "conformance" / "autobahn.toml").read_text()
    address = '"127.0.0.1:9001"'
    if text.count(address) != 1:
        raise ProgramError(f"conformance/autobahn.toml must name {address} exactly once")
    return text.replace(address, f'"127.0.0.1:{port}"')


async def run_groups(url, groups):
    """Runs each group under its own deadline; returns the result of each case, None for one that has none."""
    results = {}
    for group in groups:
        expected = [case for case in CASES if case.split(".")[0] == group]
        started = time.monotonic()
        try:
            run = run_fuzzingclient(url, [f"{group}.*"], None, concurrency=CONCURRENCY)
            found = await asyncio.wait_for(run, GROUP_SECONDS_MAX)
        except FailureError as failure:
            found = failure.results
        except TimeoutError:
            print(f"group {group} did not end within {GROUP_SECONDS_MAX} s")
            found = []
        results.update(dict.fromkeys(expected))
        results.update({result.case_id: result for result in found})
        good = sum(passed(results[case]) for case in expected)
        print(f"group {group}: {good} of {len(expected)} in {time.monotonic() - started:.1f} s", flush=True)
    return results


def passed(result):
    """Stricter than kosoku's own `passed`, which takes NON-STRICT for good enough."""
    return result is not None and {result.behavior.value, result.behavior_close.value} <= VERDICTS_GOOD


def report(results):
    """Prints every case that did not pass, the counts, and the closing line; returns whether any did not pass."""
    bad = [case for case, result in results.items() if not passed(result)]
    for case in bad:
        result = results[case]
        if result is None:
            print(f"{case}: no result")
            continue
        why = result.result_close if result.behavior.value in VERDICTS_GOOD else result.result
        print(
            f"{case}: {result.behavior.value}, close {result.behavior_close.value} "
            f"(code {result.remote_close_code}): {description(case)} {why}"
        )
    for verdict, number in sorted(verdict_counts(results).items()):
        print(f"{verdict}: {number}")
    print(f"autobahn: {len(results) - len(bad)} passed, {len(bad)} failed")
    return bool(bad)


def verdict_counts(results):
    """How many cases got which behaviour."""
    return collections.Counter("no result" if result is None else result.behavior.value for result in results.values())


def table_is_current(results, write):
    """Compares docs/autobahn.md with these results, or writes it."""
    page = ROOT / "docs" / "autobahn.md"
    text = page_text(results)
    if write:
        page.parent.mkdir(exist_ok=True)
        page.write_text(text)
        print("wrote docs/autobahn.md")
        return True
    if page.exists() and page.read_text() == text:
        return True
    print("docs/autobahn.md is not what this run gave; `make conformance WRITE=1` brings it up to date")
    return False


def page_text(results):
    """The page, without anything that differs from run to run."""
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdict_counts(results).items(), reverse=True))
    lines = [PAGE_HEAD.format(cases=len(results), counts=counts)]
    for group in GROUPS:
        cases = [case for case in results if case.split(".")[0] == group]
        lines += [f"\n## {group}. {GROUP_NAMES[group]} ({len(cases)} cases)\n", "| case | what it does | result | close | code |"]
        lines.append("|---|---|---|---|---|")
        for case in cases:
            result = results[case]
            code = "none" if result.remote_close_code is None else result.remote_close_code
            verdicts = f"{result.behavior.value} | {result.behavior_close.value} | {code}"
            lines.append(f"| {case} | {description(case)} | {verdicts} |")
    return "\n".join(lines) + "\n"


def description(case):
    """The case's own description as plain text for a table's cell: as many of its sentences as fit."""
    text = re.sub(r"<[^>]+>", "", re.split(r"<br", CASES[case].DESCRIPTION)[0]).replace("message message", "message")
    first, *others = re.split(r"(?<=[a-z0-9)])\. ", " ".join(text.split()).rstrip("."))
    for sentence in others:
        if len(first) + len(sentence) > DESCRIPTION_SHOWN_MAX:
            break
        first += ". " + sentence
    return first.replace("*", "\\*").replace("|", "\\|") + "."


GROUP_NAMES = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8",
    "7": "Close handling",
    "9": "Limits and performance",
    "10": "Auto-fragmentation",
}
GROUPS = list(GROUP_NAMES)
VERDICTS_GOOD = {"OK", "INFORMATIONAL"}
# Cases of group 6 wait for seconds by design; side by side the whole suite takes as long as the longest few.
CONCURRENCY = 4
# Single cases wait for up to 480 s for a server that has gone silent; the slowest group takes 10 s of a debug build.
GROUP_SECONDS_MAX = 120
OUTPUT_SHOWN_MAX = 4000
DESCRIPTION_SHOWN_MAX = 160
PAGE_HEAD = """# Autobahn

What the [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite) says of the drawgate program as a server:

**{cases} cases: {counts}.**

`make conformance` runs them again and fails where a case is not OK or INFORMATIONAL, where a close is not clean, or where
this page is out of date. INFORMATIONAL is the suite's only verdict for the three cases whose outcome RFC 6455 leaves open.
*Close* judges the closing handshake; *code* is the close code that Drawgate sent. Groups 12 and 13, left out, are
permessage-deflate's; there is no group 8 or 11.

This page is written by `conformance/autobahn.py --write`."""

if __name__ == "__main__":
    try:
        main()
    except ProgramError as error:
        sys.exit(f"autobahn: {error}")
