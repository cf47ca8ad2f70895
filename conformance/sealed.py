#!/usr/bin/env python3
"""The page examples/sealed.html in headless Chromium against a route that seals its messages: what it seals opens, and back.

Starts drawgate, serves the page with `jose` beside it, and types into it: a key and messages, then the key of nobody. What
goes back over the wire is looked at by a relay between the two. About 2 seconds.
"""

import argparse
import asyncio
import base64
import json
import pathlib
import secrets
import sys
import tempfile

from browser import Relay
from chromium import Chromium, ChromiumError
from program import ROOT, Program, ProgramError, accepts, find_binary, free_port
from served import Served

CONFIG = """
[listeners.main]
address = "127.0.0.1:{port}"
tls = "none"

[routes.sealed]
listeners = ["main"]
path = "/sealed"
origins = ["{origin}"]
auth = "none"
backend = "echo"
seal = {{ key_id = "2026-11", secret_file = "seal.key" }}
"""
MESSAGES = ["hello", "", "aé€𝄞 שלום", "hello", "x" * 20_000, "last"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", help="the program to test (default: target/debug/drawgate)")
    binary = find_binary(parser.parse_args().binary)
    # `jose` is there as it is for browsers.
    folders = {"/jose/": JOSE, "/": ROOT / "examples"}
    with tempfile.TemporaryDirectory(prefix="drawgate-sealed-") as directory, Served(folders) as page_port:
        asyncio.run(talk(pathlib.Path(directory), binary, f"http://127.0.0.1:{page_port}"))
    print("sealed: passed")


async def talk(directory, binary, origin):
    """Starts everything, holds both conversations, ends everything."""
    port, key = free_port(), secrets.token_hex(32)
    (directory / "seal.key").write_text(key + "\n")
    (directory / "seal.key").chmod(0o600)
    (directory / "gate.toml").write_text(CONFIG.format(port=port, origin=origin))
    program = Program(binary, ["run", "--config", "gate.toml"], directory)
    try:
        program.wait_until(lambda: accepts("127.0.0.1", port))
        async with Chromium() as chromium, KeepingRelay(port) as relay:
            page = await chromium.open(f"{origin}/sealed.html")
            await what_is_sealed_comes_back_opened(page, relay, key)
            await a_key_of_nobody_closes(page, relay)
    except (AssertionError, ChromiumError, TimeoutError):
        print(f"what drawgate printed last:\n{program.output()[-4000:]}")
        raise
    finally:
        program.kill()


async def what_is_sealed_comes_back_opened(page, relay, key):
    await join(page, relay, key)
    for message in MESSAGES:
        await say(page, message)
    lines = await lines_of(page, 1 + len(MESSAGES))
    assert json.loads(lines[0][1])["kid"] == "2026-11", lines[0]
    assert lines[1:] == [["sealed", message] for message in MESSAGES], str(lines)[:500]
    # The notice and the Close are in the open; no message is.
    sealed = relay.kept.count(base64.urlsafe_b64encode(b'{"alg":"dir"'))
    assert sealed == len(MESSAGES), f"{sealed} sealed messages"
    assert b"hello" not in relay.kept and b"x" * 100 not in relay.kept, "a message is in the open"
    print("ok: what is sealed comes back opened", flush=True)


async def a_key_of_nobody_closes(page, relay):
    await page.evaluate("document.getElementById('log').replaceChildren()")
    await join(page, relay, secrets.token_hex(32))
    await say(page, "hello")
    kind, text = (await lines_of(page, 2))[1]
    assert kind == "closed" and text.startswith("1008 payload_unsealed"), (kind, text)
    print("ok: a key of nobody closes", flush=True)


async def join(page, relay, key):
    await fill(page, {"address": f"ws://127.0.0.1:{relay.port}/sealed", "key": key}, "opening")
    await lines_of(page, 1)


async def say(page, message):
    await fill(page, {"message": message}, "saying")


async def fill(page, fields, form):
    for name, value in fields.items():
        await page.evaluate(f"document.getElementById('{name}').value = {json.dumps(value)}")
    await page.evaluate(f"document.getElementById('{form}').requestSubmit()")


async def lines_of(page, count):
    """What the page has noted, once it is so many lines."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            lines = await page.evaluate("[...document.querySelectorAll('#log li')].map(line => [line.dataset.kind, line.textContent])")
            if len(lines) >= count:
                return lines
            await asyncio.sleep(0.05)


class KeepingRelay(Relay):
    """Keeps what comes from the gateway, too: its frames are not masked."""

    def __init__(self, port):
        super().__init__(port)
        self.kept = b""

    def passed(self, piece, direction):
        super().passed(piece, direction)
        self.kept += piece if direction == "from" else b""


JOSE = ROOT / "conformance" / "node_modules" / "jose" / "dist" / "webapi"
WAIT_SECONDS_MAX = 20

if __name__ == "__main__":
    try:
        main()
    except (AssertionError, ChromiumError, ProgramError, TimeoutError) as error:
        sys.exit(f"sealed: {type(error).__name__}: {error}")
