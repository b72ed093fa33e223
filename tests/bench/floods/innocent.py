"""Clients that do nothing wrong: what they notice of a flood.

One process with a thread a connection. Each asks, waits for the answer, and rests; the next question is due PERIOD
after the one before. An answer that took longer stands for the questions that it kept from being asked, too
(`corrected`): else a stall of seconds would be one sample among hundreds, and no percentile would show it."""

import json
import multiprocessing
import os
import sys
import threading
import time

from client import Client, Closed, text
from gateway import KEY

# Below the default rate of messages: 200 a second of a connection.
PERIOD, RARE = 0.02, 0.03
# Their address is their own: what is bounded by address meets the flood, not them.
ADDRESS = "127.0.0.77"
PING = text({"type": "ping"})

KINDS = {
    "ping": "ping, same app",
    "other": "ping, another app",
    "handler": "handler, another app",
    "newcomer": "newcomer's first ping",
    "publish": "POST /api/publish",
}


class Innocents:
    """They ask from the start until `stop`."""

    def __init__(self, site, kinds, body):
        ours, theirs = multiprocessing.Pipe()
        self.pipe = ours
        self.process = multiprocessing.Process(target=_run, args=(site, kinds, body, theirs), daemon=True)
        self.process.start()
        if not ours.poll(30):
            raise SystemExit("the innocent clients could not connect")
        ours.recv()

    def stop(self):
        """What they saw: kind, when it was asked, seconds to the answer, and what went wrong (or None)."""
        self.pipe.send("stop")
        seen = self.pipe.recv()
        self.process.join(2)
        self.process.kill()
        return seen


def corrected(seconds, period):
    """The answers' times, with those of the questions that a late answer kept from being asked."""
    out = []
    for took in seconds:
        while True:
            out.append(took)
            took -= period
            if took <= period:
                break
    return out


def period(kind):
    return RARE if kind in ("newcomer", "publish") else PERIOD


def _run(site, kinds, body, pipe):
    sys.setswitchinterval(0.0005)
    try:
        os.nice(-5)  # They share the processors with the flood's own work; not everybody may.
    except PermissionError:
        pass
    seen, asking, ready = [], {}, []
    for kind in kinds:
        # Several connections, so that each shard has some.
        for n in range(1 if kind in ("newcomer", "publish") else 8):
            arrived = threading.Event()
            ready.append(arrived)
            threading.Thread(target=_ask, args=(site, kind, n, body, seen, asking, arrived), daemon=True).start()
    for arrived in ready:
        arrived.wait(10)
    pipe.send("ready")
    pipe.recv()
    now = time.monotonic()
    late = [(kind, since, now - since, None) for kind, since in list(asking.values()) if since]
    pipe.send(list(seen) + late)


def _ask(site, kind, n, body, seen, asking, arrived):
    me, client, turn = threading.get_ident(), None, 0
    due = time.monotonic() + n * PERIOD / 8
    while True:
        time.sleep(max(0, due - time.monotonic()))
        start, wrong, turn = time.monotonic(), None, turn + 1
        asking[me] = (kind, start)
        try:
            if kind == "publish":
                status = site.publish(body.replace("KEY", f"k{turn % 64}").encode())
                wrong = None if status == 200 else f"status {status}"
            elif kind == "newcomer":
                Client(site.main, "/ws", source=ADDRESS, timeout=60).until(b"hello").ask(PING).close()
            else:
                if client is None:
                    client = Client(site.main, "/ws" if kind == "ping" else "/other", source=ADDRESS, timeout=60)
                    client.until(b"hello")
                    start = time.monotonic()
                    asking[me] = (kind, start)
                client.send(text({"type": "ask"}) if kind == "handler" else PING)
                wrong = json.loads(client.next()).get("code")
        except (OSError, Closed) as error:
            wrong, client = str(error) or type(error).__name__, None
            time.sleep(0.1)
        took = time.monotonic() - start
        asking[me] = (kind, None)
        seen.append((kind, start, took, wrong))
        due = max(due + period(kind), time.monotonic())
        arrived.set()
