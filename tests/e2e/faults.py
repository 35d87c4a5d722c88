#!/usr/bin/env python3
"""Faults of the machine round a running daemon: full disks, I/O errors, an out-of-memory kill, stale files, fifty starts; and, in
faults_of_peers.py, of those it talks with. Each check is fault_NN_…, NN the row of the fault matrix in docs/reliability.md.

    tests/e2e/faults.py [--bin build/bin] [--of machine|peers] [--only PART] [--list]

Runs in a mount namespace of its own, so that a small file system can lie over a folder; exit status 77 where that is refused.
Checks end with the session's image being the same bytes as undisturbed, and with nothing left behind."""

import argparse
import contextlib
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/e2e")]
import faults_of_memory  # noqa: E402
import faults_of_peers  # noqa: E402
from fault_bench import Bench, Wrong, expect, fill, until  # noqa: E402
from heptad import DOMAINS, Refused, say  # noqa: E402

SKIP = 77
MOUNTED = "HEP_FAULTS_MOUNTED"


# ---- the checks: each gets a fresh Bench, and the bytes that the undisturbed image has -----------------------------------
def fault_08_a_crash_loop_ends_in_failed_and_costs_nothing(bench, sha):
    programs = bench.work / "bin"
    programs.mkdir()
    for path in bench.bin.iterdir():
        (programs / path.name).symlink_to(path)
    (programs / "heptad-scheduler").unlink()
    (programs / "heptad-scheduler").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (programs / "heptad-scheduler").chmod(0o755)
    bench.settings.append(f"domains.bin_dir={programs}")
    bench.start()
    bench.wait_control()
    until(lambda: bench.domain("scheduler")["state"] == "failed", "a crash loop is not called failed")
    status = bench.status()
    expect("scheduler" in status["line"] and not status["ready"], f"the first line is {status['line']!r}")
    expect(bench.deaths()["scheduler"] == 6, f"{bench.deaths()['scheduler']} deaths")
    expect(status["domains_ready"] == 6, "another domain suffers")
    time.sleep(0.5)
    before = bench.cpu_seconds()
    time.sleep(3)
    spent = bench.cpu_seconds() - before
    expect(spent <= 0.03, f"the supervisor spent {spent} s of 3 s")
    code, headers, _ = bench.http("GET", "/readyz")
    expect(code == 503, f"/readyz says {code}")
    (programs / "heptad-scheduler").unlink()
    (programs / "heptad-scheduler").symlink_to(bench.bin / "heptad-scheduler")
    bench.control.call("domain.restart", {"domain": "scheduler"})
    bench.wait_ready()
    expect(bench.generate() == sha, "the image differs")
    return {"supervisor_cpu_percent": round(100 * spent / 3, 2)}


def fault_12_of_fifty_starts_exactly_one_wins(bench, sha):
    arguments = [str(bench.bin / "heptad"), "--state", str(bench.state)]
    for setting in bench.settings:
        arguments += ["--set", setting]
    starts = [subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
              for _ in range(50)]
    won = sum(start.wait(60) == 0 for start in starts)
    expect(won == 1, f"{won} of 50 starts won")
    status = until(lambda: (s := bench.status())["ready"] and s, "it is not ready")
    bench.instance = status["instance"]
    expect(len(bench.processes()) == 1 + len(DOMAINS), f"{len(bench.processes())} processes")
    expect(bench.generate() == sha, "the image differs")
    bench.control.call("daemon.stop", {})
    bench.control.close()
    until(lambda: not bench.processes(), "it does not stop", 40)


def fault_13_what_is_stale_is_swept_and_what_is_not_ours_stays(bench, sha):
    bench.start()
    bench.wait_ready()
    bench.stop()
    run, shm = bench.state / "run", Path("/dev/shm")
    run.mkdir(mode=0o750, exist_ok=True)
    (run / "heptad.pid").write_text("1\n")  # alive, and not ours
    for name in ("inference.7.s", "front.sock", "control.sock", "a-neighbour.sock"):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(run / name))
    own = [shm / f"hep.{bench.instance}.arena.sdead.1", shm / f"hep.{bench.instance}.of-another-build"]
    foreign = [shm / f"hep.{bench.instance}x.arena.sdead.1", shm / "hep.other-00000000.arena.sdead.1", shm / "sem.heptad"]
    for path in own + foreign:
        path.write_bytes(bytes(4096))
        path.chmod(0o600)
    bench.start()
    bench.wait_ready()
    try:
        expect(not any(path.exists() for path in own), "own stale segments are left")
        expect(all(path.exists() for path in foreign), "a segment of somebody else was removed")
    finally:
        for path in foreign:
            path.unlink(missing_ok=True)
    expect(not (run / "inference.7.s").exists(), "a stale socket is left")
    expect((run / "a-neighbour.sock").exists(), "a socket that is not ours was removed")
    (run / "a-neighbour.sock").unlink()
    expect((run / "heptad.pid").read_text().strip() == str(bench.process.pid), "the pid file is not this daemon's")
    expect(bench.generate() == sha, "the image differs")


