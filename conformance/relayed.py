#!/usr/bin/env python3
"""Runs the Autobahn test suite through the gateway, on both sides of it, and holds it to the strictest verdict.

`before`: the suite is the client, and behind the gateway is an application that echoes: drawgate itself. `behind`: the suite is the
application, and a client that echoes, Python's websockets, comes through the gateway. Groups 1 to 7, 9 and 10; `--whole` adds those of
permessage-deflate, 12 and 13, where the suite is the client: the way to the application is plain, which is the point. With `--compressed`
it is not, and those groups run on both sides; without `--whole`, a sample of them. A case passes when both its
behaviour and its close are OK or INFORMATIONAL, save those of AHEAD_OF_ITS_ANSWER. docs/autobahn.md says what each side gave; `--write` brings
that up to date.
"""

import argparse
import asyncio
import os
import pathlib
import sys
import tempfile

# Cases of group 9 send 65,536 fragments; read when it is imported.
os.environ["WEBSOCKETS_MAX_FRAGMENTS"] = "100000"
import websockets
from kosoku import FailureError, run_fuzzingserver
from kosoku.cases import CASES

from program import ROOT, Program, ProgramError, accepts, find_binary, free_port
from suite import BEGIN, COMPRESSED, END, GROUPS, SAMPLE, passed, report, run_groups, take_plain_answers, verdict_counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", help="the program to test (default: target/debug/drawgate)")
    parser.add_argument("--whole", action="store_true", help="groups 12 and 13 as well, and all of them")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, help="only these groups")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES, help="only these sides")
    parser.add_argument("--compressed", action="store_true", help="with compression towards the application")
    parser.add_argument("--write", action="store_true", help="bring docs/autobahn.md up to date")
    arguments = parser.parse_args()
    is_part = arguments.groups or arguments.compressed or not arguments.whole or len(arguments.sides) < len(SIDES)
    if arguments.write and is_part:
        parser.error("the page is written of a whole run, with a plain way to the application")
    binary = find_binary(arguments.binary)
    failed, said = False, []
    for side in arguments.sides:
        groups = arguments.groups or [group for group in GROUPS if arguments.whole or group not in COMPRESSED]
        results = run_side(side, binary, groups, arguments)
        print(f"{side}:")
        # Where the answer is back in time is chance.
        ahead = {case: results.pop(case) for case in AHEAD_OF_ITS_ANSWER if case in results}
        failed |= report(results) | report_ahead(ahead)
        said.append(sentence(side, results, len(ahead)))
    if is_part:
        sys.exit(1 if failed else 0)
    sys.exit(1 if failed | (not page_is_current(said, arguments.write)) else 0)


def run_side(side, binary, groups, arguments):
    """Starts the gateway, and what stands behind it, and runs the cases of this side."""
    with tempfile.TemporaryDirectory(prefix="drawgate-relayed-") as directory:
        return asyncio.run(SIDES[side](binary, directory, groups, arguments))


async def before(binary, directory, groups, arguments):
    """The suite is the client."""
    gate, application = free_port(), free_port()
    with_echo = "\n".join([listener("behind", application), route("behind", "*", '"echo"'), limits("behind", ON[arguments.compressed])])
    config = configuration(gate, application, with_echo, "on", arguments.compressed)
    is_sample = arguments.compressed and not arguments.whole
    return await with_gateway(binary, directory, config, gate, lambda: run_groups(f"ws://127.0.0.1:{gate}", groups, is_sample))


async def behind(binary, directory, groups, arguments):
    """The suite is the application."""
    groups = [group for group in groups if arguments.compressed or group not in COMPRESSED]
    cases = [case for case in CASES if case.split(".")[0] in groups]
    compressed = [case for case in cases if case.split(".")[0] in COMPRESSED]
    take_plain_answers(compressed)
    if not arguments.whole:
        cases = [case for case in cases if case not in compressed or case.split(".")[2] in SAMPLE]
    gate = free_port()
    async with run_fuzzingserver(cases, port=0) as server:
        config = configuration(gate, server.port, "", "off", arguments.compressed)
        return await with_gateway(binary, directory, config, gate, lambda: drive(server, gate, cases))


async def with_gateway(binary, directory, config, port, run):
    """What `run` gives while the gateway runs; its end must be a good one."""
    file = pathlib.Path(directory) / "relayed.toml"
    file.write_text(config)
    drawgate = Program(binary, ["run", "--config", str(file)], directory)
    try:
        await asyncio.to_thread(drawgate.wait_until, lambda: accepts("127.0.0.1", port))
        results = await run()
        drawgate.terminate()
        code = await asyncio.to_thread(drawgate.end_code)
        if code != 0:
            raise ProgramError(f"drawgate ended with {code} after SIGTERM:\n{drawgate.output()}")
        return results
    finally:
        drawgate.kill()


