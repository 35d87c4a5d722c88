#!/usr/bin/env python3
"""What heptad itself takes: its CPU time, as a share of one core, while steps are reported at a fixed pace. The other processes are
real; inference is tests/support/paced_inference, which reports and does not compute. And what its answers take with ten thousand
ended sessions in the store. Prints a JSON line for each case; with --check it fails when one session at 50 steps a second that nobody
watches takes more than 2 % of a core, or a page of 50 of the ten thousand more than 20 ms of its time.
    supervisor_cost.py --bin BUILD/bin --paced BUILD/tests/paced_inference [--seconds 10] [--check] [--only CASE]"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
import exposition
from heptad import Control, Daemon, pack, say

ROOT = Path(__file__).resolve().parent.parent.parent


def cpu_seconds(pid):
    """Of all its threads, in nanoseconds of the scheduler's own clock."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total / 1e9


def paced_workflow(paced):
    """txt2img, without what the stand-in's generate has no field for."""
    template = json.loads((ROOT / "etc/workflows/txt2img.json").read_text(encoding="utf-8"))
    described = json.loads(subprocess.run([paced, "--describe"], capture_output=True, text=True, check=True).stdout)
    fields = {field["name"] for row in described["operations"] if row["name"] == "generate" for field in row["request"]}
    for step in template["steps"]:
        if step["operation"] == "generate":
            step["parameters"] = {name: value for name, value in step["parameters"].items() if name in fields}
    return json.dumps(template)


class Cost:
    def __init__(self, bin_dir, paced, pace_ms):
        """paced: None = the real inference."""
        self.daemon = Daemon(bin_dir, prefix="heptad-cost-")
        self.heptctl = Path(bin_dir) / "heptctl"
        if paced:
            self.replace_inference(Path(bin_dir), Path(paced).resolve())
        self.daemon.settings.append("sessions.running_max=16")
        self.daemon.start({"HEP_PACED_MS": str(pace_ms)})
        self.daemon.wait_ready()
        self.port = self.daemon.control.call("communication.listen")["port"]

    def replace_inference(self, bin_dir, paced):
        programs, workflows = self.daemon.work / "bin", self.daemon.work / "workflows"
        programs.mkdir()
        workflows.mkdir()
        for program in bin_dir.resolve().glob("heptad-*"):
            (programs / program.name).symlink_to(paced if program.name == "heptad-inference" else program)
        (workflows / "txt2img.json").write_text(paced_workflow(paced), encoding="utf-8")
        self.daemon.settings += [f"domains.bin_dir={programs}", f"workflows.dir={workflows}"]

    def execute(self, steps=1000, count=8):
        return self.daemon.control.call("workflow.execute", {"configuration": {
            "prompt": "apple", "num_inference_steps": steps, "count": count}})["session_id"]

    def step_of(self, session):
        return self.daemon.control.call("session.get", {"session_id": session}).get("denoising_step", 0)

    def measure(self, seconds, sessions, watchers):
        """(share of a core, steps reported in a second, sessions that step: one that comes late to a small machine waits)"""
        asked = [self.execute() for _ in range(sessions)]
        end = time.monotonic() + 20
        while sessions and not any(self.step_of(session) >= 100 for session in asked) and time.monotonic() < end:
            time.sleep(0.02)
        running = [session for session in asked if self.step_of(session) > 0]
        ended = threading.Event()
        threads = [threading.Thread(target=watch, args=(self, running, ended), daemon=True) for watch in watchers]
        for thread in threads:
            thread.start()
        time.sleep(1)
        steps, cpu, began = sum(map(self.step_of, running)), cpu_seconds(self.daemon.process.pid), time.monotonic()
        time.sleep(seconds)
        took, cpu = time.monotonic() - began, cpu_seconds(self.daemon.process.pid) - cpu
        steps = sum(map(self.step_of, running)) - steps
        ended.set()
        for thread in threads:
            thread.join(10)
        for session in asked:
            self.daemon.control.call("session.control", {"session_id": session, "action": "cancel"})
        time.sleep(0.5)
        return 100 * cpu / took, steps / took, len(running)


# ---- who watches -----------------------------------------------------------------------------------------------------
def follow_session(cost, running, ended):
    """As `heptctl generate`: asks when it has changed."""
    control, seq = Control(cost.daemon.state / "run" / "control.sock"), 0
    while not ended.is_set():
        seq = control.call("session.wait", {"session_id": running[0], "after_seq": seq, "timeout_ms": 1000})["seq"]


def follow_events(cost, _, ended):
    """As a web page: server-sent events."""
    with urllib.request.urlopen(f"http://127.0.0.1:{cost.port}/api/events", timeout=20) as stream:
        while not ended.is_set():
            stream.readline()


