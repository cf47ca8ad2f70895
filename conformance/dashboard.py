#!/usr/bin/env python3
"""The dashboard in headless Chromium against the real program: what it shows of real connections, and what it does to them.

Starts drawgate with clients of its own, opens the admin listener's page in Chromium, and looks: at the login, at numbers that move, at
what peers wrote, which must stay text, at a session that is ended, at a ban. `--screenshots FOLDER` keeps pictures, dark, light and of a
phone. About 10 seconds.
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
from program import Program, ProgramError, accepts, find_binary, free_port
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

HOSTILE = "<img src=x onerror=window.hit=1><script>window.hit=1</script>"
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
notice = "json"
inspect = {{ format = "json", rules = [{{ name = "no noise", when = 'message.type == "noise"', then = "refuse" }}] }}

[routes.game]
listeners = ["main"]
path = "/game"
origins = "any"
auth = "none"
backend = {{ urls = ["ws://127.0.0.1:{port}/chat-backend", "ws://127.0.0.1:{nobody}"], failures_max = 1, balance = "round_robin" }}

[routes.chat_backend]
listeners = ["main"]
path = "/chat-backend"
origins = "any"
auth = "none"
backend = "echo"

[auth.users]
credentials = ["authorization_header"]
algorithms = ["HS256"]
keys = {{ secret_file = "token.secret" }}
issuer = "any"
audience = "any"

[state]
store = "none"

[admin]
address = "127.0.0.1:{admin}"
tokens.operator = {{ file = "operator.token", scopes = ["read", "operate"] }}
tokens.reader = {{ file = "reader.token", scopes = ["read"] }}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", help="the program to test (default: target/debug/drawgate)")
    parser.add_argument("--screenshots", type=pathlib.Path, help="a folder for pictures of what is seen")
    arguments = parser.parse_args()
    binary = find_binary(arguments.binary)
    with tempfile.TemporaryDirectory(prefix="drawgate-dashboard-") as directory:
        asyncio.run(look(pathlib.Path(directory), binary, arguments.screenshots))
    print("dashboard: passed")


class Gateway:
    """The program, and what a client needs to get in."""

    def __init__(self, directory, binary):
        self.binary, self.directory = binary, directory
        self.port, self.admin_port = free_port(), free_port()
        self.config = directory / "dashboard.toml"
        self.config.write_text(CONFIG.format(port=self.port, admin=self.admin_port, nobody=free_port()))
        for name in ("token.secret", "operator.token", "reader.token"):
            path = directory / name
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
        self.start()

    def start(self):
        self.program = Program(self.binary, ["run", "--config", str(self.config)], self.directory)
        self.program.wait_until(lambda: accepts("127.0.0.1", self.admin_port))

    def admin_token(self, name):
        return (self.directory / f"{name}.token").read_text()

    def join(self, subject):
        command = [self.binary, "token", "issue", "--subject", subject, "--expires-in", "1h", "--config", self.config]
        token = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        return connect(f"ws://127.0.0.1:{self.port}/chat", additional_headers={"Authorization": f"Bearer {token}"})


async def look(directory, binary, pictures):
    gateway = Gateway(directory, binary)
    try:
        async with Chromium() as chromium:
            page = await chromium.open(f"http://127.0.0.1:{gateway.admin_port}/")
            await chromium.call("Emulation.setDeviceMetricsOverride", page.session, width=1280, height=1000, deviceScaleFactor=1, mobile=False)
            await is_guarded(gateway, page)
            await a_wrong_token_is_told(page)
            await log_in(page, gateway.admin_token("operator"))
            await what_happens_is_seen(gateway, page)
            await what_peers_write_stays_text(gateway, page)
            await an_operator_ends_a_session_and_bans(gateway, page)
            async with gateway.join("alice") as one, gateway.join("bob") as other:
                await talk(gateway, one, other)
                await pictures_of(chromium, page, pictures)
            await who_may_only_look_changes_nothing(gateway, page)
            foreign = await page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
            assert foreign and all(name.startswith(f"http://127.0.0.1:{gateway.admin_port}/") for name in foreign), foreign
            gateway.program.kill()
            await until(page, "document.getElementById('state').dataset.state == 'lost'", "that the gateway is gone is told")
            await what_another_gateway_tells_is_seen(gateway, page)
            await who_logs_out_hears_no_more(gateway, page)
    finally:
        gateway.program.kill()


async def is_guarded(gateway, page):
    """R23: the page may load, run and be framed by nothing but itself, and holds no data."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin_port}/", timeout=5) as answer:
        policy, body = answer.headers["Content-Security-Policy"], answer.read().decode()
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"):
        assert part in policy, policy
    assert "style=" not in body and "onclick" not in body and "<script>" not in body
    await page.evaluate("{ const made = document.createElement('script'); try { made.append('window.inline = 1'); document.head.append(made) } catch {} }")
    refused = "(() => { try { document.body.innerHTML = '<img src=x onerror=window.hit=1>'; return false } catch { return true } })()"
    assert await page.evaluate(refused), "the page takes text for markup"
    assert await page.evaluate("window.inline === undefined && window.hit === undefined"), "a script that is not the page's runs"


