"""The gateway under floods: its files, its process, its memory."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading

from client import request

FILES = pathlib.Path(__file__).resolve().parents[2] / "config/bench-floods"
# What development mode fills in.
KEY = "dev-weir-api-key"


class Site:
    def __init__(self, binary, hanging_log=False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-floods-"))
        shutil.copytree(FILES, self.folder, dirs_exist_ok=True)
        self.log = open(self.folder / "log", "wb")
        # With `hanging_log` nobody reads what the gateway logs, and the pipe is not closed either.
        self.hanging, standard_error = os.pipe() if hanging_log else (None, self.log.fileno())
        self.process = subprocess.Popen(
            [binary, "run", "-c", str(self.folder / "gateway.toml")],
            stdout=subprocess.PIPE, stderr=standard_error, env={"PATH": os.environ["PATH"]}, text=True,
        )  # fmt: skip
        if hanging_log:
            os.close(standard_error)
        addresses = {}
        while len(addresses) < 2:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("the gateway did not start:\n" + (self.folder / "log").read_text())
            if line.startswith("weir: listening "):
                name, address = line.split()[2:4]
                host, port = address.rsplit(":", 1)
                addresses[name] = (host, int(port))
        self.main, self.admin = addresses["main"], addresses["admin"]
        # What it writes from here on never fills the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def publish(self, body, timeout=60):
        return request(self.main, "POST", "/api/publish", body, KEY, timeout)

    def resident(self):
        """Bytes."""
        try:
            for line in open(f"/proc/{self.process.pid}/status"):
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        return 0

    def ended(self):
        """How the process ended, where it did."""
        status = self.process.poll()
        return None if status is None else signal.Signals(-status).name if status < 0 else f"exit {status}"

    def stop(self):
        """Once is enough, twice does no harm."""
        if self.log.closed:
            return
        self.process.kill()
        self.process.wait()
        self.log.close()
        if self.hanging is not None:
            os.close(self.hanging)
        shutil.rmtree(self.folder, ignore_errors=True)
