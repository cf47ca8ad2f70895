#!/usr/bin/env python3
"""A chat application that others wrote, as it is, behind the gateway: two people in Chromium, one says something, the other sees it.

The pages are those of Converse.js, served by nginx, which sends what asks for an upgrade to `drawgate run`; that relays to the
chat's server, Prosody, which only the gateway knows. All of their configurations are in conformance/chat/. That the words went
through the gateway as WebSocket messages is held against its counters, its log, nginx's log, and its end: without it the chat
is off, and with another one it comes back by itself. About 5 seconds.
"""

import argparse
import asyncio
import base64
import json
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.request

from chromium import Chromium, ChromiumError
from program import ROOT, Program, ProgramError, accepts, find_binary, free_port


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", help="the program to test (default: target/debug/drawgate)")
    parser.add_argument("--screenshot", type=pathlib.Path, help="a file for a picture of what is seen")
    arguments = parser.parse_args()
    binary = find_binary(arguments.binary)
    with tempfile.TemporaryDirectory(prefix="drawgate-chat-") as directory:
        chat = Chat(pathlib.Path(directory), binary)
        try:
            chat.start()
            asyncio.run(asyncio.wait_for(talk(chat, arguments.screenshot), TALK_SECONDS_MAX))
        except (AssertionError, ChromiumError, ProgramError, TimeoutError) as failure:
            sys.exit(f"chat: {failure!r}\n{chat.outputs()}")
        finally:
            chat.end()
    print("chat: passed")


