"""Drives `drawgate demo` with Python's websockets, as an application would; started by conformance/clients.py."""

import asyncio
import socket
import time
import unittest
import urllib.parse

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from case import AUTH_URL, ECHO_URL, PREFIX, TOKEN, TOKEN_EXPIRED, Case


class Client(Case):
    async def answer(self, message, url=ECHO_URL):
        """Sends one message, returns the answer."""
        async with connect(url, max_size=None) as websocket:
            await websocket.send(message)
            return await websocket.recv()

    async def end_of(self, websocket):
        """All messages until the close, then its code and reason as they came over the wire."""
        messages = []
        with self.assertRaises(ConnectionClosed) as caught:
            while True:
                messages.append(await websocket.recv())
        self.assertIsNotNone(caught.exception.rcvd, "the connection ended without a Close frame")
        return messages, caught.exception.rcvd.code, caught.exception.rcvd.reason


class Echo(Client):
    async def test_text_comes_back_as_text_with_the_prefix(self):
        self.assertEqual(await self.answer("hello"), PREFIX + "hello")

    async def test_binary_comes_back_as_binary_with_the_prefix(self):
        payload = bytes(range(256))
        self.assertEqual(await self.answer(payload), PREFIX.encode() + payload)

    async def test_characters_of_every_length_survive(self):
        text = "aé€𝄞 שלום 你好 👩‍👩‍👧"
        self.assertEqual(await self.answer(text), PREFIX + text)

    async def test_an_empty_message_is_answered(self):
        self.assertEqual(await self.answer(""), PREFIX)
        self.assertEqual(await self.answer(b""), PREFIX.encode())

    async def test_100_kilobytes_survive(self):
        text = "0123456789abcde\n" * 6400
        self.assertEqual(await self.answer(text), PREFIX + text)

    async def test_a_fragmented_message_is_answered_once(self):
        async with connect(ECHO_URL) as websocket:
            await websocket.send(["one ", "", "two ", "three"])
            await websocket.send("next")
            self.assertEqual(await websocket.recv(), PREFIX + "one two three")
            self.assertEqual(await websocket.recv(), PREFIX + "next")

    async def test_many_messages_come_back_in_order(self):
        async with connect(ECHO_URL) as websocket:
            for number in range(200):
                await websocket.send(str(number))
            answers = [await websocket.recv() for _ in range(200)]
        self.assertEqual(answers, [f"{PREFIX}{number}" for number in range(200)])

    async def test_fifty_connections_do_not_mix(self):
        answers = await asyncio.gather(*(self.answer(f"from {number}") for number in range(50)))
        self.assertEqual(answers, [f"{PREFIX}from {number}" for number in range(50)])

    async def test_a_ping_is_answered_within_a_second(self):
        async with connect(ECHO_URL) as websocket:
            latency_seconds = await (await websocket.ping(b"are you there"))
        self.assertLess(latency_seconds, 1)

    async def test_a_close_is_answered_with_its_code(self):
        async with connect(ECHO_URL) as websocket:
            await websocket.close(1000, "done")
            self.assertEqual(websocket.protocol.close_rcvd.code, 1000)

    async def test_a_code_of_the_application_is_answered_with_its_code(self):
        async with connect(ECHO_URL) as websocket:
            await websocket.close(4321, "mine")
            self.assertEqual(websocket.protocol.close_rcvd.code, 4321)

    async def test_ipv6_is_served_too(self):
        address = urllib.parse.urlsplit(ECHO_URL)
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            self.skipTest("this machine has no IPv6 loopback")
        self.assertEqual(await self.answer("six", f"ws://[::1]:{address.port}"), PREFIX + "six")


class FirstMessage(Client):
    async def first_message(self, message):
        """What follows a first message that is refused."""
        async with connect(AUTH_URL) as websocket:
            await websocket.send(message)
            return await self.end_of(websocket)

    async def test_a_valid_token_opens_the_echo(self):
        async with connect(AUTH_URL) as websocket:
            await websocket.send(TOKEN)
            self.assertEqual(await websocket.recv(), "Authenticated!")
            await websocket.send("hello")
            self.assertEqual(await websocket.recv(), PREFIX + "hello")
            await websocket.send(b"\x00\xff")
            self.assertEqual(await websocket.recv(), PREFIX.encode() + b"\x00\xff")

    async def test_messages_sent_right_behind_the_token_are_not_lost(self):
        async with connect(AUTH_URL) as websocket:
            for message in (TOKEN, "one", "two"):
                await websocket.send(message)
            answers = [await websocket.recv() for _ in range(3)]
        self.assertEqual(answers, ["Authenticated!", PREFIX + "one", PREFIX + "two"])

    async def test_an_expired_token_is_told_so(self):
        messages, code, reason = await self.first_message(TOKEN_EXPIRED)
        self.assertEqual((messages, code), (["Token Expired"], 3000))
        self.assertRegex(reason, r"^token_expired: .")

    async def test_garbage_is_told_so(self):
        messages, code, reason = await self.first_message("this is not a token")
        self.assertEqual((messages, code), (["Token Invalid"], 3000))
        self.assertRegex(reason, r"^token_invalid: .")

    async def test_a_token_with_a_foreign_signature_is_invalid(self):
        head, claims, signature = TOKEN.split(".")
        other = signature[:-8] + ("A" if signature[-8] != "A" else "B") + signature[-7:]
        messages, code, reason = await self.first_message(f"{head}.{claims}.{other}")
        self.assertEqual((messages, code), (["Token Invalid"], 3000))
        self.assertRegex(reason, r"^token_invalid: .")

    async def test_silence_is_ended_after_five_seconds(self):
        async with connect(AUTH_URL) as websocket:
            started = time.monotonic()
            _, code, reason = await self.end_of(websocket)
            waited_seconds = time.monotonic() - started
        self.assertEqual(code, 3008)
        self.assertRegex(reason, r"^first_message_timeout: .")
        self.assertGreater(waited_seconds, 4.5)
        self.assertLess(waited_seconds, 8)


if __name__ == "__main__":
    unittest.main(verbosity=2)