async def a_wrong_token_is_told(page):
    await log_in(page, "not-a-token")
    await until(page, "!document.getElementById('login-error').hidden", "a wrong token is told")
    assert await page.evaluate("document.getElementById('board').hidden && !document.getElementById('login').hidden")
    assert await page.evaluate("sessionStorage.length") == 0


async def log_in(page, token):
    await page.evaluate(f"document.getElementById('token').value = {json.dumps(token)}")
    await page.evaluate("document.getElementById('login-form').requestSubmit()")


async def what_happens_is_seen(gateway, page):
    await until(page, "document.getElementById('state').dataset.state == 'on'", "the page is live")
    assert "Nobody has a session." in await text(page, "sessions")
    async with gateway.join("alice") as client:
        await until(page, "document.getElementById('sessions').textContent.includes('alice')", "a session is listed")
        await until(page, "document.getElementById('n-connections').textContent == '1'", "a connection is counted")
        for _ in range(40):
            await client.send(json.dumps({"type": "chat"}))
            await client.recv()
        await until(page, "Number(document.getElementById('n-in').textContent) > 1", "messages are seen as they move")
        await client.send(json.dumps({"type": "noise"}))
        await client.recv()
        await until(page, "document.getElementById('events').textContent.includes('policy_refused')", "a refusal is an event")
    await until(page, "document.getElementById('n-connections').textContent == '0'", "the end is counted")
    # Beside the one that is there, the other takes no connection, and is left alone.
    async with connect(f"ws://127.0.0.1:{gateway.port}/game"), connect(f"ws://127.0.0.1:{gateway.port}/game"):
        await until(page, "document.getElementById('upstreams').textContent.includes('left alone')", "an upstream's state")


async def what_peers_write_stays_text(gateway, page):
    async with gateway.join(HOSTILE):
        await until(page, f"document.getElementById('sessions').textContent.includes({json.dumps(HOSTILE)})", "a hostile name")
        try:
            async with connect(f"ws://127.0.0.1:{gateway.port}/chat", origin="http://evil.example/<b>", additional_headers={"Authorization": "Bearer x<script>"}):
                raise AssertionError("it got in")
        except InvalidStatus:
            pass
        await until(page, "document.getElementById('events').textContent.includes('token_invalid')", "a refusal")
    assert await page.evaluate("window.hit === undefined"), "what a peer wrote has run"
    assert await page.evaluate("document.querySelectorAll('#board img, #board script, #board b').length") == 0


async def an_operator_ends_a_session_and_bans(gateway, page):
    async with gateway.join("mallory") as client:
        await until(page, "document.getElementById('sessions').textContent.includes('mallory')", "the session is listed")
        click = "[...document.querySelectorAll('#sessions tr')].find(row => row.textContent.includes('mallory')).querySelector('button').click()"
        await page.evaluate(click)
        try:
            await asyncio.wait_for(client.recv(), 5)
            await asyncio.wait_for(client.recv(), 5)
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1008 and closed.rcvd.reason.startswith('session_ended'), closed
        else:
            raise AssertionError("the session goes on")
    await page.evaluate("document.getElementById('b-who').value = '203.0.113.0/24'; document.getElementById('b-reason').value = 'flood'")
    await page.evaluate("document.getElementById('ban-form').requestSubmit()")
    await until(page, "document.getElementById('bans').textContent.includes('203.0.113.0/24')", "a ban is listed")
    await page.evaluate("document.querySelector('#bans button').click()")
    await until(page, "document.getElementById('bans').textContent.includes('Nobody is kept out.')", "a ban is lifted")


