#!/usr/bin/env python3
"""Runs real clients of three makers against `drawgate demo`: Python's websockets and aiohttp, and ws on Node.

Starts the demo in a temporary directory, waits until it is ready, issues a valid and an expired token, runs the
clients (conformance/clients/), then asks the demo to end while a connection is open. That connection must be told 1012,
the program must exit with 0, and no token may be found in anything that it wrote. About 12 seconds.

The demo's ports are fixed: 8765, 8888 and 9090 must be free.
"""

import argparse
import asyncio
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from program import ROOT, Program, ProgramError, accepts, find_binary


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", help="the program to test (default: target/debug/drawgate)")
    binary = find_binary(parser.parse_args().binary)
    for port in PORTS:
        if accepts("127.0.0.1", port):
            raise ProgramError(f"something already listens on 127.0.0.1:{port}, which the demo needs")
    with tempfile.TemporaryDirectory(prefix="drawgate-clients-") as directory:
        outcomes = run_in(pathlib.Path(directory), binary)
    failures = {name: failure for name, failure in outcomes.items() if failure}
    for name, failure in failures.items():
        print(f"FAILED: {name}: {failure}")
    print(f"clients: {len(outcomes) - len(failures)} passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)


def run_in(directory, binary):
    """The whole run: what was checked, each with what was wrong, or None."""
    data = directory / "data"
    demo = Program(binary, ["demo", "--data", str(data)], directory)
    try:
        demo.wait_until(is_ready)
        tokens = {
            "DRAWGATE_TOKEN": issue(binary, data, "1h"),
            "DRAWGATE_TOKEN_EXPIRED": issue(binary, data, "-1h"),
        }
        outcomes = {name: client_failure(command, tokens) for name, command in CLIENTS.items()}
        outcomes["drain"] = asyncio.run(drain_failure(demo))
        code = demo.end_code()
        outcomes["exit"] = None if code == 0 else f"drawgate demo exited with {code} after SIGTERM, not 0"
        outcomes["record"] = record_failure(data)
        outcomes["secrecy"] = secrecy_failure(directory, tokens.values())
        if any(outcomes.values()):
            print(f"what drawgate demo printed:\n{demo.output()}")
        return outcomes
    finally:
        demo.kill()


def is_ready():
    """What an orchestrator asks: /readyz answers 200."""
    try:
        with urllib.request.urlopen(f"{ADMIN_URL}/readyz", timeout=1) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def issue(binary, data, expires_in):
    """A token from the program itself, which prints it alone."""
    command = [binary, "token", "issue", "--subject", "alice", "--expires-in", expires_in, "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    token = done.stdout.rstrip("\n")
    if done.returncode != 0 or token.count(".") != 2 or len(token.split()) != 1:
        raise ProgramError(f"`{' '.join(command[1:])}` gave {done.returncode}, {done.stdout!r}, {done.stderr!r}")
    return token


def client_failure(command, tokens):
    """Runs one client's tests, which print for themselves."""
    print(f"--- {' '.join(command[1:])}", flush=True)
    urls = {"DRAWGATE_ECHO_URL": ECHO_URL, "DRAWGATE_AUTH_URL": AUTH_URL, "DRAWGATE_ADMIN_URL": ADMIN_URL}
    environment = {**os.environ, **urls, **tokens}
    try:
        done = subprocess.run(command, cwd=ROOT / "conformance", env=environment, timeout=CLIENT_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return f"not done after {CLIENT_SECONDS_MAX} s"
    return None if done.returncode == 0 else "see its own lines above"


async def drain_failure(demo):
    """SIGTERM while a connection is open: it is told 1012, service restart."""
    async with connect(ECHO_URL) as websocket:
        await websocket.send("still here")
        await websocket.recv()
        demo.terminate()
        try:
            async with asyncio.timeout(DRAIN_SECONDS_MAX):
                await websocket.recv()
            return "an open connection got a message instead of a Close after SIGTERM"
        except TimeoutError:
            return f"an open connection was not closed within {DRAIN_SECONDS_MAX} s of SIGTERM"
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else "no Close frame"
            return None if code == 1012 else f"an open connection was closed with {code} after SIGTERM, not 1012"


def record_failure(data):
    """Every refusal is on record under its label, as JSON lines."""
    files = list(data.rglob("websocket_errors.log"))
    if len(files) != 1:
        return f"there should be one websocket_errors.log under the data directory, there are {len(files)}"
    records = [json.loads(line) for line in files[0].read_text().splitlines()]
    missing = [label for label in LABELS if not any(holds(record, "reason", label) for record in records)]
    return f"websocket_errors.log has no record of {', '.join(missing)}" if missing else None


def secrecy_failure(directory, tokens):
    """No token that a client sent is found in anything that the program wrote."""
    for path in directory.rglob("*"):
        if path.is_file() and any(token.encode() in path.read_bytes() for token in tokens):
            return f"a token that a client sent was written to {path.relative_to(directory)}"
    return None


def holds(record, key, value):
    """Whether a JSON object has this key with this value, at any depth."""
    if not isinstance(record, dict):
        return False
    return record.get(key) == value or any(holds(inner, key, value) for inner in record.values())


PORTS = (8765, 8888, 9090)
ECHO_URL = "ws://127.0.0.1:8765"
AUTH_URL = "ws://127.0.0.1:8888"
ADMIN_URL = "http://127.0.0.1:9090"
CLIENTS = {
    "Python websockets": [sys.executable, "clients/python_websockets.py"],
    "Python aiohttp": [sys.executable, "clients/python_aiohttp.py"],
    "Node ws": ["node", "--test", "--test-reporter=spec", "clients/node_ws.mjs"],
}
# What the clients' refusals are called.
LABELS = ("token_expired", "token_invalid", "first_message_timeout")
# Each client waits once for the 5 s of silence; the rest is milliseconds.
CLIENT_SECONDS_MAX = 120
DRAIN_SECONDS_MAX = 15

if __name__ == "__main__":
    try:
        main()
    except ProgramError as error:
        sys.exit(f"clients: {error}")