class Chat:
    """nginx, the gateway and Prosody, in one directory on ports of their own."""

    def __init__(self, directory, binary):
        self.binary, self.directory = binary, directory
        self.ports = {named: free_port() for named in PORTS}
        self.processes, self.drawgate = [], None

    def start(self):
        nginx = self.configured("nginx.conf", {})
        data = self.directory / "data"
        prosody = self.configured("prosody.cfg.lua", {"/var/lib/prosody": str(data)})
        # nginx's workers are nobody, who must get at the pages.
        self.directory.chmod(0o755)
        (self.directory / "pages").mkdir()
        shutil.copy(HERE / "index.html", self.directory / "pages")
        shutil.copytree(HERE / "node_modules" / "converse.js" / "dist", self.directory / "converse.js" / "dist")
        self.passwords = {name: secrets.token_hex(8) for name in ("alice", "bob")}
        accounts = data / "localhost" / "accounts"
        accounts.mkdir(parents=True)
        for name, password in self.passwords.items():
            (accounts / f"{name}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')
        self.run("prosody", ["lua5.4", str(self.launcher()), "-F", "--config", str(prosody)])
        self.run("nginx", [program("nginx"), "-p", str(self.directory), "-e", "nginx-errors.log", "-c", str(nginx), "-g", "daemon off;"])
        self.drawgate = self.gateway()
        self.drawgate.wait_until(lambda: all(accepts("127.0.0.1", port) for port in self.ports.values()))

    def gateway(self):
        config = self.configured("drawgate.toml", {})
        return Program(self.binary, ["run", "--config", str(config)], self.directory)

    def configured(self, name, replacements):
        """A configuration of conformance/chat/ with the ports of this run, and these replaced, none of which may be missing."""
        text = (HERE / name).read_text()
        for old, new in replacements.items():
            if old not in text:
                raise ProgramError(f"conformance/chat/{name} must name {old}")
            text = text.replace(old, new)
        for named, port in self.ports.items():
            text = text.replace(str(named), str(port))
        (self.directory / name).write_text(text)
        return self.directory / name

    def launcher(self):
        """Prosody's program; where its package is only unpacked, told where."""
        if installed := shutil.which("prosody"):
            return installed
        unpacked = ROOT / "target" / "tools" / "prosody" / "usr"
        text = (unpacked / "bin" / "prosody").read_text()
        launcher = self.directory / "prosody.lua"
        launcher.write_text(text.replace("'/usr/lib/prosody", f"'{unpacked}/lib/prosody"))
        return launcher

    def run(self, name, command):
        with (self.directory / f"{name}.txt").open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self.processes.append(process)

    def end(self):
        if self.drawgate:
            self.drawgate.kill()
        for process in self.processes:
            process.terminate()
            process.wait(END_SECONDS_MAX)

    def outputs(self):
        """What everything printed last, for a failure."""
        files = [*self.directory.glob("*.txt"), *self.directory.glob("*.log")]
        return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')[-OUTPUT_SHOWN_MAX:]}" for file in files)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.ports[8000]}/"

    def messages(self):
        """How many text messages the gateway has counted, by direction."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[9090]}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        counts = {}
        for direction in ("in", "out"):
            name = f'drawgate_messages_total{{route="chat",direction="{direction}",kind="text"}} '
            counts[direction] = sum(int(line.removeprefix(name)) for line in lines if line.startswith(name))
        return counts

    def asked(self):
        """What nginx was asked for besides files: client, status, method, path, upgrade."""
        lines = (self.directory / "access.log").read_text().splitlines()
        return [line for line in lines if not line.endswith(" upgrade=-") or " 200 GET " not in line]

    def opened(self):
        """The gateway's records of connections that opened."""
        lines = [line for line in self.drawgate.output().splitlines() if line.startswith("{")]
        return [record for record in map(json.loads, lines) if record.get("message") == "connection opened"]


async def talk(chat, screenshot):
    async with Chromium() as chromium:
        alice, bob = await enter(chromium, chat, "alice"), await enter(chromium, chat, "bob")
        # In one frame to Prosody, which takes no message in parts, and in many reads from Chromium.
        said = {"alice": f"hello bob, {secrets.token_hex(8)} – grün €😀 {'long ' * 8000}end", "bob": f"hello alice, {secrets.token_hex(8)}"}
        for speaker, name, listener in ((alice, "alice", bob), (bob, "bob", alice)):
            before = chat.messages()
            await say(speaker, said[name])
            await until(listener, f"{SEEN}.some(text => text == {json.dumps(said[name])})", f"what {name} said is seen")
            after = chat.messages()
            # The words to the server; from there to both, since a room tells its speaker too.
            assert after["in"] > before["in"] and after["out"] >= before["out"] + 2, (before, after)
        await is_through_the_gateway_alone(chat)
        if screenshot:
            await picture(chromium, bob, screenshot)
        await is_off_without_the_gateway_and_back_with_it(chat, alice)


async def enter(chromium, chat, name):
    """A browser of a person's own, in which this one logs in and enters the room."""
    page = await chromium.open(chat.url, alone=True)
    await until(page, "document.querySelector('#converse-login-password')", "the form to log in is there")
    await page.evaluate(LOG_IN % (json.dumps(f"{name}@localhost"), json.dumps(chat.passwords[name])))
    await until(page, f"document.querySelector({json.dumps(WORDS)})", f"{name} is in the room")
    return page


async def say(page, words):
    """Writes into the room as a keyboard does, and sends with its Enter."""
    await page.evaluate(f"document.querySelector({json.dumps(WORDS)}).focus()")
    await page.chromium.call("Input.insertText", page.session, text=words)
    for kind in ("keyDown", "keyUp"):
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        await page.chromium.call("Input.dispatchKeyEvent", page.session, type=kind, **enter)


async def is_through_the_gateway_alone(chat):
    """What people asked for, beside files, is connections through the gateway, and nothing by which words could go otherwise."""
    opened = chat.opened()
    assert len(opened) >= 2, opened
    assert {(record["route"], record["client"]) for record in opened} == {("chat", "127.0.0.1")}, opened
    assert set(chat.asked()) <= {UPGRADED}, chat.asked()


async def is_off_without_the_gateway_and_back_with_it(chat, page):
    """The gateway drains; all connections end, and nothing can be said. With another, the chat comes back by itself."""
    chat.drawgate.terminate()
    assert chat.drawgate.end_code() == 0, "drawgate did not end well"
    await until(page, f"!document.querySelector({json.dumps(WORDS)})", "nothing can be written any more")
    # nginx writes of an upgrade when it has ended.
    assert chat.asked().count(UPGRADED) == len(chat.opened()), (chat.asked(), chat.opened())
    chat.drawgate = chat.gateway()
    await until(page, f"document.querySelector({json.dumps(WORDS)})", "the chat has come back")


async def until(page, condition, what):
    """Returns once a JavaScript expression holds in the page."""
    for _ in range(int(SEEN_SECONDS_MAX / 0.1)):
        if await page.evaluate(f"Boolean({condition})"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within {SEEN_SECONDS_MAX} s: {what}\n{await page.evaluate('document.body.innerText')}")


async def picture(chromium, page, file):
    answer = await chromium.call("Page.captureScreenshot", page.session, format="png")
    file.write_bytes(base64.b64decode(answer["data"]))


def program(name):
    return shutil.which(name) or f"/usr/sbin/{name}"


HERE = ROOT / "conformance" / "chat"
# The ports that the configurations name: of nginx, the gateway, its metrics, and Prosody.
PORTS = (8000, 8080, 9090, 5280)
LOG_IN = """((jid, password) => {
  for (const [field, value] of [['#converse-login-jid', jid], ['#converse-login-password', password]]) {
    const input = document.querySelector(field);
    input.value = value;
    input.dispatchEvent(new Event('input', { bubbles: true }));
  }
  document.querySelector('#converse-login-password').form.requestSubmit();
})(%s, %s)"""
UPGRADED = "127.0.0.1 101 GET /xmpp-websocket upgrade=websocket"
WORDS = "converse-muc textarea.chat-textarea"
SEEN = "[...document.querySelectorAll('converse-chat-message-body')].map(body => body.innerText.trim())"
TALK_SECONDS_MAX = 120
SEEN_SECONDS_MAX = 30
END_SECONDS_MAX = 10
OUTPUT_SHOWN_MAX = 4000

if __name__ == "__main__":
    main()
