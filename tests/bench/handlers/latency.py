"""What a handler adds to a publication's way, and whom an endless loop disturbs: `tests/bench/handlers/run BIN`.

Three channels of one gateway: without a handler, with one that passes the publication on, and one whose handler never
ends. Turn by turn in one run, so that the machine's moods meet all alike. Prints microseconds; asserts nothing.
"""

import base64, os, socket, statistics, struct, sys, threading, time

HOST, PORT = "127.0.0.1", int(sys.argv[1])
ROUNDS, TURNS = int(os.environ.get("ROUNDS", 2000)), 5


class Client:
    """A WebSocket client of a few lines: text frames, one at a time, on a blocking socket."""

    def __init__(self):
        self.socket = socket.create_connection((HOST, PORT))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.left = b""
        while b"\r\n\r\n" not in self.left:
            self.left += self.socket.recv(4096)
        head, self.left = self.left.split(b"\r\n\r\n", 1)
        assert b" 101 " in head, head

    def send(self, text):
        data, mask = text.encode(), os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        self.socket.sendall(b"\x81" + size + mask + masked)

    def take(self, count):
        while len(self.left) < count:
            got = self.socket.recv(65536)
            assert got, "the gateway closed"
            self.left += got
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def next(self):
        head = self.take(2)
        size = head[1] & 127
        if size == 126:
            size = struct.unpack(">H", self.take(2))[0]
        data = self.take(size)
        return data if head[0] & 15 in (1, 2) else self.next()


def listener(channel):
    client = Client()
    client.send('{"op":"sub","ch":"%s"}' % channel)
    assert b"subbed" in client.next()
    return client


def rounds(publisher, hearer, channel, count, pause=0.0):
    """Publish, hear, publish again: microseconds from the send to the delivery."""
    took, pad = [], "x" * 120
    for n in range(count):
        text = '{"op":"pub","ch":"%s","data":{"n":%d,"user":"u1","text":"%s"}}' % (channel, n, pad)
        start = time.perf_counter()
        publisher.send(text)
        hearer.next()
        took.append((time.perf_counter() - start) * 1e6)
        if pause:
            time.sleep(pause)
    return took


def told(name, took):
    took = sorted(took)
    print(f"{name:<52}{statistics.median(took):>9.0f}{took[int(len(took) * 0.99)]:>9.0f}{took[-1]:>9.0f}")


def main():
    publisher, plain, handled = Client(), listener("plain:1"), listener("handled:1")
    both = {"plain": [], "handled": []}
    rounds(publisher, plain, "plain:1", 200), rounds(publisher, handled, "handled:1", 200)
    for _ in range(TURNS):
        both["plain"] += rounds(publisher, plain, "plain:1", ROUNDS)
        both["handled"] += rounds(publisher, handled, "handled:1", ROUNDS)
    print(f"{'microseconds from publish to delivery':<52}{'p50':>9}{'p99':>9}{'max':>9}")
    told("a class without handlers", both["plain"])
    told("a class whose handler changes each publication", both["handled"])
    added = statistics.median(both["handled"]) - statistics.median(both["plain"])
    print(f"{'added by the handler, at p50':<52}{added:>9.0f}")

    # A handler that never ends is called again as soon as it was ended; the others are measured meanwhile.
    before = {c: rounds(publisher, h, c, ROUNDS, 0.0005) for c, h in (("plain:1", plain), ("handled:1", handled))}
    looper, stop = Client(), threading.Event()

    def loop():
        while not stop.is_set():
            looper.send('{"op":"spin"}')
            looper.next()

    thread = threading.Thread(target=loop)
    thread.start()
    during = {c: rounds(publisher, h, c, ROUNDS, 0.0005) for c, h in (("plain:1", plain), ("handled:1", handled))}
    stop.set()
    thread.join()
    for channel, name in (("plain:1", "without handlers"), ("handled:1", "with a handler")):
        told(f"{name}, nothing else", before[channel])
        told(f"{name}, beside an endless loop", during[channel])


main()
