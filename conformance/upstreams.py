#!/usr/bin/env python3
"""Runs applications that others wrote behind `drawgate run`: on Python's websockets, and on Node's ws (conformance/upstreams/).

Each is driven through the gateway by a client: it must see the request as it was made, the subprotocol that it chose must come back,
messages of every kind and size must come whole and in order, pings must be answered, and a Close must go through with its code and
reason, whichever side begins; an application that vanishes is told as 1014. The gateway must know each as it says. Each runs with
permessage-deflate and without, before clients that compress and clients that do not. About 10 seconds.
A Rust one, drawgate itself, stands behind the gateway in relayed.py.
"""

import argparse
import asyncio
import json
import pathlib
import subprocess
import sys
import tempfile

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from program import ROOT, Program, ProgramError, accepts, find_binary, free_port


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", help="the program to test (default: target/debug/drawgate)")
    binary = find_binary(parser.parse_args().binary)
    failures = 0
    runs = [(name, extension) for name in APPLICATIONS for extension in ("", "deflate")]
    for name, extension in runs:
        with tempfile.TemporaryDirectory(prefix="drawgate-upstreams-") as directory:
            failure = run_before(binary, APPLICATIONS[name], extension, pathlib.Path(directory))
        print(f"{name}, {extension or 'plain'}: {failure or 'passed'}", flush=True)
        failures += bool(failure)
    print(f"upstreams: {len(runs) - failures} passed, {failures} failed")
    sys.exit(1 if failures else 0)


def run_before(binary, command, extension, directory):
    """What went wrong with the gateway before this application, which takes this extension, or None."""
    gate, application = free_port(), free_port()
    said = directory / "application.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [*command, str(application), extension], cwd=ROOT / "conformance", stdout=output, stderr=subprocess.STDOUT
        )
    config = directory / "upstreams.toml"
    config.write_text(CONFIGURATION.format(gate=gate, application=application))
    drawgate = None
    try:
        drawgate = Program(binary, ["run", "--config", str(config)], directory)
        drawgate.wait_until(lambda: accepts("127.0.0.1", gate) and accepts("127.0.0.1", application))
        for compression in (None, "deflate"):
            asyncio.run(asyncio.wait_for(talk(f"ws://127.0.0.1:{gate}", compression, extension), TALK_SECONDS_MAX))
        drawgate.terminate()
        if drawgate.end_code() != 0:
            return f"drawgate did not end well:\n{drawgate.output()}"
        # What the application heard of the client's Close.
        if "closed 4321 done here" not in said.read_text():
            return f"the client's Close did not come through:\n{said.read_text()}"
        return None
    except (AssertionError, TimeoutError, ConnectionClosed, OSError) as failure:
        return f"{failure!r}\n{said.read_text()}\n{drawgate.output() if drawgate else ''}"
    finally:
        if drawgate:
            drawgate.kill()
        process.kill()
        process.wait()


async def talk(url, compression, extension):
    """A client's life, several times, with this compression and before an application with that."""
    origin = "https://app.example"
    terms = {"subprotocols": ["chat.v1", "chat.v2"], "compression": compression, "max_size": None}
    async with connect(f"{url}/rooms/7?a=b", origin=origin, **terms) as socket:
        assert socket.subprotocol == "chat.v2", socket.subprotocol
        assert bool(socket.protocol.extensions) == bool(compression), socket.protocol.extensions
        await socket.send("request?")
        request = json.loads(await socket.recv())
        expected = {"path": "/rooms/7?a=b", "host": url.removeprefix("ws://"), "origin": origin, "client": "127.0.0.1"}
        expected["extensions"] = f"permessage-{extension}" if extension else ""
        assert request == expected, request
        for message in MESSAGES:
            await socket.send(message)
            answer = await socket.recv()
            assert answer == message, f"{len(message)} bytes came back as {len(answer)}"
        # Many at once, in their order.
        for number in range(1000):
            await socket.send(str(number))
        assert [await socket.recv() for _ in range(1000)] == [str(number) for number in range(1000)]
        await (await socket.ping())
        await socket.close(4321, "done here")
    for said, code, reason in [("close 4000 see you", 4000, "see you"), ("close 1001 ", 1001, "")]:
        assert await closed_by(url, said) == (code, reason)
    code, reason = await closed_by(url, "vanish")
    assert code == 1014 and reason.startswith("upstream_lost"), (code, reason)


async def closed_by(url, message):
    """The Close that follows this message."""
    async with connect(url, subprotocols=["chat.v2"], compression=None) as socket:
        await socket.send(message)
        try:
            raise AssertionError(f"{message}: {await socket.recv()}")
        except ConnectionClosed as closed:
            return closed.rcvd and (closed.rcvd.code, closed.rcvd.reason)


APPLICATIONS = {
    "websockets (Python)": [sys.executable, "upstreams/python_websockets.py"],
    "ws (Node.js)": ["node", "upstreams/node_ws.mjs"],
}
MESSAGES = ["", "h", "grün €😀", "a" * 125, "b" * 126, "c" * 65535, "d" * 65536, "é" * 300_000, b"", bytes(range(256)), bytes(900_000)]
CONFIGURATION = """
[listeners.main]
address = "127.0.0.1:{gate}"
tls = "none"

[routes.app]
listeners = ["main"]
path = "/*"
origins = "any"
auth = "none"
backend = {{ urls = ["ws://127.0.0.1:{application}"], compression = "on" }}
limits.compression = "on"
"""
TALK_SECONDS_MAX = 30

if __name__ == "__main__":
    try:
        main()
    except ProgramError as error:
        sys.exit(f"upstreams: {error}")
