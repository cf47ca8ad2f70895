"""Drives `drawgate demo` with aiohttp: its WebSockets, and its HTTP for the admin listener; started by conformance/clients.py."""

import asyncio
import re
import time
import unittest

from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

from case import ADMIN_URL, AUTH_URL, ECHO_URL, PREFIX, TOKEN, TOKEN_EXPIRED, Case


class Client(Case):
    async def asyncSetUp(self):
        self.client = ClientSession()
        self.addAsyncCleanup(self.client.close)


class Echo(Client):
    async def test_text_comes_back_as_text_with_the_prefix(self):
        async with self.client.ws_connect(ECHO_URL) as websocket:
            await websocket.send_str("hello")
            self.assertEqual(await websocket.receive_str(), PREFIX + "hello")

    async def test_binary_comes_back_as_binary_with_the_prefix(self):
        async with self.client.ws_connect(ECHO_URL) as websocket:
            await websocket.send_bytes(b"\x00\xfe\xff")
            self.assertEqual(await websocket.receive_bytes(), PREFIX.encode() + b"\x00\xfe\xff")

    async def test_unicode_empty_and_large_messages_survive_on_one_connection(self):
        async with self.client.ws_connect(ECHO_URL, max_msg_size=0) as websocket:
            for text in ("aé€𝄞", "", "0123456789abcde\n" * 6400, "last"):
                await websocket.send_str(text)
                self.assertEqual(await websocket.receive_str(), PREFIX + text)

    async def test_a_ping_is_answered_with_its_payload(self):
        async with self.client.ws_connect(ECHO_URL, autoping=False) as websocket:
            await websocket.ping(b"are you there")
            message = await websocket.receive()
        self.assertEqual((message.type, bytes(message.data)), (WSMsgType.PONG, b"are you there"))

    async def test_a_close_is_answered_with_its_code(self):
        async with self.client.ws_connect(ECHO_URL, autoclose=False) as websocket:
            await websocket.close(code=1000, message=b"done")
            self.assertEqual(websocket.close_code, 1000)

    async def test_an_offer_of_compression_is_declined_and_messages_flow(self):
        async with self.client.ws_connect(ECHO_URL, compress=15) as websocket:
            self.assertEqual(websocket.compress, 0)
            await websocket.send_str("plain")
            self.assertEqual(await websocket.receive_str(), PREFIX + "plain")

    async def test_plain_http_is_told_to_upgrade(self):
        async with self.client.get(ECHO_URL.replace("ws://", "http://")) as response:
            self.assertEqual(response.status, 426)
            self.assertEqual(response.content_type, "application/problem+json")

    async def test_another_version_is_refused_with_ours(self):
        with self.assertRaises(WSServerHandshakeError) as caught:
            await self.client.ws_connect(ECHO_URL, headers={"Sec-WebSocket-Version": "777"})
        self.assertEqual(caught.exception.status, 426)
        self.assertEqual(caught.exception.headers["Sec-WebSocket-Version"], "13")


class FirstMessage(Client):
    async def refusal(self, first):
        """The messages that follow a refused first message, then the code and reason of the close."""
        async with self.client.ws_connect(AUTH_URL, autoclose=False) as websocket:
            await websocket.send_str(first)
            messages = []
            while (message := await websocket.receive()).type is WSMsgType.TEXT:
                messages.append(message.data)
            self.assertIs(message.type, WSMsgType.CLOSE)
            await websocket.close()
            return messages, message.data, message.extra

    async def test_a_valid_token_opens_the_echo(self):
        async with self.client.ws_connect(AUTH_URL) as websocket:
            await websocket.send_str(TOKEN)
            self.assertEqual(await websocket.receive_str(), "Authenticated!")
            await websocket.send_str("hello")
            self.assertEqual(await websocket.receive_str(), PREFIX + "hello")

    async def test_an_expired_token_is_told_so(self):
        messages, code, reason = await self.refusal(TOKEN_EXPIRED)
        self.assertEqual((messages, code), (["Token Expired"], 3000))
        self.assertRegex(reason, r"^token_expired: .")

    async def test_garbage_is_told_so(self):
        messages, code, reason = await self.refusal("x" * 200)
        self.assertEqual((messages, code), (["Token Invalid"], 3000))
        self.assertRegex(reason, r"^token_invalid: .")


class Admin(Client):
    async def test_health_and_readiness_are_open(self):
        for path in ("/healthz", "/readyz"):
            async with self.client.get(ADMIN_URL + path) as response:
                self.assertEqual(response.status, 200, path)

    async def test_metrics_count_an_expired_token_by_its_label(self):
        before = await self.ends("token_expired")
        async with self.client.ws_connect(AUTH_URL) as websocket:
            await websocket.send_str(TOKEN_EXPIRED)
            while not websocket.closed:
                await websocket.receive()
        # The peer may see the Close a moment before the end has been counted.
        deadline = time.monotonic() + 3
        while (after := await self.ends("token_expired")) == before and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self.assertGreater(after, before)

    async def test_another_host_name_is_refused(self):
        async with self.client.get(ADMIN_URL + "/metrics", headers={"Host": "rebound.example"}) as response:
            self.assertIn(response.status, range(400, 500))
            self.assertNotIn("# TYPE", await response.text())

    async def ends(self, reason):
        """The sum of all counters under this reason."""
        async with self.client.get(ADMIN_URL + "/metrics") as response:
            self.assertEqual(response.status, 200)
            self.assertIn(response.content_type, ("application/openmetrics-text", "text/plain"))
            text = await response.text()
        self.assertIn("# TYPE ", text)
        samples = re.findall(r'^drawgate_\w+_total\{[^}]*reason="(\w+)"[^}]*\} (\d+)', text, re.MULTILINE)
        return sum(int(number) for label, number in samples if label == reason)


if __name__ == "__main__":
    unittest.main(verbosity=2)
