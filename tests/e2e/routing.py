#!/usr/bin/env python3
"""Many mixed requests, right and wrong, to all domains over the control socket and HTTP, while domains are killed: every reply is
the right one of the right domain, or an error that says that it may pass. Ends with one JSON line.

    tests/e2e/routing.py [--requests 100000] [--clients 16] [--seed N] [--bin build/bin]"""

import argparse
import http.client
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from heptad import DOMAINS, Control, Daemon, Refused, free_port, say  # noqa: E402

TURN_S = 6.6   # in which each domain dies once: more than five times in 30 s would be a crash loop
OPERATION_OF = {"device": "get_memory", "model": "verify", "conditioning": "tokenize", "scheduler": "plan",
                "inference": "generate", "postprocessing": "decode", "communication": "listen"}


def says_status(domain):
    return lambda reply: reply["status"]["domain"] == domain


def describes(domain):
    return lambda reply: OPERATION_OF[domain] in {row["name"] for row in reply["operations"]}


def kinds(rng):
    """(type, data, what the reply must be, or the code of the error) of one random request."""
    domain, number = rng.choice(DOMAINS), rng.getrandbits(40)
    return rng.choice([
        (f"{domain}.ping", {"echo": number}, lambda reply: reply["echo"] == number),
        (f"{domain}.get_status", {}, says_status(domain)),
        (f"{domain}.describe", {}, describes(domain)),
        ("device.list", {}, lambda reply: reply["devices"] and "cores" in reply),
        ("model.info", {"model": "emoji"}, lambda reply: reply["name"] == "emoji"),
        ("scheduler.list", {}, lambda reply: any(s["name"] == "ddim" for s in reply["schedulers"])),
        ("workflow.get", {"workflow_id": "txt2img"}, lambda reply: reply["workflow_id"] == "txt2img"),
        ("session.list", {"limit": 1}, lambda reply: "sessions" in reply),
        (f"{domain}.no_such_thing", {}, "UNKNOWN_OPERATION"),
        (f"{domain}.ping", {"echoo": 1}, "UNKNOWN_FIELD"),
        ("moon.ping", {}, "UNKNOWN_DOMAIN"),
        ("ping", {}, "BAD_FIELD"),
        ("model.info", {"model": number}, "BAD_FIELD"),
        ("model.info", {"model": "none-of-ours"}, "NOT_FOUND"),
        ("inference.generate", {}, "NOT_ALLOWED"),
        ("session.get", {"session_id": "s-none"}, "NOT_FOUND"),
        ("workflow.execute", {"configuration": {"prompt": number}}, "BAD_FIELD"),
        ("batch.get", {"batch_id": "b-none"}, "NOT_FOUND"),
    ])


class Storm:
    def __init__(self, options):
        self.options = options
        self.port = free_port()  # the same after a death
        self.daemon = Daemon(options.bin, [f"http.port={self.port}"], prefix="hep-routing-")
        self.counts = Counter()
        self.problems = []
        self.lock = threading.Lock()
        self.finished = threading.Event()

    def judge(self, request, reply, error):
        type_, data, expected = request
        if error and error.get("retryable"):
            return "passing"
        if callable(expected):
            try:
                right = error is None and expected(reply)
            except (KeyError, TypeError):
                right = False
        else:
            right = error is not None and error.get("code") == expected
        if not right:
            with self.lock:
                self.problems.append(f"{type_} {data}: {json.dumps(error or reply)[:300]}")
        return "right" if right else "wrong"

    def over_http(self, door, request):
        """As a routed request; the connection is opened again when it breaks."""
        try:
            if door[0] is None:
                door[0] = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            door[0].request("POST", "/api/processing/request",
                            json.dumps({"type": request[0], "request_id": "r", "data": request[1]}))
            reply = json.loads(door[0].getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            if door[0]:
                door[0].close()
            door[0] = None
            time.sleep(0.05)  # as a client would before it connects again
            return "broken"  # communication died: the client sees a broken connection
        return self.judge(request, reply.get("data"), reply.get("error"))

    def over_control(self, control, request):
        try:
            reply, error = control.call(request[0], request[1], timeout=30), None
        except Refused as refused:
            reply, error = None, refused.error
        return self.judge(request, reply, error)

    def client(self, index):
        rng, control, door = random.Random(f"{self.options.seed}/{index}"), Control(self.daemon.control.path), [None]
        counts = Counter()
        for _ in range(self.options.requests // self.options.clients):
            request = kinds(rng)
            over_http = self.routed_http and index % 4 == 0
            counts[self.over_http(door, request) if over_http else self.over_control(control, request)] += 1
        control.close()
        with self.lock:
            self.counts += counts

    def kill(self):
        rng, control, turn = random.Random(self.options.seed), Control(self.daemon.control.path), 0
        while not self.finished.wait(TURN_S / len(DOMAINS)):
            domain = DOMAINS[turn % len(DOMAINS)]
            pid = next(d["pid"] for d in control.call("domain.list")["domains"] if d["domain"] == domain)
            if pid:
                try:
                    os.kill(pid, rng.choice([signal.SIGKILL, signal.SIGSEGV]))
                    self.counts["kills"] += 1
                except ProcessLookupError:
                    pass
            turn += 1
        control.close()

    def run(self):
        self.daemon.start()
        self.daemon.wait_ready()
        self.routed_http = self.has_route()
        began = time.monotonic()
        clients = [threading.Thread(target=self.client, args=[i]) for i in range(self.options.clients)]
        killer = threading.Thread(target=self.kill)
        for thread in [killer, *clients]:
            thread.start()
        for thread in clients:
            thread.join()
        self.finished.set()
        killer.join()
        took = time.monotonic() - began
        self.daemon.wait_ready()
        # a death breaks what its clients have under way and what they try until it is back; anything more is no death's
        bad = bool(self.problems) or self.counts["wrong"] > 0 or self.counts["broken"] > 20 * self.counts["kills"] + 20
        left = self.daemon.end(keep=bad)
        say(requests=sum(self.counts[k] for k in ("right", "passing", "wrong", "broken")), right=self.counts["right"],
            passing=self.counts["passing"], broken=self.counts["broken"], wrong=self.counts["wrong"],
            kills=self.counts["kills"], per_s=round(self.options.requests / took), http=self.routed_http, left=left,
            problems=self.problems[:10])
        return 1 if bad or left else 0

    def has_route(self):
        door = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        door.request("POST", "/api/processing/request", json.dumps({"type": "device.ping", "request_id": "r", "data": {}}))
        status = door.getresponse().status
        door.close()
        return status == 200


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bin", default=ROOT / "build/bin")
    return Storm(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
