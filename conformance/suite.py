"""The Autobahn test suite as autobahn.py and relayed.py run it: its groups, its verdicts, and what is printed of them.

The cases come from the kosoku package (conformance/requirements.txt).
"""

import asyncio
import collections
import re
import time

from kosoku import FailureError, run_fuzzingclient
from kosoku.cases import CASES


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
DESCRIPTION_SHOWN_MAX = 160
# What stands between these in docs/autobahn.md is relayed.py's.
BEGIN = "<!-- through the gateway -->"
END = "<!-- end -->"
