"""What the fault tests share: a daemon of one's own that is started again as an init system would, a client of its control
socket, and the list of what it leaves behind. Standard library only; used by tests/e2e/crash_points.py and scripts/chaos."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import tempfile
import time
from pathlib import Path

DOMAINS = ["device", "model", "conditioning", "scheduler", "inference", "postprocessing", "communication"]
ENDED = ("completed", "failed", "cancelled")


class Refused(Exception):
    """The daemon answered with an error."""

    def __init__(self, error):
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code = error.get("code")
        self.error = error


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---- msgpack, as far as messages need it -----------------------------------------------------------------------------
def pack(value):
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value) if value < 2**63 else struct.pack(">BQ", 0xCF, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, str):
        data = value.encode()
        return struct.pack(">BI", 0xDB, len(data)) + data
    if isinstance(value, (list, tuple)):
        return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack, value))
    return struct.pack(">BI", 0xDF, len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())


FIXED = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
         0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
SIZED = {0xD9: (">B", "s"), 0xDA: (">H", "s"), 0xDB: (">I", "s"), 0xDC: (">H", "a"), 0xDD: (">I", "a"),
         0xDE: (">H", "m"), 0xDF: (">I", "m")}


def unpack(data, at=0):
    """(value, offset behind it)"""
    first = data[at]
    at += 1
    if first < 0x80 or first >= 0xE0:
        return (first if first < 0x80 else first - 256), at
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first in FIXED:
        size = struct.calcsize(FIXED[first])
        return struct.unpack_from(FIXED[first], data, at)[0], at + size
    if first < 0xC0:
        kind = "m" if first < 0x90 else "a" if first < 0xA0 else "s"
        count = first & (0x1F if kind == "s" else 0x0F)
    else:
        form, kind = SIZED[first]
        count = struct.unpack_from(form, data, at)[0]
        at += struct.calcsize(form)
    if kind == "s":
        return data[at:at + count].decode(), at + count
    if kind == "a":
        items = []
        for _ in range(count):
            item, at = unpack(data, at)
            items.append(item)
        return items, at
    items = {}
    for _ in range(count):
        key, at = unpack(data, at)
        items[key], at = unpack(data, at)
    return items, at


class Control:
    """One connection to the control socket; one request at a time. ConnectionError and socket.timeout when it is down."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = None
        self.number = 0

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None

    def call(self, operation, data=None, timeout=10.0, **envelope):
        try:
            if not self.socket:
                self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self.socket.settimeout(timeout)
                self.socket.connect(self.path)
            self.socket.settimeout(timeout)
            self.number += 1
            request_id = f"t{self.number}"
            self.socket.send(pack({"type": operation, "request_id": request_id, "data": data or {}, **envelope}))
            while True:
                frame = self.socket.recv(4 << 20)
                if not frame:
                    raise ConnectionError("the daemon closed the connection")
                reply, _ = unpack(frame)
                if reply.get("request_id") == request_id:
                    break
        except OSError as error:
            self.close()
            raise error if isinstance(error, (ConnectionError, socket.timeout)) else ConnectionError(str(error))
        if not reply.get("success"):
            raise Refused(reply.get("error") or {})
        return reply.get("data") or {}


# ---- the daemon ------------------------------------------------------------------------------------------------------
class Daemon:
    def __init__(self, bin_dir, settings=(), prefix="hep-fault-"):
        self.bin = Path(bin_dir)
        self.work = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
        self.state = self.work / "state"
        self.state.mkdir(mode=0o700)
        self.log = self.state / "heptad.log"
        self.settings = ["http.port=0", f"log.file={self.log}", *settings]
        self.control = Control(self.state / "run" / "control.sock")
        self.process = None
        self.instance = None
        self.output = None

    def start(self, environment=None):
        if self.output is None:
            self.output = open(self.work / "output", "ab")
        arguments = [str(self.bin / "heptad"), "--foreground", "--state", str(self.state)]
        for setting in self.settings:
            arguments += ["--set", setting]
        # a group of its own: what a terminal sends to the test does not reach it
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
                                        env={**os.environ, **(environment or {})}, start_new_session=True)

    def is_dead(self):
        return self.process is None or self.process.poll() is not None

    def revive(self):
        """What an init system does: True if it had to."""
        if not self.is_dead():
            return False
        self.control.close()
        self.start()
        return True

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.control.close()

    def wait_control(self, seconds=20):
        """The daemon answers; starts it again if it is gone."""
        end = time.monotonic() + seconds
        while True:
            self.revive()
            try:
                return self.control.call("status.get")
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)

    def wait_ready(self, seconds=30):
        end = time.monotonic() + seconds
        while True:
            status = self.wait_control()
            self.instance = status["instance"]
            if status["ready"]:
                return status
            if time.monotonic() > end:
                raise TimeoutError(status["line"])
            time.sleep(0.01)

    def stop(self):
        if self.is_dead():
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.control.close()

    # -- what is there
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_kib(self, pid=None):
        for line in Path(f"/proc/{pid or self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def segments(self, kind=""):
        return sorted(p.name for p in Path("/dev/shm").glob(f"hep.{self.instance}.{kind}*"))

    def sockets(self):
        return sorted(p.name for p in (self.state / "run").iterdir() if p.is_socket()) if (self.state / "run").is_dir() else []

    def parts(self):
        return sorted(str(p) for p in self.state.rglob("*.part")) + sorted(str(p) for p in self.state.rglob(".*.part"))

    def processes(self):
        mine = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"{self.state}\0" in (entry / "cmdline").read_text() + "\0":
                    mine.append(int(entry.name))
            except OSError:
                pass
        return mine

    def rows(self, query, *arguments):
        connection = sqlite3.connect(f"file:{self.state}/heptad.db?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query, arguments).fetchall()
        finally:
            connection.close()

    def end(self, keep=False):
        """Stops what runs and removes the folder. The names of what was left behind by an orderly stop."""
        left = []
        try:
            self.stop()
            left = [f"process {pid}" for pid in self.processes()] + [f"segment {name}" for name in self.segments()] + \
                   [f"socket {name}" for name in self.sockets()] + [f"file {name}" for name in self.parts()]
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            if self.instance:
                for name in self.segments():
                    os.unlink(f"/dev/shm/{name}")
            if self.output:
                self.output.close()
            if not keep:
                shutil.rmtree(self.work, ignore_errors=True)
        return left


def say(**fields):
    print(json.dumps(fields), flush=True)
