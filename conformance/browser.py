#!/usr/bin/env python3
"""A page in headless Chromium against the real program: what scripts in a browser send, and what they are shown.

Starts drawgate with conformance/browser.toml, serves conformance/clients/page.html from this machine, opens it in Chromium,
and lets it hold conversations: echoes with and without compression, close codes and reasons, refusals. What goes over the
wire is counted by a relay between the two, since neither end tells. About 2 seconds.
"""

import argparse
import asyncio
import base64
import json
import pathlib
import secrets
import subprocess
import sys
import tempfile
import urllib.request

from chromium import Chromium, ChromiumError
from program import ROOT, Program, ProgramError, accepts, find_binary, free_port
from served import Served


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", help="the program to test (default: target/debug/drawgate)")
    binary = find_binary(parser.parse_args().binary)
    with tempfile.TemporaryDirectory(prefix="drawgate-browser-") as directory, Served({"/": ROOT / "conformance" / "clients"}) as page_port:
        failures = asyncio.run(run_in(pathlib.Path(directory), binary, page_port))
    sys.exit(1 if failures else 0)


async def run_in(directory, binary, page_port):
    """Starts everything, makes every check, ends everything; returns the names of the checks that failed."""
    gateway = Gateway(directory, binary, f"http://127.0.0.1:{page_port}")
    try:
        gateway.program.wait_until(lambda: accepts("127.0.0.1", gateway.port))
        async with Chromium() as chromium:
            gateway.page = await chromium.open(f"http://127.0.0.1:{page_port}/page.html")
            # The same page by another name is of another origin.
            gateway.foreign_page = await chromium.open(f"http://localhost:{page_port}/page.html")
            failures = [check.__name__ for check in CHECKS if not await passes(check, gateway)]
        if failures:
            print(f"what drawgate printed last:\n{gateway.program.output()[-OUTPUT_SHOWN_MAX:]}")
        print(f"browser: {len(CHECKS) - len(failures)} passed, {len(failures)} failed")
        return failures
    finally:
        gateway.program.kill()


async def passes(check, gateway):
    """Makes one check, and says how it went."""
    name = check.__name__.replace("_", " ")
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            await check(gateway)
    except TimeoutError:
        print(f"FAILED: {name}: not done after {CHECK_SECONDS_MAX} s")
    except (AssertionError, ChromiumError, ProgramError) as failure:
        print(f"FAILED: {name}: {failure}")
    else:
        print(f"ok: {name}", flush=True)
        return True
    return False


