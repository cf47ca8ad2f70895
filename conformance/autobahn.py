#!/usr/bin/env python3
"""Runs the Autobahn test suite, server side, against the real program, and holds it to the strictest verdict.

All 517 cases: groups 1 to 7, 9, 10, and those of permessage-deflate, 12 and 13. A case passes when both its behaviour and its close are OK or INFORMATIONAL (the
verdict of the three cases that the RFC leaves open). NON-STRICT fails, and so does a close that is not clean.

docs/autobahn.md keeps the table: a run compares it and fails where it is out of date, `--write` brings it up to date.
The cases come from the kosoku package (conformance/requirements.txt). A run takes some minutes, nearly all of them in groups
12 and 13, which send a thousand messages a case; `--sample` takes a few cases of each of their parts, and some 15 seconds.
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
        failed = report(asyncio.run(run_groups(arguments.url, arguments.groups, arguments.sample)))
    else:
        failed = run_against_drawgate(arguments)
    sys.exit(1 if failed else 0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", help="the program to test (default: target/debug/drawgate)")
    parser.add_argument("--url", help="test the server at this URL and leave the table alone, e.g. ws://127.0.0.1:9001")
    parser.add_argument("--groups", nargs="+", default=GROUPS, choices=GROUPS, help="only these groups")
    parser.add_argument("--sample", action="store_true", help="only a few cases of each part of groups 12 and 13")
    parser.add_argument("--write", action="store_true", help="bring docs/autobahn.md up to date")
    arguments = parser.parse_args()
    if arguments.write and (arguments.sample or arguments.groups != GROUPS):
        parser.error("the page is written of a whole run")
    return arguments


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
            results = asyncio.run(run_groups(f"ws://127.0.0.1:{port}", arguments.groups, arguments.sample))
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
    is_whole = arguments.groups == GROUPS and not arguments.sample
    return not (table_is_current(results, arguments.write) if is_whole else rows_are_current(results))


def config_with_port(port):
    """conformance/autobahn.toml, listening on this port."""
    text = (ROOT / "conformance" / "autobahn.toml").read_text()
    address = '"127.0.0.1:9001"'
    if text.count(address) != 1:
        raise ProgramError(f"conformance/autobahn.toml must name {address} exactly once")
    return text.replace(address, f'"127.0.0.1:{port}"')


async def run_groups(url, groups, sample):
    """Runs each group under its own deadline; returns the result of each case, None for one that has none."""
    results = {}
    for group in groups:
        expected = [case for case in CASES if case.split(".")[0] == group]
        if group in COMPRESSED:
            take_plain_answers(expected)
            if sample:
                expected = [case for case in expected if case.split(".")[2] in SAMPLE]
        started = time.monotonic()
        try:
            run = run_fuzzingclient(url, expected, None, concurrency=CONCURRENCY)
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


def take_plain_answers(cases):
    """Gives these cases answers as the bytes that they compare.

    A small message is answered without compression, which RFC 7692 §6 leaves to the sender. Of such an answer kosoku makes a
    str, of a compressed one bytes; the cases of groups 12 and 13 know bytes alone.
    """
    for case in cases:
        CASES[case].onMessage = with_bytes(CASES[case].onMessage)


def with_bytes(on_message):
    def taking_both(self, message, binary):
        if isinstance(message, str):
            message = message.encode("latin-1" if binary else "utf-8")
        on_message(self, message, binary)

    return taking_both


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


def rows_are_current(results):
    """Looks for each of these results in docs/autobahn.md."""
    rows = set((ROOT / "docs" / "autobahn.md").read_text().splitlines())
    missing = [case for case, result in results.items() if result and row_text(case, result) not in rows]
    if missing:
        print(f"docs/autobahn.md has other results for: {', '.join(missing)}")
    return not missing


def row_text(case, result):
    """The case's row of the page."""
    code = "none" if result.remote_close_code is None else result.remote_close_code
    return f"| {case} | {description(case)} | {result.behavior.value} | {result.behavior_close.value} | {code} |"


def page_text(results):
    """The page, without anything that differs from run to run."""
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdict_counts(results).items(), reverse=True))
    lines = [PAGE_HEAD.format(cases=len(results), counts=counts)]
    for group in GROUPS:
        cases = [case for case in results if case.split(".")[0] == group]
        lines += [f"\n## {group}. {GROUP_NAMES[group]} ({len(cases)} cases)\n", "| case | what it does | result | close | code |"]
        lines.append("|---|---|---|---|---|")
        lines += [row_text(case, results[case]) for case in cases]
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
    "12": "Compression of different payloads",
    "13": "Compression with different parameters",
}
GROUPS = list(GROUP_NAMES)
# Those that offer permessage-deflate.
COMPRESSED = {"12", "13"}
# Of each part of them: messages of 64, 1,024 and 16,384 bytes in one frame, and of 8,192 in frames of 256.
SAMPLE = {"2", "4", "7", "11"}
VERDICTS_GOOD = {"OK", "INFORMATIONAL"}
# Cases of group 6 wait for seconds by design; side by side the whole suite takes as long as the longest few.
CONCURRENCY = 4
# Single cases wait for up to 480 s for a server that has gone silent; the slowest group takes two minutes of a debug build
# on a quiet machine.
GROUP_SECONDS_MAX = 900
OUTPUT_SHOWN_MAX = 4000
DESCRIPTION_SHOWN_MAX = 160
PAGE_HEAD = """# Autobahn

What the [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite) says of the drawgate program as a server:

**{cases} cases: {counts}.**

`make conformance` runs them again and fails where a case is not OK or INFORMATIONAL, where a close is not clean, or where
this page is out of date. INFORMATIONAL is the suite's only verdict for the three cases whose outcome RFC 6455 leaves open.
*Close* judges the closing handshake; *code* is the close code that Drawgate sent. There is no group 8 or 11. `make test` runs
a sample of groups 12 and 13.

This page is written by `conformance/autobahn.py --write`."""

if __name__ == "__main__":
    try:
        main()
    except ProgramError as error:
        sys.exit(f"autobahn: {error}")
