"""A daemon for the checks of tests/e2e/faults.py: requests, what it says about itself, and the small file systems that lie over its
folders. Standard library only."""

import contextlib
import hashlib
import http.client
import json
import os
import subprocess
import time
from pathlib import Path

from heptad import ENDED, Daemon

REQUEST = {"prompt": "a red apple", "seed": 11, "num_inference_steps": 20}


class Wrong(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Wrong(what)


def until(condition, what, seconds=20):
    """The first true value of condition."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        expect(time.monotonic() < end, what)
        time.sleep(0.02)


class Bench(Daemon):
    """A daemon and the small file systems that lie over its folders."""

    def __init__(self, bin_dir, settings=()):
        super().__init__(bin_dir, settings, prefix="hep-faults-")
        self.mounts = []

    def mount(self, path, size):
        path = Path(path)
        path.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(path)], check=True)
        self.mounts.append(path)
        return path

    def end(self, keep=False):
        left = super().end(keep=True)
        for path in reversed(self.mounts):
            subprocess.run(["umount", "-l", str(path)], check=False)
        if not keep:
            subprocess.run(["rm", "-rf", str(self.work)], check=False)
        return left

    # -- requests
    def submit(self, key=None, **other):
        data = {"workflow_id": "txt2img", "configuration": {**REQUEST, **other}}
        return self.control.call("workflow.execute", {**data, "idempotency_key": key} if key else data)["session_id"]

    def view(self, session):
        return self.control.call("session.get", {"session_id": session})

    def wait_end(self, session, seconds=30):
        return until(lambda: (view := self.view(session))["status"] in ENDED and view, f"{session} did not end", seconds)

    def wait_step(self, session, step):
        until(lambda: (view := self.view(session))["status"] in ENDED or view.get("denoising_step", 0) >= step,
              f"{session} does not denoise")

    def image(self, session):
        view = self.wait_end(session)
        expect(view["status"] == "completed", f"{session} {view['status']}: {view.get('error')}")
        return hashlib.sha256(Path(view["results"]["files"][0]["path"]).read_bytes()).hexdigest()

    def generate(self, **other):
        return self.image(self.submit(**other))

    # -- what it says
    def status(self):
        return self.control.call("status.get")

    def domain(self, name):
        return next(d for d in self.status()["domains"] if d["domain"] == name)

    def deaths(self):
        return {d["domain"]: d["deaths"] for d in self.status()["domains"]}

    def http(self, method, path, body=None, headers=None):
        port = self.control.call("communication.listen", {})["port"]
        door = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            door.request(method, path, json.dumps(body) if body is not None else None, headers or {})
            reply = door.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read()
        finally:
            door.close()

    def execute(self, key=None):
        return self.http("POST", "/api/processing/workflows/execute", {"workflow_id": "txt2img", "configuration": REQUEST},
                         {"Idempotency-Key": key} if key else {})

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(folder):
    """Takes all that is free; returns what to remove."""
    path = Path(folder) / "filler"
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    with open(path, "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 9))
    return path
