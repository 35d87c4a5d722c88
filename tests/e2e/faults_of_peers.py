"""Faults of those that the daemon talks with: clients, readers of its log, whoever writes to its sockets, domains that are killed
while they hold something, the clock. Run by tests/e2e/faults.py."""

import contextlib
import ctypes
import http.client
import json
import mmap
import os
import random
import socket
import struct
import threading
import time

from fault_bench import REQUEST, Wrong, expect, until
from heptad import DOMAINS, Control, Refused, pack

PIDFD_OPEN, PIDFD_GETFD = 434, 438
REPORT_FD = 3
HELLO = b"\0SP\0" + struct.pack(">H", 0x30) + b"\0\0"  # nng's IPC transport, protocol REQ


def kill(bench, domain):
    old = bench.domain(domain)["pid"]
    os.kill(old, 9)
    until(lambda: bench.domain(domain).get("pid") not in (None, old) and bench.status()["ready"], f"{domain} does not come back")


def fault_01_what_a_dead_holder_held_is_released(bench, sha):
    bench.start()
    bench.wait_ready()
    expect(bench.generate() == sha, "the image differs")
    weights = bench.segments("weights")
    for domain in DOMAINS:
        session = bench.submit()
        bench.wait_step(session, 3)
        kill(bench, domain)
        expect(bench.image(session) == sha, f"the image differs after the death of {domain}")
        until(lambda: bench.control.call("device.get_memory", {})["reserved"] == 0, f"{domain}: a reservation is left")
        until(lambda: bench.domain("model")["detail"]["models"]["pins"] == 0, f"{domain}: a pin is left")
        until(lambda: not bench.segments("arena"), f"{domain}: an arena is left")
        until(lambda: not bench.status()["leases"], f"{domain}: a lease is left")
        expect(bench.segments("weights") == weights, "weights are published twice")
    cancelled = bench.submit(num_inference_steps=500)
    bench.wait_step(cancelled, 3)
    os.kill(bench.domain("inference")["pid"], 9)
    bench.control.call("session.control", {"session_id": cancelled, "action": "cancel"})
    bench.wait_end(cancelled)
    until(lambda: bench.control.call("device.get_memory", {})["reserved"] == 0 and not bench.segments("arena"),
          "a cancelled session of a dead domain holds something")


