#!/usr/bin/env python3
"""What watches the daemon, against a real one: metrics through a strict reader (and promtool where it is installed), counts against
what was done, also over the death of a domain; the lines that all processes logged about one session; its trace; heptctl top on a
terminal of its own. Ten to twenty seconds.
    watching.py --bin BUILD/bin"""

import argparse
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
import urllib.request
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
import exposition
from heptad import DOMAINS, ENDED, Daemon, Refused

ROOT = Path(__file__).resolve().parent.parent.parent
checks = 0


def check(what, truth, *about):
    global checks
    if not truth:
        raise AssertionError(f"{what}: {' '.join(map(str, about))}")
    checks += 1


class Watched:
    """A daemon and what was asked of it."""

    def __init__(self, bin_dir):
        self.daemon = Daemon(bin_dir, ["log.level=debug"], prefix="heptad-watching-")
        self.bin = Path(bin_dir)
        self.daemon.start()
        self.daemon.wait_ready()
        self.port = self.call("communication.listen")["port"]

    def call(self, operation, **data):
        return self.daemon.control.call(operation, data)

    def ctl(self, *arguments):
        return subprocess.run([self.bin / "heptctl", "--state", self.daemon.state, *arguments], capture_output=True,
                              text=True, check=True, timeout=60, env={**os.environ, "COLUMNS": "200"}).stdout

    def execute(self, **configuration):
        return self.call("workflow.execute", configuration={"prompt": "apple", **configuration})["session_id"]

    def wait(self, session, until=lambda view: view["status"] in ENDED, seconds=60):
        end, seq = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            view = self.call("session.wait", session_id=session, after_seq=seq, timeout_ms=500)
            if until(view):
                return view
            seq = view["seq"]
        raise TimeoutError(f"{session} is {view['status']}")

    def text(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            check("the type of the text", answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"),
                  answer.headers["Content-Type"])
            return answer.read().decode()

    def metrics(self, until=lambda families: True):
        """Of reports that come each second: until they say it, five seconds at most."""
        end = time.monotonic() + 5
        while True:
            families = exposition.parse(self.text())
            if until(families) or time.monotonic() > end:
                return families
            time.sleep(0.1)


def read_for(fd, seconds, until):
    seen, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and not until(seen):
        if select.select([fd], [], [], 0.1)[0]:
            try:
                seen += os.read(fd, 65536)
            except OSError:
                break
    return seen


# ---- metrics ---------------------------------------------------------------------------------------------------------
def promtool_agrees(text):
    if not shutil.which("promtool"):
        print("promtool is not installed: not asked")
        return
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    check("promtool finds nothing", said.returncode == 0 and not said.stderr.strip(), said.stdout, said.stderr)


def counts_are_what_was_done(watched, sessions):
    views = [watched.call("session.get", session_id=session) for session in sessions]
    steps = sum(view["configuration"]["num_inference_steps"] * view["configuration"]["count"] for view in views)
    files = sum(len(view["results"]["files"]) for view in views)
    for _ in range(2):
        try:
            watched.call("session.get", session_id="nobody")
        except Refused:
            pass
    m = watched.metrics(lambda m: m["heptad_inference_rows_per_step"].value("_sum") >= steps)
    requests = m["heptad_requests_total"]
    count = len(sessions)
    for domain, operation in (("device", "reserve"), ("model", "load"), ("conditioning", "encode_prompt"), ("scheduler", "plan"),
                              ("inference", "generate"), ("postprocessing", "decode"), ("postprocessing", "encode"),
                              ("supervisor", "workflow.execute")):
        check(f"{domain} {operation}", requests.value(domain=domain, operation=operation, result="ok") == count,
              requests.samples)
    check("refused", requests.value(domain="supervisor", operation="session.get", result="NOT_FOUND") == 2)
    check("measured", m["heptad_measures_total"].value(domain="inference", operation="generate", result="ok") == count)
    check("accepted", m["heptad_sessions_accepted_total"].value() == count)
    check("completed", m["heptad_sessions"].value(status="completed") == count)
    check("ended", m["heptad_session_seconds"].value("_count", status="completed") == count)
    check("images", m["heptad_images_total"].value() == files, files)
    check("denoised", m["heptad_inference_rows_per_step"].value("_sum") == steps, steps,
          m["heptad_inference_rows_per_step"].samples)
    for domain in DOMAINS:
        check(f"{domain} is up", m["heptad_domain_up"].value(domain=domain) == 1)
        check(f"{domain} has memory", m["heptad_process_resident_memory_bytes"].value(domain=domain) > 1e6)
        for kind in ("queue", "step"):
            check(f"each request to {domain} has a {kind} time",
                  m[f"heptad_{kind}_seconds"].sum("_count", domain=domain) == requests.sum(domain=domain))
    session_time = sum(view["elapsed_ms"] for view in views) / 1000
    busy = m["heptad_domain_busy_seconds_total"].value(domain="inference")
    check("inference was busy for a part of that", 0 < busy < session_time + 5, busy, session_time)
    cpu = m["heptad_process_cpu_seconds_total"]
    check("CPU time", cpu.value(domain="inference") > 0 and cpu.value(domain="supervisor") > 0)
    memory, shm = m["heptad_memory_bytes"], m["heptad_shm_bytes"]
    check("memory", all(memory.value(kind=kind) > 0 for kind in ("budget", "used", "free")) and memory.value(kind="planned") == 0)
    check("shared memory", 0 < shm.value(kind="instance") < shm.value(kind="total"))
    return m


def labels_are_bounded(families, sessions):
    names = {name for family in families.values() for _, labels in family.samples for name, _ in labels}
    check("labels", names <= {"domain", "operation", "result", "status", "kind", "where", "le", "version", "build"}, names)
    values = {value for family in families.values() for _, labels in family.samples for _, value in labels}
    check("no session is a label", not values & set(sessions), values)


def the_dashboard_asks_for_what_is_there(families):
    dashboard = (ROOT / "etc/grafana/heptad.json").read_text(encoding="utf-8")
    for name in set(re.findall(r"heptad_\w+", dashboard)):
        family, suffix = name, ""
        for ending in ("_bucket", "_sum", "_count"):
            if name.endswith(ending) and name[:-len(ending)] in families:
                family, suffix = name[:-len(ending)], ending
        check(f"the text has {name}", family in families and any(s == suffix for s, _ in families[family].samples))


def nothing_goes_back(before, after):
    for name, family in before.items():
        if family.kind not in ("counter", "histogram"):
            continue
        for key, value in family.samples.items():
            check(f"{name} {key} does not go back", after[name].samples.get(key, -1) >= value - 1e-9, value,
                  after[name].samples.get(key))


def a_session_outlives_its_domain(watched):
    session = watched.execute(num_inference_steps=150, seed=3)
    watched.wait(session, lambda view: view.get("denoising_step", 0) >= 20)
    os.kill(next(d["pid"] for d in watched.call("domain.list")["domains"] if d["domain"] == "inference"), signal.SIGKILL)
    view = watched.wait(session)
    check("it completes", view["status"] == "completed", view.get("error"))
    return session


def deaths_are_counted(watched, before):
    m = watched.metrics(lambda m: m["heptad_domain_up"].sum() == len(DOMAINS))
    nothing_goes_back(before, m)
    check("one restart", m["heptad_domain_restarts_total"].value(domain="inference") == 1)
    check("no other", m["heptad_domain_restarts_total"].sum() == 1)
    check("the request that it died with", m["heptad_requests_total"].value(domain="inference", operation="generate",
                                                                          result="OUTCOME_UNKNOWN") == 1)


# ---- the trace -------------------------------------------------------------------------------------------------------
def spans_nest(events):
    for track in {event["tid"] for event in events}:
        open_spans = []
        spans = [e for e in events if e["ph"] == "X" and e["tid"] == track]
        for span in sorted(spans, key=lambda e: (e["ts"], -e["dur"])):
            while open_spans and open_spans[-1] <= span["ts"]:
                open_spans.pop()
            check(f"{span['name']} ends in the span round it", not open_spans or span["ts"] + span["dur"] <= open_spans[-1])
            if span["dur"]:
                open_spans.append(span["ts"] + span["dur"])


def ms_between(begin, end):
    return round((datetime.fromisoformat(end.replace("Z", "+00:00")) -
                  datetime.fromisoformat(begin.replace("Z", "+00:00"))).total_seconds() * 1000)


def the_trace_is_complete(watched, session):
    path = watched.daemon.work / "trace.json"
    watched.ctl("trace", session, "--out", str(path))
    trace, view = json.loads(path.read_text(encoding="utf-8")), watched.call("session.get", session_id=session)
    events = trace["traceEvents"]
    for event in events:
        check("its form", event["ph"] in "XiM" and isinstance(event["pid"], int) and isinstance(event["tid"], int), event)
        check("its times", event["ph"] == "M" or (event["ts"] >= 0 and event.get("dur", 0) >= 0), event)
    spans_nest(events)
    total = {cat: sum(e["dur"] for e in events if e["ph"] == "X" and e["cat"] == cat) // 1000
             for cat in ("session", "state", "hand")}
    check("the session's span is its life", total["session"] == ms_between(view["created"], view["ended"]), total)
    check("its states fill it", total["state"] == total["session"], total)
    running = sum(e["dur"] for e in events if e["ph"] == "X" and e["name"] == "running") // 1000
    check("it ran as long as it says", running == view["elapsed_ms"], running, view["elapsed_ms"])
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    for step in view["steps"]:
        attempts = [e for e in events if e.get("cat") == "step" and e["name"].split(",")[0] == step["id"]]
        check(f"{step['id']} has {step['attempt']} attempts", len(attempts) == step["attempt"], attempts)
        if step["status"] == "skipped":
            continue
        last = attempts[-1]
        check("on the track of its domain", tracks[last["tid"]] == step["domain"])
        hand = [e for e in events if e.get("cat") == "hand" and e["tid"] == last["tid"] and
                last["ts"] <= e["ts"] and e["ts"] + e["dur"] <= last["ts"] + last["dur"]]
        check(f"{step['id']} was in hand as long as it says, to a millisecond",
              len(hand) == 1 and abs(hand[0]["dur"] // 1000 - step["duration_ms"]) <= 1, hand, step)
    denoise = [e for e in events if e.get("cat") == "step" and e["name"].startswith("denoise")]
    check("both attempts to denoise", [e["args"]["outcome"] for e in denoise] == ["died", "done"], denoise)
    deaths = [e for e in events if e.get("cat") == "death"]
    check("the death between them", len(deaths) == 1 and deaths[0]["args"]["had_it_in_hand"] and
          denoise[0]["ts"] < deaths[0]["ts"] <= denoise[1]["ts"] and deaths[0]["args"]["incident"] > 0, deaths)
    progress = [e["args"]["denoising_step"] for e in events if e.get("cat") == "progress" and e["tid"] == denoise[0]["tid"]]
    check("progress up to the last step", len(progress) >= 5 and progress[-1] == 150, progress)


# ---- the log ---------------------------------------------------------------------------------------------------------
def one_sessions_lines_are_found(watched, session, other):
    lines = watched.ctl("logs", "--session", session, "-n", "1000").splitlines()
    for line in lines:
        check("each line is about it", f" session={session}" in line, line)
        check("it is about no other", other not in line, line)
    processes = {re.search(r" process=(\w+)", line)[1] for line in lines if " process=" in line}
    check("every domain that had a step said something", processes >= set(DOMAINS) - {"communication"} | {"heptad"}, processes)
    inside = [line for line in lines if " operation.done " in line]
    check("with its request", inside and all(re.search(r" request=e\d+ ", line) for line in inside), inside)
    check("also after the death", any("operation=generate attempt=2" in line for line in inside), inside)
    check("all there are", len(lines) == sum(f" session={session} " in line + " " for line in
                                             watched.daemon.log.read_text(errors="replace").splitlines()))


def lines_are_followed(watched):
    session = watched.execute(num_inference_steps=60)
    follower = subprocess.Popen([watched.bin / "heptctl", "--state", watched.daemon.state, "logs", "--session", session,
                                 "--follow"], stdout=subprocess.PIPE)
    try:
        watched.wait(session)
        seen = read_for(follower.stdout.fileno(), 10, lambda s: b"to=completed" in s)
        check("its end comes without asking again", b"to=completed" in seen, seen)
        check("each line once", len(set(seen.splitlines())) == len(seen.splitlines()), seen)
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()
    return session


# ---- top -------------------------------------------------------------------------------------------------------------
def top_says_what_runs(watched):
    session = watched.execute(num_inference_steps=900)
    queued = [watched.execute(num_inference_steps=900) for _ in range(4)]
    watched.wait(session, lambda view: view.get("denoising_step", 0) >= 5)
    view = json.loads(watched.ctl("top", "--once", "--json"))
    check("it runs", session in [row["session_id"] for row in view["running"]], view["running"])
    check("others wait", len(view["queued"]) >= 1 and view["queued"][0]["queue_position"] == 1, view["queued"])
    check("it/s", view["steps_per_second"] > 0, view["steps_per_second"])
    inference = next(row for row in view["domains"] if row["domain"] == "inference")
    check("inference is busy", inference["busy"] > 0.5 and inference["in_hand"]["operation"] == "generate", inference)
    check("ages", all(0 <= row["reported_ms_ago"] < 5000 for row in view["domains"]), view["domains"])
    text = watched.ctl("top", "--once")
    check("a person reads the same", session in text and "IT/S" in text and "HEARD" in text, text)
    on_a_terminal(watched, b"q", session)
    on_a_terminal(watched, b"\x03", session)
    for one in [session, *queued]:
        watched.call("session.control", session_id=one, action="cancel")
    for one in [session, *queued]:
        watched.wait(one)


def on_a_terminal(watched, key, session):
    """Frames, until the key; then the terminal is as it was."""
    keeper, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    before = termios.tcgetattr(terminal)

    def own_it():
        os.setsid()
        os.close(os.open(os.ttyname(terminal), os.O_RDWR))  # the first terminal that is opened is the session's own

    top = subprocess.Popen([watched.bin / "heptctl", "--state", watched.daemon.state, "top"], stdin=terminal, stdout=terminal,
                           stderr=terminal, preexec_fn=own_it, env={**os.environ, "TERM": "xterm", "COLUMNS": ""})
    try:
        seen = read_for(keeper, 10, lambda s: s.count(b"\x1b[H") >= 3)
        check("three frames", seen.count(b"\x1b[H") >= 3, seen[-400:])
        check("on the other screen, without clearing it", seen.startswith(b"\x1b[?1049h\x1b[?25l") and b"\x1b[2J" not in seen,
              seen[:100])
        check("with what runs", b"heptad is ready" in seen and session.encode() in seen, seen[-2000:])
        for line in seen.split(b"\x1b[H")[2].split(b"\r\n"):
            plain = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", line)
            check("no line is wider than the terminal", len(plain.decode(errors="ignore")) <= 100, plain)
        check("keys are not echoed", not termios.tcgetattr(terminal)[3] & termios.ECHO)
        os.write(keeper, key)
        rest = read_for(keeper, 5, lambda s: s.endswith(b"\x1b[?1049l"))
        check(f"{key!r} ends it", top.wait(5) == 0, top.returncode)
        check("the screen and the cursor come back", rest.endswith(b"\x1b[?25h\x1b[?1049l"), rest[-100:])
        check("and the settings", termios.tcgetattr(terminal) == before)
    finally:
        if top.poll() is None:
            top.kill()
            top.wait()
        os.close(keeper)
        os.close(terminal)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="folder of the binaries")
    watched, kept = Watched(parser.parse_args().bin), True
    try:
        sessions = [watched.execute(num_inference_steps=6, seed=1), watched.execute(num_inference_steps=4, seed=2, count=3),
                    watched.execute(num_inference_steps=5, seed=3)]
        for session in sessions:
            check("completed", watched.wait(session)["status"] == "completed")
        families = counts_are_what_was_done(watched, sessions)
        labels_are_bounded(families, sessions)
        the_dashboard_asks_for_what_is_there(families)
        promtool_agrees(watched.text())
        session = a_session_outlives_its_domain(watched)
        deaths_are_counted(watched, families)
        the_trace_is_complete(watched, session)
        one_sessions_lines_are_found(watched, session, sessions[0])
        lines_are_followed(watched)
        top_says_what_runs(watched)
        kept = False
    finally:
        left = watched.daemon.end(keep=kept)
    check("nothing is left", not left, left)
    print(f"{checks} checks passed")


if __name__ == "__main__":
    main()
