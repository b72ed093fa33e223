"""The floods: what each sends, and which innocent clients could notice. See `run`."""

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import time
import typing

from client import Client, Closed, connect, deflated, frame, head, pour, request, text
from gateway import KEY

MIB = 1 << 20
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
PING = text({"type": "ping"})
EVERYBODY = ("ping", "other", "newcomer")


@dataclasses.dataclass
class Flood:
    name: str
    # Called in a process of its own with the site, the time to stop at, and its number; what it returns is told.
    attack: typing.Callable
    innocents: tuple = ("ping",)
    # Done before anything is measured.
    prepare: typing.Callable = lambda site: None
    # What the innocent back end publishes, where there is one.
    body: str = '{"app":"other","channel":"news","data":1}'
    attackers: int = 1
    # Seconds, where the usual ones are not enough.
    seconds: float = None
    hanging_log: bool = False


def poured(payload, connections, path="/ws", extra="", read=True):
    """A flood that keeps so many connections full of these frames."""
    return lambda site, until, n: pour(
        lambda: Client(site.main, path, extra, timeout=2).socket, payload, connections, until, read
    )


def nothing(site, until, n):
    time.sleep(max(0, until - time.monotonic()))


def neighbour(site, until, n):
    while time.monotonic() < until:
        sum(range(10_000))


def fill_history(site):
    for _ in range(60):
        site.publish(json.dumps({"app": "chat", "channel": "past", "data": "x" * 100_000}).encode())


def history_twice(site, until, n):
    asked = closed = 0
    for _ in visits(until):
        try:
            client = Client(site.main, "/ws", receive_buffer=4096, timeout=2)
            for _ in range(4):
                client.send(text({"type": "history", "channel": "past", "limit": 100}))
                asked += 1
                time.sleep(0.1)
            client.close()
        except (OSError, Closed):
            closed += 1
            time.sleep(0.05)
    return f"asked {asked} times, closed {closed} times"


def visits(until):
    """Counts on until then."""
    return itertools.takewhile(lambda _: time.monotonic() < until, itertools.count())


def never_reading(site, until, n):
    clients = [Client(site.main, "/ws", receive_buffer=4096, timeout=2) for _ in range(4)]
    for client in clients:
        client.send(text({"type": "sub", "channels": ["figures"]}))
    nothing(site, until, n)


def churning(site, until, n):
    """Five clients that stay below the rate of messages and read all answers."""
    channels = [f"last:{n}-{at}" for at in range(200)]
    raw = text({"type": "sub", "channels": channels}) + text({"type": "unsub", "channels": channels})
    clients, turns = [Client(site.main, "/ws", timeout=2).until(b"hello") for _ in range(5)], 0
    waiting = [b""] * len(clients)
    for client in clients:
        client.socket.setblocking(False)
    for turns in visits(until):
        for at, client in enumerate(clients):
            with contextlib.suppress(BlockingIOError):
                waiting[at] = waiting[at] or raw
                waiting[at] = waiting[at][client.socket.send(waiting[at]) :]
            with contextlib.suppress(BlockingIOError):
                while client.socket.recv(1 << 16):
                    pass
        time.sleep(0.0105)
    return f"{turns} turns"


def asking_handlers(message):
    """Eight connections that wait for the answer before they ask again: twice the handlers' threads of two cores."""
    raw = text(message)

    def come(site):
        client = Client(site.main, "/ws", timeout=2).until(b"hello")
        client.socket.settimeout(0.01)
        client.send(raw)
        return client

    def attack(site, until, n):
        clients, asked, closed = [come(site) for _ in range(8)], 8, 0
        for turn in visits(until):
            try:
                clients[turn % 8].next()
                clients[turn % 8].send(raw)
                asked += 1
            except TimeoutError:
                pass
            except (OSError, Closed):
                closed += 1
                clients[turn % 8] = come(site)
        return f"{asked} calls, closed {closed} times"

    return attack


def holding(site, until, n):
    """A subscription waits behind slow calls of one entity while a channel of the same client is published to."""
    client = Client(site.main, "/ws", receive_buffer=8192, timeout=5).until(b"hello")
    client.send(text({"type": "sub", "channels": ["feed"]}))
    client.until(b"subscribed")
    client.send(text({"type": "slow"}) * 150 + text({"type": "sub", "channels": ["room:1"]}))
    body = json.dumps({"app": "chat", "channel": "feed", "data": "x" * 500_000}).encode()
    raw = head(site.main, "POST", "/api/publish", len(body), KEY, close=False) + body
    return pour(lambda: connect(site.main), raw, 8, until)


def coming_and_going(site, until, n):
    came = failed = 0
    for _ in visits(until):
        try:
            Client(site.main, "/ws", timeout=0.3).close()
            came += 1
        except (OSError, Closed):
            failed += 1
    return f"{came} connections came and went, {failed} were not answered"


def bodies(site, until, n):
    raw = head(site.main, "POST", "/nothing", MIB) + b"x" * (MIB - 1)
    return heaping(until, 2_000, lambda: connect(site.main, timeout=2), raw)


def unfinished(site, until, n):
    raw = frame(b"x" * MIB)[:-1]
    return heaping(until, 2_000, lambda: Client(site.main, "/ws", timeout=2).socket, raw)


def silent(site, until, n):
    return heaping(until, 10_000, lambda: connect(site.main, timeout=2), head(site.main, "GET", "/x", close=False))


def heaping(until, most, come, raw):
    """Connections that each say this and then nothing, and stay."""
    held, failed = [], 0
    for _ in zip(visits(until), range(most)):
        try:
            sock = come()
            held.append(sock)
            sock.sendall(raw)
        except (OSError, Closed):
            failed += 1
    time.sleep(max(0, until - time.monotonic()))
    return f"{len(held)} connections held, {failed} refused or cut"