# ---- row 21 ------------------------------------------------------------------------------------------------------------
def broken_frames(dice):
    """What may follow a complete handshake: lengths that lie, no request id, broken msgpack, bytes of chance."""
    yield b"\x01" + struct.pack(">Q", 1 << 62)
    yield b"\x01" + struct.pack(">Q", 8 << 20) + bytes(64)
    yield b"\x01" + struct.pack(">Q", 0)
    yield b"\x07" + struct.pack(">Q", 4) + b"\x80\0\0\1"
    for body in (b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000, b"\xdf\xff\xff\xff\xff", pack([1, 2]), pack({"type": 7}),
                 pack({"type": "device.ping", "request_id": "x" * 70000}), dice.randbytes(300)):
        payload = b"\x80\0\0\1" + body
        yield b"\x01" + struct.pack(">Q", len(payload)) + payload
        yield b"\x01" + struct.pack(">Q", len(payload)) + payload[:len(payload) // 2]
    yield dice.randbytes(2000)


def make_noise(path, frame):
    """True if the peer took the handshake."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(0.05)
        with contextlib.suppress(OSError):
            peer.connect(str(path))
            peer.sendall(HELLO)
            greeted = len(peer.recv(8)) == 8
            peer.sendall(frame)
            with contextlib.suppress(OSError):
                peer.recv(64)
            return greeted
    return False


def fault_21_broken_frames_on_every_socket(bench, sha):
    bench.settings.append("domains.confine=off")  # else only the supervisor may connect
    bench.start()
    bench.wait_ready()
    session, dice, greeted = bench.submit(num_inference_steps=200), random.Random(21), 0
    run = bench.state / "run"
    for name in bench.sockets():
        if name == "control.sock":
            continue
        for frame in broken_frames(dice):
            greeted += make_noise(run / name, frame)
        until(lambda name=name: make_noise(run / name, b""), f"{name} takes no connection any more", 10)
    for body in (b"\xc1", b"\xdd\xff\xff\xff\xff", pack({"type": 7}), dice.randbytes(500)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
            peer.connect(str(run / "control.sock"))
            peer.settimeout(0.2)
            with contextlib.suppress(OSError):
                peer.send(body)
                peer.recv(1 << 16)
    expect(bench.wait_end(session)["status"] == "completed", "a session failed")
    expect(bench.generate() == sha, "the image differs")
    expect(all(count == 0 for count in bench.deaths().values()), f"a domain died: {bench.deaths()}")
    return {"greeted": greeted}


def fault_21_a_handshake_that_is_broken_off_does_not_cut_anybody_off(bench, sha):
    bench.settings.append("domains.confine=off")
    bench.start()
    bench.wait_ready()
    for name in bench.sockets():
        for part in (b"", HELLO[:3], b"\xff" * 8):
            kind = socket.SOCK_SEQPACKET if name == "control.sock" else socket.SOCK_STREAM
            with socket.socket(socket.AF_UNIX, kind) as peer:
                peer.connect(str(bench.state / "run" / name))
                if part:
                    peer.send(part)
    expect(bench.generate() == sha, "the image differs")
    for domain in DOMAINS:
        kill(bench, domain)
    until(lambda: http_ready(bench), "the door does not come back")
    expect(bench.generate() == sha, "the image differs")


def http_ready(bench):
    try:
        return bench.http("GET", "/readyz")[0] == 200
    except (OSError, Refused):
        return False


def fault_21_reports_that_break_the_contract(bench, sha):
    bench.start()
    bench.wait_ready()
    libc, dice = ctypes.CDLL(None, use_errno=True), random.Random(21)
    for domain in DOMAINS:
        process = libc.syscall(PIDFD_OPEN, bench.domain(domain)["pid"], 0)
        channel = libc.syscall(PIDFD_GETFD, process, REPORT_FD, 0)
        os.close(process)
        if channel < 0:
            return {"skipped": "pidfd_getfd is refused"}
        with socket.socket(fileno=channel) as report:
            for body in (b"\xc1", pack([1]), pack({"kind": "nonsense"}), pack({"kind": "end", "request_id": "nobody's"}),
                         pack({"kind": "status", "rss_bytes": "many", "operations": 3, "in_hand": "x"}),
                         pack({"kind": "progress", "counter": -2**63}), pack({"kind": "begin", "request_id": 5}),
                         pack({"kind": "event", "name": "x" * 4000, "session": 7}), dice.randbytes(100)):
                report.send(body)
    expect(bench.generate() == sha, "the image differs")
    expect(bench.log.read_text().count("domain.bad_report") >= len(DOMAINS), "nobody noticed")
    expect(all(count == 0 for count in bench.deaths().values()), f"a domain died: {bench.deaths()}")


# ---- clock, clients, log --------------------------------------------------------------------------------------------------
def fault_23_the_wall_clock_jumps(bench, sha):
    library = bench.bin.parent / "tests/libwall_clock.so"
    expect(library.exists(), f"{library} is not built")
    path = bench.work / "offset"
    path.write_bytes(bytes(8))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 8) as offset:
        bench.start({"LD_PRELOAD": str(library), "HEP_WALL_CLOCK": str(path)})
        bench.wait_ready()
        for seconds in (86400 * 400, -86400 * 3000, 5, -3600):
            session = bench.submit()
            bench.wait_step(session, 5)
            offset[:] = struct.pack("<q", seconds)
            expect(bench.image(session) == sha, "the image differs")
            time.sleep(1.2)
            expect(bench.status()["ready"], f"after {seconds} s: {bench.status()['line']}")
        expect(all(count == 0 for count in bench.deaths().values()), f"a domain died: {bench.deaths()}")


def fault_24_the_same_key_is_the_same_session(bench, sha):
    bench.start()
    bench.wait_ready()
    answers = []
    port = bench.control.call("communication.listen", {})["port"]
    body = json.dumps({"workflow_id": "txt2img", "configuration": REQUEST}).encode()
    with socket.create_connection(("127.0.0.1", port)) as gone:  # a client that leaves before its answer
        gone.sendall(b"POST /api/processing/workflows/execute HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: one-key\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body)
    threads = [threading.Thread(target=lambda: answers.append(execute_alone(port))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sessions = bench.control.call("session.list", {"limit": 50})["sessions"]
    expect(len(sessions) == 1, f"{len(sessions)} sessions of one key")
    expect(all(status in (200, 202) for status in answers), f"answers {answers}")
    expect(bench.image(sessions[0]["session_id"]) == sha, "the image differs")
    try:
        bench.submit(key="one-key", seed=12)
        raise Wrong("the key of another request is taken")
    except Refused as error:
        expect(error.code == "CONFLICT", f"refused with {error}")
    cancelled = bench.submit(key="another", num_inference_steps=500)
    bench.wait_step(cancelled, 3)
    bench.control.call("session.control", {"session_id": cancelled, "action": "cancel"})
    bench.kill()
    time.sleep(0.2)
    bench.start()
    bench.wait_ready()
    expect(bench.wait_end(cancelled)["status"] == "cancelled", "a cancel was forgotten")
    expect(bench.submit(key="another", num_inference_steps=500) == cancelled, "a key was forgotten")


def execute_alone(port):
    door = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        door.request("POST", "/api/processing/workflows/execute",
                     json.dumps({"workflow_id": "txt2img", "configuration": REQUEST}), {"Idempotency-Key": "one-key"})
        return door.getresponse().status
    finally:
        door.close()


def fault_27_nobody_reads_the_log(bench, sha):
    bench.settings = [s for s in bench.settings if not s.startswith("log.file=")] + ["log.level=debug"]
    reader, writer = os.pipe()
    bench.output = os.fdopen(writer, "wb", buffering=0)
    bench.start()
    try:
        bench.wait_ready()
        for _ in range(3):  # the pipe is full after the first
            expect(bench.generate() == sha, "the image differs")
    finally:
        os.close(reader)
    for _ in range(3):  # nobody is left: EPIPE
        expect(bench.generate() == sha, "the image differs")
    expect(all(count == 0 for count in bench.deaths().values()), f"a domain died: {bench.deaths()}")


def fault_29_a_domain_beyond_its_memory_limit_is_replaced_and_no_request_fails(bench, sha):
    bench.settings.append("domains.memory_limit=64K")  # every process is beyond it
    bench.start()
    bench.wait_ready()
    failed, ended = [], threading.Event()

    def ask():
        control = Control(bench.control.path)
        while not ended.is_set():
            for operation in ("device.get_memory", "scheduler.list", "model.list", "inference.ping"):
                try:
                    control.call(operation, {})
                except (Refused, OSError) as error:
                    failed.append(f"{operation}: {error}")
        control.close()

    client = threading.Thread(target=ask)
    client.start()
    try:
        sessions = [bench.submit() for _ in range(8)]
        until(lambda: all(d["recycled"] == 1 for d in bench.status()["domains"]),
              f"not every domain was replaced: {[(d['domain'], d['recycled']) for d in bench.status()['domains']]}", 30)
        for session in sessions:
            expect(bench.image(session) == sha, "the image differs")
        until(lambda: bench.status()["ready"], "it is not ready")
        time.sleep(1.5)
    finally:
        ended.set()
        client.join()
    expect(not failed, f"{len(failed)} requests failed: {failed[:3]}")
    expect(all(count == 0 for count in bench.deaths().values()), f"counted as deaths: {bench.deaths()}")
    expect(all(d["recycled"] == 1 for d in bench.status()["domains"]), "twice in a minute")
    expect(not bench.control.call("domain.incidents", {})["incidents"], "counted as incidents")
    expect(bench.log.read_text().count("domain.recycled ") == len(DOMAINS), "not one line each")
