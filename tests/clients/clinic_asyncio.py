"""The clinic's flow (S1) with Python's websockets on asyncio, many sockets at a time, permessage-deflate on.
WEIR_CLINIC=127.0.0.1:3001 python3 clinic_asyncio.py"""
import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

clinic = os.environ["WEIR_CLINIC"]


def token(user, secret=b"dev-ws-token-secret"):
    timestamp = int(time.time() * 1000)
    signature = hmac.new(secret, f"{user}:{timestamp}".encode(), hashlib.sha256).hexdigest()
    return base64.b64encode(json.dumps({"userId": user, "timestamp": timestamp, "signature": signature}).encode()).decode()


def post(path, body, **headers):
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"http://{clinic}{path}", json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(request, timeout=20))


async def opened(user, **options):
    ws = await connect(f"ws://{clinic}/?{urllib.parse.urlencode({'token': token(user, **options)})}")
    return ws


async def receive(ws):
    return json.loads(await asyncio.wait_for(ws.recv(), 20))


async def broadcast(message, **fields):
    body = {"message": message, "filter": fields}
    return await asyncio.to_thread(post, "/broadcast", body, **{"x-ws-admin-secret": "dev-ws-admin-secret"})


async def fifty_sockets_hear_one_announcement():
    sockets = await asyncio.gather(*(opened(("u1", "u2")[n % 2]) for n in range(50)))
    for ws in sockets:
        assert (await receive(ws))["type"] == "CONNECTED"
        assert [e.name for e in ws.protocol.extensions] == ["permessage-deflate"]
        await ws.send(json.dumps({"type": "SUBSCRIBE", "data": {"channels": ["system:announcements"]}}))
    for ws in sockets:
        assert (await receive(ws))["data"] == {"allowed": ["system:announcements"], "denied": []}
    message = {"type": "ANNOUNCEMENT", "data": {"message": "Hello " * 500, "at": "2025-11-03T10:00:00.000Z"}}
    assert await broadcast(message, channels=["system:announcements"]) == {"ok": True, "recipients": 50}
    assert all(heard == message for heard in await asyncio.gather(*map(receive, sockets)))
    half = {"type": "CLINIC_ALERT", "data": {"for": "c2"}}
    assert await broadcast(half, clinicIds=["c2"], channels=["system:announcements"]) == {"ok": True, "recipients": 25}
    assert all(heard == half for heard in await asyncio.gather(*map(receive, sockets[1::2])))
    await asyncio.gather(*(ws.close() for ws in sockets))


async def ping_and_pong():
    async with await opened("u1") as ws:
        await receive(ws)
        await ws.send(json.dumps({"type": "PING"}))
        assert await receive(ws) == {"type": "PONG"}
        await asyncio.wait_for(await ws.ping(), 20)


async def a_forged_token_is_told_by_4001():
    ws = await opened("u1", secret=b"guessed")
    try:
        await receive(ws)
        raise AssertionError("let in")
    except ConnectionClosed as e:
        assert (e.rcvd.code, e.rcvd.reason) == (4001, "Authentication failed"), e.rcvd


failed = 0
for check in [fifty_sockets_hear_one_announcement, ping_and_pong, a_forged_token_is_told_by_4001]:
    name = f"python asyncio: {check.__name__.replace('_', ' ')}"
    try:
        asyncio.run(asyncio.wait_for(check(), 60))
        print(f"ok {name}", flush=True)
    except Exception as e:  # noqa: BLE001: told, counted, and the next one runs
        failed += 1
        print(f"FAILED {name}: {type(e).__name__}: {e}", flush=True)
sys.exit(1 if failed else 0)