def memory_group():
    """A memory control group of one's own, or None: (folder, file of its limit)."""
    for parent, limit in ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max")):
        group = parent / f"heptad-faults-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            return group, group / limit
        group.rmdir()
    return None


def fault_15_a_domain_that_the_kernel_kills_for_memory(bench, sha):
    group = memory_group()
    if not group:
        return {"skipped": "no memory control group of one's own; the signal is row 1's"}
    folder, limit = group
    try:
        bench.start()
        bench.wait_ready()
        before = bench.deaths()
        limit.write_text("262144")
        (folder / "cgroup.procs").write_text(str(bench.domain("inference")["pid"]))
        session = bench.submit()
        expect(bench.image(session) == sha, "the image differs")
        deaths = bench.deaths()
        expect(deaths["inference"] == before["inference"] + 1, f"inference died {deaths['inference']} times")
        expect({**deaths, "inference": 0} == {**before, "inference": 0}, "another domain died")
        obituary = bench.domain("inference")["last_obituary"]
        expect(obituary.get("signal") == "KILL", f"it ended otherwise: {obituary.get('cause')}")
    finally:
        until(lambda: not (folder / "cgroup.procs").read_text().strip(), "the group is not empty")
        folder.rmdir()


def fault_17_shared_memory_is_full(bench, sha):
    bench.mount("/dev/shm", "64m")
    bench.start()
    bench.wait_ready()
    expect(bench.generate() == sha, "the image differs")
    filler = fill("/dev/shm")
    sessions, refused = [], None
    try:
        sessions.append(bench.submit())
    except Refused as error:
        refused = error.code
    time.sleep(1.0)
    expect(all(count == 0 for count in bench.deaths().values()), f"a domain died: {bench.deaths()}")
    expect(refused or bench.view(sessions[0])["status"] in ("queued", "running"), "it failed instead of waiting")
    filler.unlink()
    for session in sessions or [bench.submit()]:
        expect(bench.image(session) == sha, "the image differs")
    expect(all(count == 0 for count in bench.deaths().values()), f"a domain died: {bench.deaths()}")
    return {"refused": refused}


def fault_18_the_disk_of_the_state_is_full(bench, sha):
    bench.mount(bench.state, "6m")
    bench.settings += [f"images.dir={bench.work}/images", f"log.file={bench.work}/log"]
    (bench.work / "images").mkdir(mode=0o700)
    bench.start()
    bench.wait_ready()
    running = bench.submit(num_inference_steps=60)
    bench.wait_step(running, 3)
    filler = fill(bench.state)
    accepted, refusals = [], []
    while len(accepted) < 2000 and (not refusals or bench.status()["ready"]):  # while its log has pages to write over
        try:
            accepted.append(bench.submit(num_inference_steps=2))
        except Refused as error:
            refusals.append(error.code)
    expect(set(refusals) == {"NO_SPACE"}, f"a full disk refuses with {refusals}")
    status = bench.status()
    expect(not status["ready"] and "requests are refused" in status["line"], f"the first line is {status['line']!r}")
    code, headers, _ = bench.execute()
    expect(code == 507, f"HTTP says {code}")
    expect(bench.http("GET", "/readyz")[0] == 503, "/readyz says yes")
    expect(all(count == 0 for count in bench.deaths().values()), f"a domain died: {bench.deaths()}")
    filler.unlink()
    until(lambda: bench.status()["ready"], "it does not recover")
    for session in [running, *accepted]:
        expect(bench.wait_end(session)["status"] == "completed", f"{session}: {bench.view(session)}")
    expect(bench.generate() == sha, "the image differs")
    return {"accepted_meanwhile": len(accepted), "line": status["line"]}


def fault_18_the_disk_of_the_images_is_full(bench, sha):
    images = bench.mount(bench.work / "images", "1m")
    bench.settings.append(f"images.dir={images}")
    bench.start()
    bench.wait_ready()
    filler = fill(images)
    sessions = [bench.submit() for _ in range(3)]
    until(lambda: all("NO_SPACE" in str(v.get("note", "")) or "full" in str(v.get("note", "")) or "space" in str(v.get("note", ""))
                      for v in map(bench.view, sessions)), f"no session says why it waits: {[bench.view(s) for s in sessions]}")
    expect(len(bench.segments("arena")) == 3, f"the images are not kept: {bench.segments()}")
    expect(not list(images.glob("**/*.part")) and not list(images.glob("**/*.png")), "half a file is left")
    expect(bench.http("GET", "/healthz")[0] == 200, "it is not alive")
    filler.unlink()
    for session in sessions:
        expect(bench.image(session) == sha, "the image differs")
    expect(all(count == 0 for count in bench.deaths().values()), f"a domain died: {bench.deaths()}")


