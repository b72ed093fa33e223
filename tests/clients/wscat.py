"""The documents' wscat lines, typed at a terminal. WEIR_MAIN=127.0.0.1:3000 WSCAT=…/wscat python3 wscat.py"""
import os
import pty
import re
import select
import sys
import time
import urllib.request

PATIENCE_S = 20
main = os.environ["WEIR_MAIN"]


class Terminal:
    """A program at a pseudo terminal: what it prints is waited for, what is typed goes in as keys."""

    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            os.execv(command[0], command)
        self.seen = ""

    def wait(self, pattern):
        end = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.seen)):
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"{pattern!r} did not come, but {self.seen!r}")
            try:
                self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(self.fd, 65536).decode())
            except OSError:
                raise AssertionError(f"it ended before {pattern!r}: {self.seen!r}") from None
        self.seen = self.seen[found.end():]
        return found

    def type(self, line):
        os.write(self.fd, (line + "\r").encode())

    def end(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def wscat(path):
    return Terminal(os.environ["WSCAT"], "-c", f"ws://{main}{path}")


def manual_lines():
    t = wscat("/ws")
    t.wait(r"Connected")
    t.wait(r'< \{"type":"welcome"')
    t.type('{"type": "subscribe", "channel": "test:channel"}')
    t.wait(r'< \{"type":"subscribed","channel":"test:channel"')
    t.type('{"type": "ping"}')
    t.wait(r'< \{"type":"pong"')
    return t


def a_note_by_curl():
    t = manual_lines()
    # As the README has it: what is published arrives as it was written.
    body = b'{"channel":"test:channel","data":{"type":"note","text":"hello"}}'
    headers = {"Authorization": "Bearer dev-weir-api-key", "Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"http://{main}/api/publish", body, headers), timeout=PATIENCE_S).read()
    t.wait(r'< \{"type":"note","text":"hello"')
    return t


def health():
    t = wscat("/ws/health")
    t.wait(r'< \{"type":"health","status":"ok"')
    t.wait(r"Disconnected \(code: 1000")
    return t


failed = 0
for name, check in [
    ("wscat: subscribe and ping", manual_lines),
    ("wscat: a note published over HTTP arrives", a_note_by_curl),
    ("wscat: the health check", health),
]:
    try:
        check().end()
        print(f"ok {name}", flush=True)
    except Exception as e:  # noqa: BLE001: told, counted, and the next one runs
        failed += 1
        print(f"FAILED {name}: {e}", flush=True)
sys.exit(1 if failed else 0)
