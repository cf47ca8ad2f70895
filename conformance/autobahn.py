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
import pathlib
import sys
import tempfile

from program import ROOT, Program, ProgramError, accepts, find_binary, free_port
from suite import BEGIN, END, GROUP_NAMES, GROUPS, description, report, run_groups, verdict_counts


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


def through_the_gateway():
    """What relayed.py has written into the page."""
    page = ROOT / "docs" / "autobahn.md"
    text = page.read_text() if page.exists() else ""
    begin, _, rest = text.partition(BEGIN)
    return f"{BEGIN}{rest.partition(END)[0]}{END}" if rest else f"{BEGIN}\n\n{END}"


def row_text(case, result):
    """The case's row of the page."""
    code = "none" if result.remote_close_code is None else result.remote_close_code
    return f"| {case} | {description(case)} | {result.behavior.value} | {result.behavior_close.value} | {code} |"


def page_text(results):
    """The page, without anything that differs from run to run."""
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdict_counts(results).items(), reverse=True))
    lines = [PAGE_HEAD.format(cases=len(results), counts=counts, through=through_the_gateway())]
    for group in GROUPS:
        cases = [case for case in results if case.split(".")[0] == group]
        lines += [f"\n## {group}. {GROUP_NAMES[group]} ({len(cases)} cases)\n", "| case | what it does | result | close | code |"]
        lines.append("|---|---|---|---|---|")
        lines += [row_text(case, results[case]) for case in cases]
    return "\n".join(lines) + "\n"


OUTPUT_SHOWN_MAX = 4000
PAGE_HEAD = """# Autobahn

What the [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite) says of the drawgate program as a server:

**{cases} cases: {counts}.**

`make conformance` runs them again and fails where a case is not OK or INFORMATIONAL, where a close is not clean, or where
this page is out of date. INFORMATIONAL is the suite's only verdict for the three cases whose outcome RFC 6455 leaves open.
*Close* judges the closing handshake; *code* is the close code that Drawgate sent. There is no group 8 or 11. `make test` runs
a sample of groups 12 and 13.

## Through the gateway

The suite on one side of `drawgate run` with an application's address as its backend, and something that echoes on the other:

{through}

In 10 cases (3.2-3.4, 4.1.3-4.1.5, 4.2.3-4.2.5, 5.15) a good message is followed, in one segment, by a frame that breaks a rule. The
connection is failed at once (RFC 6455 §7.1.7), on both sides, and the answer to the message, which no relay can have before it has gone to
whoever gives it and come back, is too late; the suite's verdict then is NON-STRICT, and OK where it happens to be in time. The groups of compression are those where the suite is the client: the
gateway speaks plain to the application.

This page is written by `conformance/autobahn.py --write` and `conformance/relayed.py --whole --write`."""

if __name__ == "__main__":
    try:
        main()
    except ProgramError as error:
        sys.exit(f"autobahn: {error}")
