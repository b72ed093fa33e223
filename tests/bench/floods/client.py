"""Raw clients of a few lines: frames, handshakes, requests; nothing that would stop an attacker from being one."""

import base64
import json
import os
import selectors
import socket
import struct
import time
import zlib


def frame(payload, op=1, fin=True, deflated=False):
    """A client's frame. The mask is zeros: the payload goes as it is, and costs the flood nothing."""
    payload = payload.encode() if isinstance(payload, str) else payload
    head, size = bytes([(0x80 if fin else 0) | (0x40 if deflated else 0) | op]), len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += b"\xfe" + struct.pack(">H", size)
    else:
        head += b"\xff" + struct.pack(">Q", size)
    return head + b"\0\0\0\0" + payload


def text(message):
    return frame(json.dumps(message, separators=(",", ":")))


def deflated(data):
    """A frame whose payload inflates to `data` (RFC 7692)."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return frame((compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4], deflated=True)


def handshake(path, extra=""):
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    ).encode()


def connect(address, source=None, timeout=10, receive_buffer=None):
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source:
        sock.bind((source, 0))
    sock.settimeout(timeout)
    sock.connect(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def request(address, method, path, body=b"", key=None, timeout=60):
    """Status of one request on a connection of its own."""
    sock = connect(address, timeout=timeout)
    try:
        sock.sendall(head(address, method, path, len(body), key) + body)
        said = b""
        while b"\r\n" not in said:
            got = sock.recv(65536)
            if not got:
                raise ConnectionError("closed without an answer")
            said += got
        return int(said.split(b" ", 2)[1])
    finally:
        sock.close()


def head(address, method, path, size=0, key=None, close=True):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address[0]}:{address[1]}", f"Content-Length: {size}"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += ["Connection: close"] if close else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Closed(Exception):
    """The gateway ended the connection; the text says how."""


class Client:
    """A WebSocket client that blocks."""

    def __init__(self, address, path, extra="", **options):
        self.socket, self.left = connect(address, **options), b""
        try:
            self.socket.sendall(handshake(path, extra))
            while b"\r\n\r\n" not in self.left:
                self.more()
            said, self.left = self.left.split(b"\r\n\r\n", 1)
            if b" 101 " not in said[:20]:
                raise Closed(said.split(b"\r\n", 1)[0].decode())
        except BaseException:
            self.socket.close()
            raise

    def more(self):
        got = self.socket.recv(262144)
        if not got:
            raise Closed("closed")
        self.left += got

    def send(self, raw):
        self.socket.sendall(raw)

    def parse(self):
        """A whole frame that is there already: its opcode and payload."""
        left = self.left
        if len(left) < 2:
            return None
        size, at = left[1] & 127, 2
        if size > 125:
            at = 4 if size == 126 else 10
            if len(left) < at:
                return None
            size = int.from_bytes(left[2:at], "big")
        if len(left) < at + size:
            return None
        self.left = left[at + size :]
        return left[0] & 15, left[at : at + size]

    def next(self):
        """The next message as bytes; pings are answered."""
        while True:
            got = self.parse()
            if got is None:
                self.more()
            elif got[0] == 8:
                raise Closed(f"close {int.from_bytes(got[1][:2], 'big')}")
            elif got[0] == 9:
                self.send(frame(got[1], 10))
            elif got[0] != 10:
                return got[1]

    def until(self, wanted):
        """Reads until a message holds `wanted`."""
        while wanted not in self.next():
            pass
        return self

    def ask(self, raw):
        self.send(raw)
        self.next()
        return self

    def close(self):
        self.socket.close()


def pour(come, payload, connections, until, read=True):
    """Keeps the buffers of so many connections full of `payload` until then. `come` makes one; who is closed comes again.

    Returns what was poured and how often the gateway closed."""
    waiting, poured, closed, missing = selectors.DefaultSelector(), 0, 0, connections
    payload = memoryview(payload)
    while time.monotonic() < until:
        for _ in range(missing):
            try:
                sock = come()
            except (OSError, Closed):
                break
            sock.setblocking(False)
            waiting.register(sock, selectors.EVENT_WRITE | (selectors.EVENT_READ if read else 0), [payload])
            missing -= 1
        for key, events in waiting.select(0.05):
            try:
                if events & selectors.EVENT_READ and not key.fileobj.recv(1 << 18):
                    raise ConnectionError
                if events & selectors.EVENT_WRITE:
                    sent = key.fileobj.send(key.data[0])
                    poured += sent
                    key.data[0] = key.data[0][sent:] if sent < len(key.data[0]) else payload
            except BlockingIOError:
                pass
            except OSError:
                waiting.unregister(key.fileobj)
                key.fileobj.close()
                closed, missing = closed + 1, missing + 1
        if missing:
            time.sleep(0.01)
    for key in list(waiting.get_map().values()):
        key.fileobj.close()
    return f"{poured / 1e6:,.0f} MB poured, closed {closed} times"
