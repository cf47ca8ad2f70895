"""Headless Chromium with pages in it, driven by its own protocol for developers' tools.

Used by browser.py, chat.py, dashboard.py and sealed.py. It reaches nothing but this machine: no other name resolves for it, and what Chromium asks of its makers
in the background is off. Its profile is a fresh directory, which goes with it.
"""

import asyncio
import itertools
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from websockets.asyncio.client import connect


class ChromiumError(Exception):
    """Chromium is not there, does not start, or does not do what it was told."""


class Chromium:
    """One browser, from `async with` to its end."""

    async def __aenter__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="drawgate-chromium-", ignore_cleanup_errors=True)
        self.output_file = pathlib.Path(self.profile.name) / "output.txt"
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                [program(), *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self.tools = await connect(await self.tools_url(), max_size=None)
        except BaseException:
            self.kill()
            raise
        self.numbers = itertools.count(1)
        self.answers = {}
        self.reading = asyncio.create_task(self.read())
        return self

    async def __aexit__(self, *_):
        self.reading.cancel()
        await self.tools.close()
        # Its other processes end with this one.
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self.process.wait, END_SECONDS_MAX)
        finally:
            self.kill()

    def kill(self):
        """Ends it at once, whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.profile.cleanup()

    async def tools_url(self):
        """Where it can be driven, which it writes down once it listens."""
        port_file = pathlib.Path(self.profile.name) / "DevToolsActivePort"
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            lines = port_file.read_text().splitlines() if port_file.exists() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            if self.process.poll() is not None or time.monotonic() > deadline:
                output = self.output_file.read_text(errors="replace")
                raise ChromiumError(f"Chromium does not start ({self.process.poll()}):\n{output}")
            await asyncio.sleep(0.05)

    async def read(self):
        """Hands each answer to the call that waits for it, if it still does; events are nobody's."""
        async for text in self.tools:
            message = json.loads(text)
            waiting = self.answers.pop(message.get("id"), None)
            if waiting and not waiting.done():
                waiting.set_result(message)
        for waiting in self.answers.values():
            if not waiting.done():
                waiting.set_exception(ChromiumError("Chromium has ended"))

    async def call(self, method, session=None, **parameters):
        """One call of the protocol, and its result."""
        number = next(self.numbers)
        self.answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        await self.tools.send(json.dumps(command))
        answer = await self.answers[number]
        if "error" in answer:
            raise ChromiumError(f"{method}: {answer['error']}")
        return answer["result"]

    async def open(self, url, alone=False):
        """A page of its own with what is at `url`, loaded; `alone` as in another browser, sharing no storage with other pages."""
        context = await self.call("Target.createBrowserContext") if alone else {}
        target = await self.call("Target.createTarget", url=url, **context)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"])
        deadline = time.monotonic() + START_SECONDS_MAX
        while not await page.is_at(url):
            if time.monotonic() > deadline:
                raise ChromiumError(f"{url} is not loaded after {START_SECONDS_MAX} s")
            await asyncio.sleep(0.05)
        return page


class Page:
    """One page."""

    def __init__(self, chromium, session):
        self.chromium = chromium
        self.session = session

    async def is_at(self, url):
        """Whether what is at `url` is loaded."""
        try:
            return await self.evaluate("[location.href, document.readyState]") == [url, "complete"]
        except ChromiumError:
            # Between two documents there is nothing to ask.
            return False

    async def evaluate(self, expression):
        """What a JavaScript expression comes to in the page, or the promise that it is."""
        answer = await self.chromium.call(
            "Runtime.evaluate", self.session, expression=expression, awaitPromise=True, returnByValue=True
        )
        if details := answer.get("exceptionDetails"):
            raise ChromiumError(f"{expression}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    async def run(self, function, *arguments):
        """Calls one of the page's functions with values, and waits for its result."""
        return await self.evaluate(f"{function}({', '.join(json.dumps(argument) for argument in arguments)})")


def program():
    """The browser here, by the names that systems give it."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise ChromiumError("there is no chromium here; conformance/install.sh conformance chromium installs it")


FLAGS = [
    "--headless",
    # The sandbox refuses to run as root, as which continuous integration runs; the only pages here are ours.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
]
# A second on a quiet machine.
START_SECONDS_MAX = 60
END_SECONDS_MAX = 10
