"""What the Python clients share: where the demo is, and a test case none of whose tests can hang."""

import asyncio
import functools
import os
import unittest

ECHO_URL = os.environ["DRAWGATE_ECHO_URL"]
AUTH_URL = os.environ["DRAWGATE_AUTH_URL"]
ADMIN_URL = os.environ["DRAWGATE_ADMIN_URL"]
TOKEN = os.environ["DRAWGATE_TOKEN"]
TOKEN_EXPIRED = os.environ["DRAWGATE_TOKEN_EXPIRED"]
PREFIX = "Server received: "


class Case(unittest.IsolatedAsyncioTestCase):
    """Fails a test that takes longer than TEST_SECONDS_MAX, whatever the server does."""

    def __init_subclass__(cls):
        for name, method in list(vars(cls).items()):
            if name.startswith("test_"):
                setattr(cls, name, limited(method))


def limited(test):
    @functools.wraps(test)
    async def within_limit(self):
        try:
            async with asyncio.timeout(TEST_SECONDS_MAX):
                await test(self)
        except TimeoutError:
            self.fail(f"not done after {TEST_SECONDS_MAX} s")

    return within_limit


TEST_SECONDS_MAX = 15
