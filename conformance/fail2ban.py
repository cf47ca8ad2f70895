#!/usr/bin/env python3
"""The filter in packaging/fail2ban, by fail2ban-regex, over what the real program writes of clients that it refuses.

Each refusal is found, with the address of whoever was refused; what is well is not, nor what a peer writes to have another banned.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from program import ROOT, Program, ProgramError, accepts, find_binary, free_port
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

FILTER = ROOT / "packaging" / "fail2ban" / "filter.d" / "drawgate.conf"
CONFIG = """
[listeners.main]
address = "127.0.0.1:{port}"
tls = "none"

[routes.chat]
listeners = ["main"]
path = "/chat"
origins = "any"
auth = "users"
backend = "echo"

[routes.echo]
listeners = ["main"]
path = "/echo"
origins = "any"
auth = "none"
backend = "echo"
inspect = {{ format = "text", rules = [{{ name = "r", when = 'message == "bad"', then = "refuse" }}] }}

[auth.users]
credentials = ["authorization_header"]
algorithms = ["HS256"]
keys = {{ secret_file = "token.secret" }}
issuer = "any"
audience = "any"

[log]
error_file = {{ path = "errors.log" }}

[state]
store = "none"
"""
FORGED = '","client":"203.0.113.9","reason":"token_invalid'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="the program to test (default: target/debug/drawgate)")
    binary = find_binary(parser.parse_args().binary)
    with tempfile.TemporaryDirectory(prefix="drawgate-fail2ban-") as name:
        directory, port = pathlib.Path(name), free_port()
        (directory / "c.toml").write_text(CONFIG.format(port=port))
        (directory / "token.secret").write_text("0123456789abcdef" * 4)
        program = Program(binary, ["run", "--config", "c.toml"], directory)
        try:
            program.wait_until(lambda: accepts("127.0.0.1", port))
            for _ in range(3):
                refused(f"ws://127.0.0.1:{port}/chat", {"Authorization": "Bearer x"})
            # Not among what the filter looks for, and with another's address in it.
            refused(f"ws://127.0.0.1:{port}/nowhere", {"Origin": FORGED})
            with connect(f"ws://127.0.0.1:{port}/echo") as client:
                client.send("bad")
                client.send("good")
                assert client.recv() == "good"
        finally:
            program.terminate()
            program.end_code()
        log = directory / "errors.log"
        expected = [json.loads(line)["reason"] for line in log.read_text().splitlines()]
        counted = sum(reason in ("token_invalid", "policy_refused") for reason in expected)
        assert counted == 4 and "route_not_found" in expected, expected
        command, environment = fail2ban_regex()
        arguments = [*command, "--print-all-matched", log, FILTER]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, env=environment)
        found = re.search(r"Failregex: (\d+) total", done.stdout)
        if not found or int(found[1]) != counted or "203.0.113.9" in (matched := done.stdout.partition("Matched line(s):")[2]):
            sys.exit(f"fail2ban: {counted} refusals should be found, and nobody else's:\n{done.stdout}{done.stderr}")
        assert matched.count("127.0.0.1") >= counted, done.stdout
        print(f"fail2ban: {counted} of {len(expected)} records are refusals for it, each of the right client")


def fail2ban_regex():
    """The command, here or where conformance/install.sh has put it, and its environment."""
    if path := shutil.which("fail2ban-regex"):
        return [path], None
    tools = ROOT / "target" / "tools" / "fail2ban"
    modules = str(tools / "usr" / "lib" / "python3" / "dist-packages")
    # Debian's own Python is the one that it is made for.
    python = "/usr/bin/python3" if pathlib.Path("/usr/bin/python3").exists() else sys.executable
    return [python, str(tools / "usr" / "bin" / "fail2ban-regex")], os.environ | {"PYTHONPATH": modules}


def refused(url, headers):
    try:
        with connect(url, additional_headers=headers):
            raise AssertionError(f"{url}: it got in")
    except InvalidStatus:
        pass


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, ProgramError) as error:
        sys.exit(f"fail2ban: {error}")