def scrape(cost, _, ended):
    while not ended.wait(5):
        with urllib.request.urlopen(f"http://127.0.0.1:{cost.port}/metrics", timeout=20) as answer:
            exposition.parse(answer.read().decode())


def top(cost, _, ended):
    with subprocess.Popen([cost.heptctl, "--state", cost.daemon.state, "top"], stdout=subprocess.DEVNULL) as process:
        ended.wait()
        process.kill()


# case → pace in ms, sessions, watchers
CASES = {
    "idle": (20, 0, []),
    "one_session": (20, 1, []),
    "one_session_followed": (20, 1, [follow_session]),
    "one_session_event_stream": (20, 1, [follow_events]),
    "one_session_scraped": (20, 1, [scrape]),
    "one_session_top": (20, 1, [top]),
    "sessions_together": (20, 4, []),
}
SESSIONS = 10000
MOST = {"one_session": ("percent_of_a_core", 2), "ten_thousand_sessions": ("list_50_cpu_ms", 20)}


def cost_of_steps(arguments, name):
    pace, sessions, watchers = CASES[name]
    cost = Cost(arguments.bin, arguments.paced, pace)
    try:
        share, rate, running = cost.measure(arguments.seconds, sessions, watchers)
    finally:
        left = cost.daemon.end()
    return left, {"sessions": running, "percent_of_a_core": round(share, 3), "steps_a_second": round(rate, 1),
                  "us_a_step": round(share / 100 * 1e6 / rate, 1) if rate else None}


# ---- a full store ----------------------------------------------------------------------------------------------------
def multiply(path, session, count):
    """Makes count copies of a session's rows, with names and ages of their own, in a store that nobody has open."""
    store = sqlite3.connect(path)
    for table, id_column in (("sessions", "id"), ("steps", "session")):
        columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})") if row[1] not in ("seq", id_column)]
        rows = store.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {id_column} = ?", (session,)).fetchall()
        marks = ", ".join("?" * (len(columns) + 1))
        store.executemany(f"INSERT INTO {table}({id_column}, {', '.join(columns)}) VALUES({marks})",
                          [(f"{session[:12]}{number:06d}", *row) for number in range(count) for row in rows])
    store.commit()
    store.close()


def milliseconds(daemon, operation, data):
    """Of fifty: the median from the request to its answer's arrival, and the supervisor's CPU time for one, which a busy machine
    does not change."""
    control = daemon.control
    control.call(operation, data)  # connects, and says what is wrong
    request, times, cpu = pack({"type": operation, "request_id": "m", "data": data}), [], cpu_seconds(daemon.process.pid)
    for _ in range(50):
        began = time.monotonic()
        control.socket.send(request)
        control.socket.recv(4 << 20)
        times.append((time.monotonic() - began) * 1000)
    return round(statistics.median(times), 2), round((cpu_seconds(daemon.process.pid) - cpu) / 50 * 1000, 2)


def answers_with_a_full_store(arguments, _):
    cost = Cost(arguments.bin, None, 0)
    daemon, result = cost.daemon, {}
    try:
        session = cost.execute(20, 1)
        while daemon.control.call("session.get", {"session_id": session})["status"] != "completed":
            time.sleep(0.1)
        daemon.stop()
        multiply(daemon.state / "heptad.db", session, SESSIONS)
        daemon.start()
        daemon.wait_ready()
        stored = daemon.control.call("status.get")["sessions"]["completed"]
        if stored < SESSIONS:
            sys.exit(f"{stored} sessions are in the store")
        for what, operation, data in (("list_50", "session.list", {"limit": 50}),
                                      ("list_50_completed", "session.list", {"limit": 50, "status": "completed"}),
                                      ("list_500", "session.list", {"limit": 500}), ("status", "status.get", {}),
                                      ("metrics", "metrics.get", {})):
            result[f"{what}_ms"], result[f"{what}_cpu_ms"] = milliseconds(daemon, operation, data)
    finally:
        left = daemon.end()
    return left, result


def main():
    kinds = {**{name: cost_of_steps for name in CASES}, "ten_thousand_sessions": answers_with_a_full_store}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--paced", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--check", action="store_true", help="fail beyond the limits")
    parser.add_argument("--only", action="append", choices=kinds)
    arguments = parser.parse_args()
    too_much = []
    for name in arguments.only or kinds:
        left, result = kinds[name](arguments, name)
        say(case=name, **result, load=round(os.getloadavg()[0], 2))
        if left:
            sys.exit(f"left: {left}")
        what, most = MOST.get(name, (None, 0))
        if arguments.check and what and result[what] > most:
            too_much.append(f"{name}: {what} is {result[what]}, {most} at most")
    sys.exit("\n".join(too_much) or 0)


if __name__ == "__main__":
    main()