def fault_18_the_disk_of_the_log_is_full(bench, sha):
    folder = bench.mount(bench.work / "log", "64k")
    bench.settings += [f"log.file={folder}/heptad.log", "log.level=debug"]
    bench.start()
    bench.wait_ready()
    fill(folder)
    for _ in range(3):
        expect(bench.generate() == sha, "the image differs")
    expect(bench.status()["ready"], "a full log makes it unready")


def fault_19_the_store_cannot_be_written(bench, sha):
    bench.start()
    bench.wait_ready()
    running = bench.submit(num_inference_steps=60)
    bench.wait_step(running, 3)
    everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(bench.process.pid, resource.RLIMIT_FSIZE, (1, everything[1]))  # each write is EFBIG
    until(lambda: not bench.status()["store"]["works"], "nobody notices")
    line = bench.status()["line"]
    expect("requests are refused" in line and "I/O" in line, f"the first line is {line!r}")
    try:
        bench.submit()
        raise Wrong("accepted, and not stored")
    except Refused as error:
        expect(error.code == "IO", f"refused with {error}")
    resource.prlimit(bench.process.pid, resource.RLIMIT_FSIZE, everything)
    until(lambda: bench.status()["store"]["works"], "it does not recover")
    expect(bench.wait_end(running)["status"] == "completed", "the session is lost")
    expect(bench.generate() == sha, "the image differs")
    return {"line": line}


def fault_19_a_store_that_cannot_be_used_is_refused_with_the_reason(bench, sha):
    def start(status, *words):
        run = subprocess.run([str(bench.bin / "heptad"), "--foreground", "--state", str(bench.state), "--set", "http.port=0"],
                             capture_output=True, text=True, timeout=30)
        said = run.stdout + run.stderr
        log = bench.log.read_text() if bench.log.exists() else ""
        expect(run.returncode == status, f"exit status {run.returncode} instead of {status}: {said}")
        expect(all(word in said + log for word in words), f"{words} are not in {said!r}")

    bench.start()
    bench.wait_ready()
    bench.stop()
    store = bench.state / "heptad.db"
    whole = store.read_bytes()
    with contextlib.closing(sqlite3.connect(store)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute("PRAGMA user_version=99")
    start(125, "schema 99", str(version))
    store.write_bytes(whole[:100] + os.urandom(4096) + whole[4196:])
    start(1, "heptad.db")
    store.write_bytes(os.urandom(len(whole)))
    start(1, "heptad.db")
    store.write_bytes(whole)
    bench.start()
    bench.wait_ready()
    expect(bench.generate() == sha, "the image differs")


# ---- all of them -----------------------------------------------------------------------------------------------------
def checks():
    found = {**globals(), **vars(faults_of_memory), **vars(faults_of_peers)}
    return dict(sorted((name, value) for name, value in found.items() if name.startswith("fault_") and callable(value)))


def enter_namespace():
    """Runs this program again where mounts are its own."""
    if os.environ.get(MOUNTED):
        return
    for ways in (["unshare", "--mount"], ["unshare", "--mount", "--user", "--map-root-user"]):
        if subprocess.run([*ways, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            os.environ[MOUNTED] = "1"
            os.execvp(ways[0], [*ways, sys.executable, *sys.argv])
    print("no mount namespace of one's own: skipped")
    sys.exit(SKIP)


def undisturbed(bin_dir):
    bench = Bench(bin_dir)
    try:
        bench.start()
        bench.wait_ready()
        return bench.generate()
    finally:
        bench.end()


def run(name, check, bin_dir, sha):
    bench, began = Bench(bin_dir), time.monotonic()
    wrong, more = "", {}
    try:
        more = check(bench, sha) or {}
    except (Wrong, Refused, OSError, TimeoutError, KeyError) as error:
        wrong = f"{error!r}"
    try:
        left = bench.end(keep=bool(wrong))
    except (OSError, subprocess.SubprocessError) as error:
        left = [f"{error!r}"]
    if left and not wrong:
        wrong = f"left behind: {left}"
    say(check=name, ok=not wrong, seconds=round(time.monotonic() - began, 1), **more,
        **({"wrong": wrong, "folder": str(bench.work)} if wrong else {}))
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=str(ROOT / "build/bin"))
    parser.add_argument("--only", default="", help="checks whose name has this in it")
    parser.add_argument("--of", choices=["machine", "peers"], help="of which file")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    of_peers = {None: (True, False), "peers": (True,), "machine": (False,)}[options.of]
    chosen = {name: check for name, check in checks().items()
              if options.only in name and (check.__module__ == "faults_of_peers") in of_peers}
    if options.list:
        print("\n".join(chosen))
        return
    enter_namespace()
    sha = undisturbed(options.bin)
    failed = [name for name, check in chosen.items() if not run(name, check, options.bin, sha)]
    say(checks=len(chosen), failed=failed)
    sys.exit(bool(failed) or not chosen)


if __name__ == "__main__":
    main()
