"""An application on Python's websockets: says what it was asked, echoes, and closes as it is told. `python python_websockets.py PORT [deflate]`."""

import asyncio
import json
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def talk(socket):
    try:
        async for message in socket:
            if message == "request?":
                headers = socket.request.headers
                said = {
                    "path": socket.request.path,
                    "host": headers.get("Host"),
                    "origin": headers.get("Origin"),
                    "client": headers.get("X-Forwarded-For"),
                    "extensions": ",".join(extension.name for extension in socket.protocol.extensions),
                }
                await socket.send(json.dumps(said))
            elif isinstance(message, str) and message.startswith("close "):
                _, code, *reason = message.split(" ")
                await socket.close(int(code), " ".join(reason))
            elif message == "vanish":
                socket.transport.abort()
            else:
                await socket.send(message)
    except ConnectionClosed:
        pass
    print(f"closed {socket.close_code} {socket.close_reason or ''}", flush=True)


async def main():
    compression = "deflate" if "deflate" in sys.argv else None
    async with serve(talk, "127.0.0.1", int(sys.argv[1]), subprotocols=["chat.v2"], compression=compression):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