async def who_may_only_look_changes_nothing(gateway, page):
    await page.evaluate("document.getElementById('leave').click()")
    async with gateway.join("alice"):
        await log_in(page, gateway.admin_token("reader"))
        await until(page, "document.querySelector('#sessions button') !== null", "a reader sees sessions")
        await page.evaluate("document.querySelector('#sessions button').click()")
        await until(page, "!document.getElementById('told').hidden", "what may not be done is told")
        await until(page, "document.querySelector('#sessions button').disabled", "and no longer offered")


async def what_another_gateway_tells_is_seen(gateway, page):
    """Started anew it counts events from the beginning; something goes wrong before the page looks."""
    await page.evaluate("window.fetched = window.fetch; window.fetch = () => Promise.reject(new TypeError('not yet'))")
    gateway.start()
    try:
        async with connect(f"ws://127.0.0.1:{gateway.port}/chat", additional_headers={"Authorization": "Bearer x"}):
            raise AssertionError("it got in")
    except InvalidStatus:
        pass
    await page.evaluate("window.fetch = window.fetched")
    await until(page, "document.getElementById('state').dataset.state == 'on'", "the page is live again")
    events = await text(page, "events")
    assert "token_invalid" in events and "policy_refused" not in events, events


async def who_logs_out_hears_no_more(gateway, page):
    """Answers that are on their way when somebody logs out are nobody's any more."""
    held = "window.held = []; window.fetch = (...asked) => new Promise(go => window.held.push(() => go(window.fetched(...asked))))"
    await page.evaluate(held)
    await until(page, "window.held.length >= 2", "the page asks")
    await page.evaluate("document.getElementById('leave').click(); window.fetch = window.fetched; window.held.forEach(go => go())")
    await asyncio.sleep(1)
    assert await page.evaluate("document.getElementById('login-error').hidden"), await text(page, "login-error")
    assert await text(page, "state") == "not connected" and await text(page, "events") == ""


async def talk(gateway, *clients):
    """Something to look at."""
    for turn in range(24):
        for client in clients:
            for _ in range(3 + turn % 7 * 4):
                await client.send(json.dumps({"type": "chat"}))
                await client.recv()
        await asyncio.sleep(0.25)
    for client in clients:
        await client.send(json.dumps({"type": "noise"}))
        await client.recv()


async def pictures_of(chromium, page, folder):
    """What is seen is legible: nothing is wider than its window; and pictures, for people."""
    for name, scheme, width, height in (("dark", "dark", 1280, 1120), ("light", "light", 1280, 1120), ("phone", "dark", 390, 844)):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await chromium.call("Emulation.setEmulatedMedia", page.session, features=features)
        await chromium.call("Emulation.setDeviceMetricsOverride", page.session, width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        await asyncio.sleep(2.5)
        widest = await page.evaluate("document.documentElement.scrollWidth")
        assert widest <= width, f"the page is {widest} wide in a window of {width}"
        ink, ground = await page.evaluate("['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])")
        assert contrast(ink, ground) >= 7, f"{name}: {ink} on {ground}"
        if folder:
            shot = await chromium.call("Page.captureScreenshot", page.session, format="png")
            folder.mkdir(exist_ok=True)
            (folder / f"dashboard-{name}.png").write_bytes(base64.b64decode(shot["data"]))
    await chromium.call("Emulation.setDeviceMetricsOverride", page.session, width=1280, height=1000, deviceScaleFactor=1, mobile=False)


def contrast(one, other):
    """The contrast of two colours as WCAG has it."""

    def luminance(colour):
        parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


async def text(page, name):
    return await page.evaluate(f"document.getElementById('{name}').textContent")


async def until(page, expression, what):
    """Waits until it is so."""
    for _ in range(UNTIL_TURNS_MAX):
        if await page.evaluate(expression):
            print(f"ok: {what}", flush=True)
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not seen: {what}\n{await page.evaluate('document.body.innerText')}")


UNTIL_TURNS_MAX = 120

if __name__ == "__main__":
    try:
        main()
    except (AssertionError, ChromiumError, ProgramError) as error:
        sys.exit(f"dashboard: {error}")