async def drive(server, gate, cases):
    """Has a verbatim client go through every case of the suite's server, some at a time."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def run_case(number):
        async with slots:
            url = f"ws://127.0.0.1:{gate}/runCase?case={number}&agent=relayed"
            try:
                # Nothing of its own: no compression, no pings, no bound.
                async with websockets.connect(url, compression=None, ping_interval=None, max_size=None) as socket:
                    async with asyncio.timeout(CASE_SECONDS_MAX):
                        async for message in socket:
                            await socket.send(message)
            except websockets.ConnectionClosed:
                # As many cases want it.
                pass

    await asyncio.gather(*(run_case(number) for number in range(1, len(cases) + 1)))
    async with websockets.connect(f"ws://127.0.0.1:{gate}/updateReports?agent=relayed", compression=None) as socket:
        await socket.wait_closed()
    try:
        found = await asyncio.wait_for(server.get_result(), CASE_SECONDS_MAX)
    except FailureError as failure:
        found = failure.results
    results = dict.fromkeys(cases)
    results.update({result.case_id: result for result in found})
    for group in GROUPS:
        of_group = [case for case in cases if case.split(".")[0] == group]
        if of_group:
            good = sum(passed(results[case]) for case in of_group)
            print(f"group {group}: {good} of {len(of_group)}", flush=True)
    return results


def configuration(gate, application, more, compression, is_compressed):
    backend = f'{{ urls = ["ws://127.0.0.1:{application}"], compression = "{ON[is_compressed]}" }}'
    parts = [listener("gate", gate), route("gate", "*", backend), limits("gate", compression), more, FIREWALL]
    return "\n".join(parts)


def listener(name, port):
    return f'[listeners.{name}]\naddress = "127.0.0.1:{port}"\ntls = "none"\n'


def route(name, path, backend):
    return (
        f'[routes.{name}]\nlisteners = ["{name}"]\npath = "/{path}"\norigins = "any"\nauth = "none"\nbackend = {backend}\n'
    )


def limits(name, compression):
    """Those of autobahn.toml, for the same reasons."""
    return (
        f'[routes.{name}.limits]\nmessage_bytes_max = "64MiB"\nmessage_fragments_max = "unlimited"\nmessage_timeout = "120s"\n'
        f'compression = "{compression}"\ninflated_bytes_per_second = "unlimited"\n'
    )


def report_ahead(results):
    """Prints each of these cases that is worse than an answer that is not back yet; returns whether there is one."""
    good = {"OK", "NON-STRICT"}
    bad = [case for case, result in results.items() if result is None or not {result.behavior.value, result.behavior_close.value} <= good]
    for case in bad:
        print(f"{case}: {results[case] and (results[case].behavior.value, results[case].behavior_close.value, results[case].result)}")
    print(f"ahead of their answer: {len(results) - len(bad)} passed, {len(bad)} failed")
    return bool(bad)


def sentence(side, results, ahead_count):
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdict_counts(results).items(), reverse=True))
    return f"{SAID[side]}: {len(results) + ahead_count} cases: {counts}, and {ahead_count} ahead of their answer."


def page_is_current(said, write):
    """Compares the part of docs/autobahn.md that is about this with what this run gave, or writes it."""
    page = ROOT / "docs" / "autobahn.md"
    text = page.read_text()
    begin, end = text.index(BEGIN), text.index(END)
    new = text[:begin] + BEGIN + "\n\n" + "\n".join(f"- {line}" for line in said) + "\n\n" + text[end:]
    if write:
        page.write_text(new)
        print("wrote docs/autobahn.md")
        return True
    if new != text:
        print("docs/autobahn.md is not what this run gave; `make conformance WRITE=1` brings it up to date")
    return new == text


ON = {False: "off", True: "on"}
SIDES = {"before": before, "behind": behind}
SAID = {
    "before": "The suite as client, an application that echoes behind the gateway",
    "behind": "The suite as application, a client that echoes in front of the gateway",
}
# A message that is good, and in the same segment a frame that breaks a rule. RFC 6455 §7.1.7 has the connection failed at once, and the answer to
# the message, which takes a round trip to whoever gives it, comes too late: the suite has NON-STRICT for that. A server that answers by
# itself, as autobahn.py has it, is in time.
AHEAD_OF_ITS_ANSWER = ["3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"]
FIREWALL = '[firewall]\nhandshakes_per_client_per_minute = "unlimited"\n[log]\nlevel = "warn"\n'
CONCURRENCY = 4
CASE_SECONDS_MAX = 120

if __name__ == "__main__":
    try:
        main()
    except ProgramError as error:
        sys.exit(f"relayed: {error}")
