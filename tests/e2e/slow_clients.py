#!/usr/bin/env python3
"""A hundred clients that hang, send a byte a second, disconnect or flood, beside generations: these go on at their pace, memory
and descriptors are flat afterwards, and /readyz says yes throughout.

    tests/e2e/slow_clients.py [--bin build/bin] [--seconds 20] [--clients 100]

The last line is JSON; exit status 0 only if nothing was wrong. "ratio" is the median time of a step with the clients to that
without: on a machine that others use too, or with few cores, the flood takes its part of the processor."""

import argparse
import contextlib
import http.client
import json
import os
import random
import socket
import statistics
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from fault_bench import Bench, Wrong, expect, until  # noqa: E402
from heptad import say  # noqa: E402

STEPS = 60
RATIO_MAX = 3.0
RSS_GROWTH_MAX_KIB = 8192
REQUEST = b"POST /api/processing/workflows/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n"


class Crowd:
    """Each kind of client does its thing again and again until the time is over; it expects nothing."""

    def __init__(self, port, seconds):
        self.port, self.end = port, time.monotonic() + seconds
        self.counts = dict.fromkeys(["hang", "trickle", "leave", "flood"], 0)
        self.lock = threading.Lock()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def hang(self, dice):
        with self.connect() as peer:
            peer.sendall(REQUEST[:dice.randrange(len(REQUEST))])
            peer.settimeout(max(0.1, min(5.0, self.end - time.monotonic())))
            peer.recv(100)

    def trickle(self, dice):
        with self.connect() as peer:
            for at in range(len(REQUEST)):
                peer.sendall(REQUEST[at:at + 1])
                if time.monotonic() > self.end:
                    break
                time.sleep(min(1.0, max(0, self.end - time.monotonic())))

    def leave(self, dice):
        with self.connect() as peer:
            peer.sendall(REQUEST + bytes(dice.randrange(3000)))
        time.sleep(dice.uniform(0.02, 0.2))

    def flood(self, dice):
        with self.connect() as peer:
            for _ in range(50):
                peer.sendall(b"GET /api/nothing?" + b"x" * dice.randrange(500) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                peer.recv(4096)
                time.sleep(0.01)

    def client(self, kind, seed):
        dice = random.Random(seed)
        while time.monotonic() < self.end:
            with contextlib.suppress(OSError):
                getattr(self, kind)(dice)
            with self.lock:
                self.counts[kind] += 1

    def start(self, clients):
        kinds = list(self.counts)
        threads = [threading.Thread(target=self.client, args=(kinds[i % len(kinds)], i)) for i in range(clients)]
        for thread in threads:
            thread.start()
        return threads


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def footprint(bench):
    door = bench.domain("communication")["pid"]
    return {"supervisor": (descriptors(bench.process.pid), bench.resident_kib()),
            "communication": (descriptors(door), bench.resident_kib(door))}


def step_ms(bench, session):
    """Of a session that has ended: milliseconds of a denoising step."""
    (began, ended), = bench.rows("select started, ended from steps where session = ? and id = 'denoise'", session)
    return (ended - began) / STEPS


def generate(bench, times):
    session = bench.submit(num_inference_steps=STEPS)
    image = bench.image(session)
    times.append(step_ms(bench, session))
    return image


def watch_ready(bench, port, end, wrong):
    """/readyz from a client that behaves, as a load balancer asks it."""
    asked = 0
    while time.monotonic() < end:
        door = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            door.request("GET", "/readyz")
            reply = door.getresponse()
            if reply.status != 200:
                wrong.append(f"/readyz says {reply.status}: {reply.read(200)!r}")
        except OSError as error:
            wrong.append(f"/readyz: {error!r}")
        finally:
            door.close()
        asked += 1
        time.sleep(0.5)
    return asked


def measure(bench, options):
    bench.start()
    bench.wait_ready()
    port = bench.control.call("communication.listen", {})["port"]
    alone, beside, wrong = [], [], []
    image = generate(bench, [])
    for thread in Crowd(port, 2).start(options.clients):  # pools and caches of a first crowd are no leak
        thread.join()
    for _ in range(5):
        expect(generate(bench, alone) == image, "the image differs")
    before = footprint(bench)
    crowd = Crowd(port, options.seconds)
    threads = crowd.start(options.clients)
    watcher = threading.Thread(target=watch_ready, args=(bench, port, crowd.end, wrong))
    watcher.start()
    while time.monotonic() < crowd.end:
        expect(generate(bench, beside) == image, "the image differs")
    for thread in [*threads, watcher]:
        thread.join()
    expect(not wrong, f"{len(wrong)} times: {wrong[:3]}")
    ratio = statistics.median(beside) / statistics.median(alone)
    say(ratio=round(ratio, 2), step_ms_alone=round(statistics.median(alone), 2),
        step_ms_beside=round(statistics.median(beside), 2), generations=len(beside), **crowd.counts)
    expect(ratio < RATIO_MAX, f"a step takes {ratio:.2f} times as long")
    expect(all(count == 0 for count in bench.deaths().values()), f"a domain died: {bench.deaths()}")
    until(lambda: all(footprint(bench)[who][0] <= before[who][0] + 2 for who in before),
          f"descriptors: {before} before, {footprint(bench)} after", 40)
    after = footprint(bench)
    for who in before:
        expect(after[who][1] - before[who][1] < RSS_GROWTH_MAX_KIB, f"{who} grew from {before[who][1]} to {after[who][1]} KiB")
    say(descriptors_and_kib_before=before, after=after)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=str(ROOT / "build/bin"))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=100)
    options = parser.parse_args()
    bench, wrong = Bench(options.bin), ""
    try:
        measure(bench, options)
    except (Wrong, OSError, json.JSONDecodeError, TimeoutError) as error:
        wrong = f"{error!r}"
    left = bench.end(keep=bool(wrong))
    wrong = wrong or (f"left behind: {left}" if left else "")
    say(ok=not wrong, **({"wrong": wrong, "folder": str(bench.work)} if wrong else {}))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
