#!/usr/bin/env python3
"""Kills at every named crash point, at every hit of it, and looks whether anything is different afterwards: the images'
bytes, the steps that were done, what is left behind, the next request. Needs the binaries of the preset crash.

    tests/e2e/crash_points.py [--bin build-crash/bin] [--budget SECONDS] [--only PROGRAM/NAME] [--list]

Without --budget: every point, every hit, SIGKILL and in turn another way to die. With it: as many as the time allows,
hit 1 of every point in any case. The last line is JSON; exit status 0 only if nothing was wrong."""

import argparse
import base64
import hashlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from heptad import DOMAINS, ENDED, Daemon, Refused, say  # noqa: E402

STEPS, COUNT = 3, 2
REQUEST = {"prompt": "a red apple", "seed": 11, "num_inference_steps": STEPS, "count": COUNT,
           "loras": [{"name": "ink", "weight": 0.8}]}
ONLY_FROM_TEXT = {"upscale": 1.5, "sharpen": 0.5}
OTHERS = ["SEGV", "ABRT", "BUS", "EXIT", "STOP"]
# a stopped process is seen by the deadline of what it has in hand: only where that is short
STOPPABLE = ("start.", "device/", "scheduler/")
NEEDS_PACKING = ("model.segment_", "model.lora_")
NEEDS_IMAGE = ("input.", "postprocessing.input_opened", "conditioning.image_")
HITS_MAX = 400


