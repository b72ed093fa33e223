"""The report builder's examples (S0) with Python's websockets, one thread, permessage-deflate on as it is by default.
WEIR_MAIN=127.0.0.1:3000 python3 reports_sync.py"""
import json
import os
import sys
import urllib.request

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

main = os.environ["WEIR_MAIN"]


def publish(channel, data, **more):
    body = json.dumps({"channel": channel, "data": data, **more}).encode()
    headers = {"Authorization": "Bearer dev-weir-api-key", "Content-Type": "application/json"}
    return json.load(urllib.request.urlopen(urllib.request.Request(f"http://{main}/api/publish", body, headers), timeout=20))


def receive(ws):
    return json.loads(ws.recv(timeout=20))


def opened(path="/ws", **options):
    return connect(f"ws://{main}{path}", open_timeout=20, max_size=2**22, **options)


def greeting_and_channel():
    with opened() as ws:
        assert receive(ws)["data"]["connectionId"].startswith("ws_")
        ws.send(json.dumps({"type": "subscribe", "channel": "test:channel"}))
        assert receive(ws)["channel"] == "test:channel"
        ws.send(json.dumps({"type": "ping"}))
        assert receive(ws)["type"] == "pong"
        ws.send(json.dumps({"type": "get_status"}))
        assert receive(ws)["data"]["channels"] == ["test:channel"]


def deflate_is_agreed_on_and_used():
    with opened() as ws:
        names = [extension.name for extension in ws.protocol.extensions]
        assert names == ["permessage-deflate"], names
        receive(ws)
        ws.send(json.dumps({"type": "subscribe", "channel": "test:deflated"}))
        receive(ws)
        for size in [1, 100, 511, 512, 513, 5_000, 70_000, 500_000]:
            rows = "0123456789abcdef" * (size // 16) + "x" * (size % 16)
            assert publish("test:deflated", {"type": "rows", "rows": rows})["recipients"] == 1
            assert receive(ws)["rows"] == rows, size


def long_messages_of_the_client_are_inflated():
    with opened() as ws:
        receive(ws)
        ws.send(json.dumps({"type": "ping", "pad": "x" * 900_000}))
        assert receive(ws)["type"] == "pong"
        ws.send(iter(['{"type":', '"pi', 'ng","pad":"', "é" * 1000, '"}']))
        assert receive(ws)["type"] == "pong"


def without_deflate_too():
    with opened(compression=None) as ws:
        assert ws.protocol.extensions == []
        receive(ws)
        ws.send(json.dumps({"type": "subscribe", "channel": "test:plain"}))
        receive(ws)
        publish("test:plain", {"type": "rows", "rows": "x" * 5_000})
        assert receive(ws)["rows"] == "x" * 5_000


def health_says_so_and_leaves():
    with opened("/ws/health") as ws:
        assert receive(ws)["status"] == "ok"
        try:
            ws.recv(timeout=20)
            raise AssertionError("a second message")
        except ConnectionClosed as e:
            assert e.rcvd.code == 1000, e.rcvd


def pings_are_answered():
    with opened() as ws:
        assert ws.ping("are you there").wait(20)


failed = 0
for check in [
    greeting_and_channel,
    deflate_is_agreed_on_and_used,
    long_messages_of_the_client_are_inflated,
    without_deflate_too,
    health_says_so_and_leaves,
    pings_are_answered,
]:
    name = f"python sync: {check.__name__.replace('_', ' ')}"
    try:
        check()
        print(f"ok {name}", flush=True)
    except Exception as e:  # noqa: BLE001: told, counted, and the next one runs
        failed += 1
        print(f"FAILED {name}: {type(e).__name__}: {e}", flush=True)
sys.exit(1 if failed else 0)