class Gateway:
    """The program under test, with the two pages that talk to it."""

    def __init__(self, directory, binary, origin):
        self.binary = binary
        self.port, self.admin_port = free_port(), free_port()
        self.config = directory / "browser.toml"
        self.config.write_text(
            replaced(
                (ROOT / "conformance" / "browser.toml").read_text(),
                {"127.0.0.1:9001": f"127.0.0.1:{self.port}", "127.0.0.1:9090": f"127.0.0.1:{self.admin_port}"}
                | {"http://page.example:1": origin},
            )
        )
        (directory / "token.secret").write_text(secrets.token_hex(32))
        self.program = Program(binary, ["run", "--config", str(self.config)], directory)
        self.page = self.foreign_page = None

    def url(self, route, port=None):
        return f"ws://127.0.0.1:{port or self.port}/{route}"

    async def converse(self, route, send=(), answers=0, close=(1000, "done"), port=None):
        """A conversation of the page's, and all that it saw; without `close`, the server is to end it."""
        wanted = {"send": [encoded(message) for message in send], "answers": answers, "close": close and list(close)}
        seen = await self.page.run("converse", self.url(route, port), wanted)
        seen["messages"] = [decoded(message) for message in seen["messages"]]
        return seen

    def token(self, expires_in):
        """A token for the members' route."""
        command = [self.binary, "token", "issue", "--subject", "alice", "--expires-in", expires_in]
        done = subprocess.run([*command, "--config", self.config], capture_output=True, text=True, timeout=10)
        if done.returncode != 0:
            raise ProgramError(f"no token was issued: {done.stderr}")
        return done.stdout.strip()

    def metric(self, name):
        """The value of one metric, named with its labels as it is printed; 0 where it is not there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        values = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")]
        return int(values[0]) if values else 0


async def text_and_binary_come_back_as_they_were(gateway):
    seen = await gateway.converse("plain", MESSAGES, answers=len(MESSAGES))
    equal(seen["messages"], MESSAGES, "the messages")
    equal(seen["extensions"], "", "socket.extensions")
    equal((seen["code"], seen["wasClean"]), (1000, True), "the close")


async def they_do_compressed_too(gateway):
    seen = await gateway.converse("compressed", MESSAGES, answers=len(MESSAGES))
    equal(seen["messages"], MESSAGES, "the messages")
    names = [extension.split(";")[0].strip() for extension in seen["extensions"].split(",")]
    equal(names, ["permessage-deflate"], f"the extensions in {seen['extensions']!r}")
    equal((seen["code"], seen["wasClean"]), (1000, True), "the close")


async def what_is_compressed_is_small_on_the_wire_both_ways(gateway):
    for route, is_small in (("plain", False), ("compressed", True)):
        payload = f'drawgate_payload_bytes_total{{route="{route}",direction="in",kind="text"}}'
        before = gateway.metric(payload)
        async with Relay(gateway.port) as relay:
            seen = await gateway.converse(route, [LONG_TEXT], answers=1, port=relay.port)
        equal(seen["messages"], [LONG_TEXT], "the messages")
        length = len(LONG_TEXT.encode())
        equal(gateway.metric(payload) - before, length, f"the bytes that the gateway counted on {route}")
        for direction, count in relay.bytes.items():
            # The handshake and the Close are in it, a few hundred bytes.
            small = count < length / 10
            equal(small, is_small, f"{length} bytes of text on {route} were {count} {direction} the gateway; small")


async def a_close_of_the_page_is_answered_with_its_code(gateway):
    for route in ("plain", "compressed"):
        seen = await gateway.converse(route, close=(4001, "mine"))
        equal((seen["code"], seen["reason"], seen["wasClean"]), (4001, "", True), f"the close on {route}")


async def a_message_too_big_closes_with_1009(gateway):
    seen = await gateway.converse("small", ["x" * 1024, "x" * 1025], answers=2, close=None)
    equal(seen["messages"], ["x" * 1024], "the messages")
    equal((seen["code"], seen["wasClean"]), (1009, True), "the close")
    begins(seen["reason"], "message_too_big: ")


async def a_valid_token_opens_the_echo(gateway):
    seen = await gateway.converse("members", [gateway.token("1h"), "hello"], answers=2)
    notice, *others = seen["messages"]
    equal((json.loads(notice)["type"], json.loads(notice)["subject"]), ("authenticated", "alice"), "the notice")
    equal((others, seen["code"]), (["hello"], 1000), "what followed it")


async def a_token_that_is_none_closes_with_3000(gateway):
    await is_refused(gateway, "this is no token", "Token Invalid", "token_invalid")


async def an_expired_token_closes_with_3000(gateway):
    await is_refused(gateway, gateway.token("-1h"), "Token Expired", "token_expired")


async def is_refused(gateway, first_message, title, label):
    """The first message is answered with a notice, then a Close."""
    seen = await gateway.converse("members", [first_message, "hello"], close=None)
    equal((seen["code"], seen["wasClean"]), (3000, True), "the close")
    begins(seen["reason"], f"{label}: ")
    equal(len(seen["messages"]), 1, "the number of notices")
    notice = json.loads(seen["messages"][0])
    equal((notice["title"], notice["close_code"]), (title, 3000), "the notice")


async def a_page_of_another_origin_is_refused(gateway):
    ends = 'drawgate_ends_total{reason="origin_refused",side="gateway"}'
    before = gateway.metric(ends)
    seen = await gateway.foreign_page.run("converse", gateway.url("plain"), {"close": [1000]})
    equal((seen["opened"], seen["code"], seen["reason"], seen["wasClean"]), (False, 1006, "", False), "what the page saw")
    # The end is counted right after the refusal is sent, and the page may be quicker.
    while gateway.metric(ends) == before:
        await asyncio.sleep(0.05)
    equal(gateway.metric(ends) - before, 1, ends)


async def a_path_without_a_route_is_refused(gateway):
    seen = await gateway.converse("nowhere")
    equal((seen["opened"], seen["code"], seen["wasClean"]), (False, 1006, False), "what the page saw")


async def the_end_of_the_program_closes_with_1012(gateway):
    await gateway.page.run("hold", gateway.url("compressed"))
    gateway.program.terminate()
    seen = await gateway.page.run("ended")
    equal((seen["code"], seen["wasClean"]), (1012, True), "the close")
    begins(seen["reason"], "draining: ")
    equal(await asyncio.to_thread(gateway.program.end_code), 0, "the exit code")


class Relay:
    """Carries one connection after another to a port of this machine, and counts the bytes."""

    def __init__(self, port):
        self.target_port = port
        self.bytes = {"to": 0, "from": 0}

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def carry(self, reader, writer):
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        await asyncio.gather(self.pour(reader, target_writer, "to"), self.pour(target_reader, writer, "from"))

    async def pour(self, reader, writer, direction):
        while piece := await reader.read(65536):
            self.passed(piece, direction)
            writer.write(piece)
            await writer.drain()
        writer.close()

    def passed(self, piece, direction):
        self.bytes[direction] += len(piece)


def replaced(text, replacements):
    """The text with each of these replaced, none of which may be missing."""
    for old, new in replacements.items():
        if old not in text:
            raise ProgramError(f"conformance/browser.toml must name {old}")
        text = text.replace(old, new)
    return text


def encoded(message):
    return {"text": message} if isinstance(message, str) else {"binary": base64.b64encode(message).decode()}


def decoded(message):
    return message["text"] if "text" in message else base64.b64decode(message["binary"])


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {shown(found)}, not {shown(expected)}")


def begins(found, expected):
    if not found.startswith(expected) or found == expected:
        raise AssertionError(f"the reason: {shown(found)}, which should begin with {expected!r}")


def shown(value):
    """A value for a person, whose terminal has an end."""
    text = repr(value)
    return text if len(text) <= VALUE_SHOWN_MAX else f"{text[:VALUE_SHOWN_MAX]}… ({len(text)} characters)"


CHECKS = [
    text_and_binary_come_back_as_they_were,
    they_do_compressed_too,
    what_is_compressed_is_small_on_the_wire_both_ways,
    a_close_of_the_page_is_answered_with_its_code,
    a_message_too_big_closes_with_1009,
    a_valid_token_opens_the_echo,
    a_token_that_is_none_closes_with_3000,
    an_expired_token_closes_with_3000,
    a_page_of_another_origin_is_refused,
    a_path_without_a_route_is_refused,
    # The last one: there is no program after it.
    the_end_of_the_program_closes_with_1012,
]
LONG_TEXT = "0123456789abcde\n" * 6400
# Characters of one to four bytes; 100 KB of text, of text in three bytes a character, and of bytes that do not shrink.
MESSAGES = [
    "hello",
    "",
    "aé€𝄞 שלום 👩‍👩‍👧",
    LONG_TEXT,
    "路漫漫其修遠兮" * 5000,
    b"",
    bytes(range(256)),
    secrets.token_bytes(100_000),
    "last",
]
CHECK_SECONDS_MAX = 20
OUTPUT_SHOWN_MAX = 4000
VALUE_SHOWN_MAX = 200

if __name__ == "__main__":
    try:
        main()
    except (ChromiumError, ProgramError) as error:
        sys.exit(f"browser: {error}")