class Wrong(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Wrong(what)


def committed_before(point, hit):
    """Row-steps that are committed when a hit of an inference point dies; None where that is not known."""
    return {"inference.step.before_network": COUNT * (hit - 1), "inference.step.after_network": COUNT * (hit - 1),
            "inference.step.after_write": hit - 1, "inference.step.after_commit": hit,
            "inference.step.before_report": COUNT * hit, "inference.latents_written": COUNT * STEPS}.get(point)


class Runner:
    def __init__(self, bin_dir):
        self.models = tempfile.TemporaryDirectory(prefix="hep-crash-models-")
        lora = Path(self.models.name, "loras/ink.safetensors")
        lora.parent.mkdir()
        subprocess.run([bin_dir / "hep-bench", "--write-lora", ROOT / "share/models/emoji", lora], check=True)
        self.daemon = Daemon(bin_dir, ["domains.hang_ms=500", "domains.ready_ms=1500",
                                       f"models.paths={ROOT}/share/models:{self.models.name}"], prefix="hep-crash-")
        self.keys = itertools.count()
        self.weights = None
        self.descriptors = None
        self.expected = {}
        self.workflow = "txt2img"
        self.image = None  # bytes of an image that was made here

    # -- requests
    def put(self, data):
        """Gives a file, from its beginning again if the daemon dies meanwhile."""
        end, half, name = time.monotonic() + 20, len(data) // 2, f"u{next(self.keys)}"
        while True:
            try:
                for offset, part in ((0, data[:half]), (half, data[half:])):
                    said = self.daemon.control.call("input.put", {
                        "upload": name, "offset": offset, "data": base64.b64encode(part).decode(), "end": offset > 0})
                return said["input"]
            except (OSError, Refused) as error:
                if time.monotonic() > end:
                    raise Wrong(f"the image is not taken: {error}")
                self.daemon.wait_control()

    def submit(self, key):
        """Sends until there is an answer: the same key is the same session."""
        end, configuration = time.monotonic() + 20, dict(REQUEST)
        if self.workflow == "txt2img":
            configuration.update(ONLY_FROM_TEXT)
        else:
            self.put(self.image + key.encode())  # a file that is new each time: it is written and named
            configuration["image"] = self.put(self.image)
        while True:
            try:
                return self.daemon.control.call("workflow.execute", {
                    "workflow_id": self.workflow, "configuration": configuration, "idempotency_key": key})["session_id"]
            except (OSError, Refused) as error:
                if time.monotonic() > end or (isinstance(error, Refused) and not error.error.get("retryable")):
                    raise Wrong(f"not accepted: {error}")
                self.daemon.wait_control()
                time.sleep(0.01)

    def wait(self, session, seconds=30):
        end = time.monotonic() + seconds
        while True:
            try:
                view = self.daemon.control.call("session.get", {"session_id": session})
                if view["status"] in ENDED:
                    return view
            except OSError:
                self.daemon.wait_control()
            except Refused as error:
                raise Wrong(f"the session is lost: {error}")
            if time.monotonic() > end:
                raise Wrong(f"the session is {view['status']}: {view.get('note')}")
            time.sleep(0.004)

    def generate(self):
        view = self.wait(self.submit(f"k{next(self.keys)}"))
        expect(view["status"] == "completed", f"the session {view['status']}: {view.get('error')}")
        return view

    def hashes(self, view):
        return [hashlib.sha256(Path(f["path"]).read_bytes()).hexdigest() for f in view["results"]["files"]]

    # -- the oracle
    def check_session(self, view):
        expect(view["status"] == "completed", f"the session {view['status']}: {view.get('error')}")
        expect(self.hashes(view) == self.expected[view["workflow_id"]], "the images differ")
        done = dict(self.daemon.rows(
            "select json_extract(data, '$.step'), count(*) from events where name = 'session.step' and "
            "json_extract(data, '$.session') = ? and json_extract(data, '$.status') = 'done' group by 1",
            view["session_id"]))
        for step in ("text", "schedule", "denoise", "image", "file"):
            expect(done.get(step) == 1, f"step {step} was committed {done.get(step, 0)} times")

    def check_denoising(self, view, point, hit):
        committed = committed_before(point, hit)
        if committed is None:
            return
        (text,), = self.daemon.rows("select result from steps where session = ? and id = 'denoise'", view["session_id"])
        result = json.loads(text)
        expect(result["evaluations"] == COUNT * STEPS - committed,
               f"{committed} row-steps were committed, {result['evaluations']} of {COUNT * STEPS} were done again")
        expect(result["resumed_from"] == -(-committed // COUNT), f"it went on from {result['resumed_from']}")

    def check_leaks(self):
        self.daemon.wait_ready()
        end = time.monotonic() + 5
        while True:  # the last requests of a session and the burial of a process are quick, but not at once
            left = [f"segment {name}" for name in self.daemon.segments("arena")] + self.daemon.parts()
            if len(self.daemon.segments("weights")) != self.weights:
                left.append(f"{len(self.daemon.segments('weights'))} weights segments instead of {self.weights}")
            if len(self.daemon.sockets()) != len(DOMAINS) + 2:
                left.append(f"sockets {self.daemon.sockets()}")
            if len(self.daemon.processes()) != len(DOMAINS) + 1:
                left.append(f"{len(self.daemon.processes())} processes")
            if self.daemon.descriptors() > self.descriptors:
                left.append(f"{self.daemon.descriptors()} descriptors instead of {self.descriptors}")
            if not left:
                return
            expect(time.monotonic() < end, f"left behind: {left}")
            time.sleep(0.02)

    # -- one case
    def deaths(self, program, after):
        """How often it died by itself since event number after."""
        events = self.daemon.control.call("events.poll", {"after_seq": after, "limit": 500})["events"]
        return sum(e["name"] == "domain.died" and e["domain"] == program and
                   e["obituary"].get("cause") != "restarted by the operator" for e in events)

    def run_domain(self, program, point, hit, way):
        control = self.daemon.control
        if point.startswith(NEEDS_PACKING):
            self.retry(lambda: control.call("model.unload", {}))
        after = control.call("status.get")["last_event"]
        others = self.others(program)
        control.call("daemon.crash_at", {"at": f"{program}/{point}:{hit}:{way}"})
        if program == "communication":
            self.knock(after)
        view = self.wait(self.submit(f"k{next(self.keys)}"))
        self.check_session(view)
        fired = self.deaths(program, after) > 0
        if not fired:  # a start or the last requests of a session, which come after its end
            time.sleep(0.1)
            self.daemon.wait_ready()
            fired = self.deaths(program, after) > 0
        expect(self.others(program) == others, "another domain has a new process")
        if not fired:
            self.disarm(program)
        if fired and way != "STOP":
            self.check_denoising(view, point, hit)
        return fired

    def disarm(self, program):
        """The process that has not reached its end yet gives way to one that looks for none."""
        control = self.daemon.control
        after = control.call("status.get")["last_event"]
        control.call("daemon.crash_at", {"at": ""})
        control.call("domain.restart", {"domain": program})
        end = time.monotonic() + 20
        while not any(e["name"] == "domain.ready" and e["domain"] == program for e in
                      control.call("events.poll", {"after_seq": after, "limit": 500, "wait_ms": 100})["events"]):
            expect(time.monotonic() < end, f"{program} is not ready after a restart")

    def others(self, program):
        domains = self.daemon.control.call("domain.list")["domains"]
        return {d["domain"]: d["generation"] for d in domains if d["domain"] != program}

    def knock(self, after):
        """The door has points that only an HTTP request passes: one is sent once it listens."""
        import http.client
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                port = self.daemon.control.call("communication.listen", {})["port"]
                door = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                door.request("GET", "/readyz")
                door.getresponse().read()
                door.close()
                return
            except (OSError, Refused, http.client.HTTPException):
                if self.deaths("communication", after):
                    return
                time.sleep(0.01)

    def retry(self, ask):
        for _ in range(200):
            try:
                return ask()
            except (OSError, Refused) as error:
                kept = error
                time.sleep(0.02)
        raise Wrong(f"no answer: {kept}")

    def run_supervisor(self, point, hit, way):
        order = f"heptad/{point}:{hit}:{way}"
        old = self.daemon.process
        if point.startswith("start."):
            session = self.submit(f"k{next(self.keys)}")
            self.daemon.kill()
            self.daemon.start({"HEPTAD_CRASH_AT": order})
            old = self.daemon.process
            for _ in range(400):
                if self.daemon.is_dead():
                    break
                try:
                    if self.daemon.control.call("status.get")["ready"]:
                        break
                except OSError:
                    time.sleep(0.005)
            view = self.wait(session)
        else:
            self.daemon.control.call("daemon.crash_at", {"at": order})
            view = self.wait(self.submit(f"k{next(self.keys)}"))
        fired = old.poll() is not None
        self.daemon.wait_ready()
        if not fired:
            self.daemon.control.call("daemon.crash_at", {"at": ""})
            fired = old.poll() is not None
        self.check_session(self.wait(view["session_id"]))
        return fired

    def run(self, program, point, hit, way):
        self.workflow = "img2img" if point.startswith(NEEDS_IMAGE) else "txt2img"
        if program == "heptad":
            fired = self.run_supervisor(point, hit, way)
        else:
            fired = self.run_domain(program, point, hit, way)
        self.check_leaks()
        return fired

    def prepare(self):
        self.daemon.start()
        self.daemon.wait_ready()
        made = self.generate()
        self.image = Path(made["results"]["files"][0]["path"]).read_bytes()
        for self.workflow in ("img2img", "txt2img"):
            self.expected[self.workflow] = self.hashes(self.generate())
            expect(len(self.expected[self.workflow]) == COUNT, "not all images are there")
        self.generate()
        time.sleep(0.2)
        self.weights = len(self.daemon.segments("weights"))
        self.descriptors = self.daemon.descriptors()

    def run_refusals(self):
        for bad in ("nonsense", "call.received:1:KILL", "inference/call.received:0:KILL", "inference/call.received:1:TERM",
                    "inference/call.received:1:KILL:once", "inference/save.part_written:1:KILL", "call.received/1:KILL"):
            try:
                self.daemon.control.call("daemon.crash_at", {"at": bad})
            except Refused:
                continue
            raise Wrong(f"daemon.crash_at took \"{bad}\"")

    # -- the poison request: three deaths are one request's end, whoever restarts in between
    def run_poison(self):
        order = "inference/inference.step.before_network:1:KILL:every"
        after = self.daemon.control.call("status.get")["last_event"]
        self.daemon.control.call("daemon.crash_at", {"at": order})
        session = self.submit(f"k{next(self.keys)}")
        while self.deaths("inference", after) < 1:
            time.sleep(0.005)
        self.daemon.kill()
        self.daemon.start({"HEPTAD_CRASH_AT": order})
        view = self.wait(session)
        expect(view["status"] == "failed", f"a poison request {view['status']}")
        expect(view["error"]["obituary"]["signal"] == "KILL", "its error has no obituary")
        died = self.deaths("inference", after)
        expect(died == 3, f"it was tried {died} times")
        self.daemon.control.call("daemon.crash_at", {"at": ""})
        self.daemon.control.call("domain.restart", {"domain": "inference"})
        self.check_session(self.generate())
        self.check_leaks()


def points_of(bin_dir):
    found = []
    for program in ["heptad", *DOMAINS]:
        binary = bin_dir / ("heptad" if program == "heptad" else f"heptad-{program}")
        text = subprocess.run([binary, "--crash-points"], capture_output=True, text=True, check=True).stdout
        found += [(program, line.split("\t")[0]) for line in text.splitlines()]
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path, default=ROOT / "build-crash/bin")
    parser.add_argument("--budget", type=float, default=None)
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    points = [(p, n) for p, n in points_of(options.bin) if options.only in f"{p}/{n}"]
    if options.list:
        print("\n".join(f"{p}/{n}" for p, n in points))
        return 0
    began = time.monotonic()
    runner = Runner(options.bin)
    others = itertools.cycle(OTHERS)
    fired, cases, wrong, never = 0, 0, [], []
    alive = list(points)
    try:
        runner.prepare()
        for hit in range(1, HITS_MAX):
            for way in ("KILL", "other"):
                for program, point in list(alive):
                    if options.budget and hit + (way == "other") > 1 and time.monotonic() - began > options.budget:
                        continue
                    kind = way
                    if way == "other":
                        kind = next(others)
                        if kind == "STOP" and (hit > 1 or program == "heptad" or
                                               not f"{program}/{point}".startswith(STOPPABLE) and
                                               not point.startswith(STOPPABLE)):
                            kind = next(others)
                    case, start = f"{program}/{point}:{hit}:{kind}", time.monotonic()
                    try:
                        hit_it = runner.run(program, point, hit, kind)
                    except Wrong as error:
                        wrong.append(f"{case}: {error}")
                        hit_it = True
                        print(f"WRONG {wrong[-1]}", flush=True)
                        runner.daemon.wait_ready()
                    cases += 1
                    fired += hit_it
                    print(f"{case} {'died' if hit_it else 'not reached'} {1000 * (time.monotonic() - start):.0f} ms",
                          flush=True)
                    if not hit_it:
                        alive.remove((program, point))
                        if hit == 1:
                            never.append(f"{program}/{point}")
            if not alive or (options.budget and time.monotonic() - began > options.budget):
                break
        if not options.only:
            runner.run_poison()
            runner.run_refusals()
    except Wrong as error:
        wrong.append(str(error))
    finally:
        left = runner.daemon.end(keep=bool(wrong))
    if wrong:
        print(f"left in {runner.daemon.work}")
    say(points=len(points), cases=cases, died=fired, never_reached=never, wrong=wrong, left=left, complete=not alive,
        seconds=round(time.monotonic() - began, 1))
    return 0 if not wrong and not left and not never else 1


if __name__ == "__main__":
    sys.exit(main())
