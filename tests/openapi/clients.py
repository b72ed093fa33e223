"""Five clients that subscribe to a channel of the document's examples, and come back whenever they are closed."""

import asyncio
import json
import sys

import websockets


async def client(url: str) -> None:
    while True:
        try:
            async with websockets.connect(url, max_size=None) as socket:
                await socket.send(json.dumps({"type": "subscribe", "channel": "room:42"}))
                async for _ in socket:
                    pass
        except (OSError, websockets.WebSocketException):
            pass
        await asyncio.sleep(0.1)


async def main() -> None:
    await asyncio.gather(*(client(sys.argv[1]) for _ in range(5)))


asyncio.run(main())