def naming(connections, message, burst=20):
    """Messages that each name something new: `message` gets a number."""

    def attack(site, until, n):
        clients, number, refused = [None] * connections, 0, 0
        for turn in visits(until):
            place = turn % connections
            try:
                client = clients[place] = clients[place] or Client(site.main, "/ws", timeout=10).until(b"hello")
                client.send(b"".join(text(message(number + k)) for k in range(burst)) + PING)
                number += burst
                client.until(b"pong")
            except (OSError, Closed):
                clients[place], refused = None, refused + 1
        return f"{number} named, closed or refused {refused} times"

    return attack


def many_users(site, until, n):
    """Each connects, says one thing, and leaves: their buckets stay."""
    users, at_once = 50_000, 50
    for first in range(n * users, (n + 1) * users, at_once):
        clients = [Client(site.main, f"/users?name=u{user}", timeout=10) for user in range(first, first + at_once)]
        for client in clients:
            client.send(PING)
        for client in clients:
            client.until(b"pong").close()
        if time.monotonic() > until:
            return f"{first - n * users} users"
    return f"{users} users"


def wrong_keys(site, until, n):
    body = b'{"app":"other","channel":"news","data":1}'
    raw = b"".join(head(site.main, "POST", "/api/publish", len(body), f"wrong-{k}", False) + body for k in range(500))
    return pour(lambda: connect(site.main), raw, 4, until)


def faulty_files(site, until, n):
    """An editor that saves twenty times a second what is wrong, and somebody who asks for each to be read."""
    file = site.folder / "channels/chat.toml"
    right, faults = file.read_text(), ('listener = "mian"\n', 'listener = "main"\n[[channel]]\nname = "{\n', "\0\0\0")
    asked = 0
    for asked in visits(until):
        wrong = file.with_suffix(".next")
        wrong.write_text(faults[asked % 3] + right * (asked % 3))
        wrong.rename(file)
        os.kill(site.process.pid, signal.SIGHUP)
        try:
            request(site.admin, "POST", "/admin/reload", timeout=10)
        except OSError:
            pass
        time.sleep(0.05)
    file.write_text(right)
    return f"{asked} reloads"


def a_number(n):
    return {"type": "note", "name": f"n{n}", "text": "x" * 60_000}


FLOODS = [
    Flood("nothing", nothing, ("ping", "other", "handler", "newcomer", "publish")),
    Flood("a busy process beside the gateway", neighbour, ("ping", "other", "handler", "newcomer", "publish")),
    Flood("a history asked for twice, not read", history_twice, ("ping", "other"), fill_history),
    Flood(
        "1 MB of compressed messages of 1 MiB each",
        poured(deflated(b'{"type":"ping","x":"' + b"a" * (MIB - 30) + b'"}') * 1000, 1, extra=DEFLATE),
        ("ping", "other"),
    ),
    Flood("pings", poured(frame(b"", 9) * 8000, 4)),
    Flood("pongs nobody asked for", poured(frame(b"", 10) * 8000, 4)),
    Flood("empty fragments", poured(frame(b"", 1, False) + frame(b"", 0, False) * 5000, 4)),
    Flood(
        "messages of fragments of a byte",
        poured((frame(b"a", 1, False) + frame(b"a", 0, False) * 1000 + frame(b"a", 0)) * 8, 4),
    ),
    Flood("tiny messages over the rate", poured(PING * 3000, 4)),
    Flood("invalid JSON", poured(frame("{") * 8000, 4)),
    Flood(
        "unsubscribing from 260,000 channels a message",
        poured(text({"type": "unsub", "channels": ["a"] * 260_000}), 1),
        ("ping", "other"),
    ),
    Flood(
        "subscribing to 200 channels and leaving them, 190 times a second",
        churning,
        ("ping", "other", "newcomer"),
        attackers=4,
    ),
    Flood(
        "a reader of a conflate class does not read",
        never_reading,
        ("ping", "publish"),
        body=json.dumps({"app": "chat", "channel": "figures", "key": "KEY", "data": "x" * 50_000}),
    ),
    Flood("a log that nobody reads", coming_and_going, EVERYBODY, attackers=4, hanging_log=True),
    Flood(
        "handlers: closures that do not end",
        asking_handlers({"type": "pairs", "ids": list(range(5000))}),
        ("ping", "handler"),
    ),
    Flood(
        "handlers: texts that multiply",
        asking_handlers({"type": "fill", "text": "a" * 20_000}),
        ("ping", "handler"),
    ),
    Flood("handlers: an entity of 60 kB a message", naming(10, a_number), EVERYBODY),
    Flood("subscribing behind a slow handler", holding, ("ping", "other")),
    Flood("bodies of 1 MiB before a key is asked for", bodies, EVERYBODY),
    Flood("messages of 1 MiB without their last byte", unfinished, EVERYBODY),
    Flood("10,000 silent HTTP connections", silent, EVERYBODY),
    Flood(
        "a last value of 100 kB a message",
        naming(10, lambda n: {"type": "pub", "channel": f"last:{n}", "data": "x" * 100_000}),
        EVERYBODY,
    ),
    Flood(
        "a channel with a history a message",
        naming(50, lambda n: {"type": "pub", "channel": f"kept:{n}", "data": 1}),
        EVERYBODY,
    ),
    Flood("100,000 users come and go", many_users, EVERYBODY, attackers=2, seconds=90),
    Flood("wrong API keys", wrong_keys, ("ping", "newcomer", "publish")),
    Flood("reloads of faulty files", faulty_files, ("ping", "other", "newcomer")),
]
