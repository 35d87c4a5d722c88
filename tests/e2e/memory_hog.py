#!/usr/bin/env python3
"""A batch, and in its middle a process that takes most of the memory of the control group which they share: the groups of rows
shrink with what is free and grow back, nothing fails, and no step plans more than it may take.

    tests/e2e/memory_hog.py [--bin build/bin]

The last line is JSON; exit status 77 where no memory control group of one's own can be made."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/e2e")]
from fault_bench import Bench, Wrong, expect, until  # noqa: E402
from faults import memory_group  # noqa: E402
from heptad import say  # noqa: E402

SKIP = 77
ROWS, THRESHOLD, STEPS = 8, 0.05, 20
OVERHEAD = 16 << 20  # what a daemon under load takes now and then beside its steps
HOG = "import sys; print(flush=True); taken = bytearray(b'x') * int(sys.stdin.readline()); print(flush=True); sys.stdin.readline()"


def batch(bench, images):
    made = bench.control.call("batch.create", {
        "configuration": {"prompt": "a red apple", "seed": 3, "num_inference_steps": STEPS},
        "batch_config": {"total_images": images, "max_batch_size": ROWS, "memory_threshold": THRESHOLD}})["batch_id"]
    bench.control.call("batch.execute", {"batch_id": made})
    return made


class Samples:
    """What the batch manager says, again and again."""

    def __init__(self, bench, name):
        self.bench, self.name, self.count = bench, name, 0

    def view(self):
        view = self.bench.control.call("batch.get", {"batch_id": self.name, "limit": 0})
        manager = view.get("manager") or {}
        step, allowed = manager.get("step_bytes", 0), manager.get("step_bytes_allowed", 0)
        if step:
            self.count += 1
            rows = self.rows(view)
            expect(allowed >= step or rows == 1, f"a step of {rows} rows plans {step} bytes, {allowed} are allowed")
        return view

    @staticmethod
    def rows(view):
        return (view.get("manager") or {}).get("rows", 0)

    def wait_rows(self, judge, what):
        def seen():
            view = self.view()
            expect(view["status"] == "running", f"the batch is {view['status']} before {what}")
            return judge(self.rows(view))
        until(seen, what, 60)


class Hog:
    def __init__(self, folder):
        self.process = subprocess.Popen([sys.executable, "-c", HOG], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        (folder / "cgroup.procs").write_text(str(self.process.pid))

    def take(self, size):
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def end(self):
        self.process.kill()
        self.process.wait()


def taken(folder):
    return int((folder / "memory.usage_in_bytes").read_text())


def check(bench, folder, limit):
    bench.start()
    bench.wait_ready()
    for pid in bench.processes():
        (folder / "cgroup.procs").write_text(str(pid))
    first = batch(bench, 2 * ROWS)  # all is loaded, and it is known what a step of all rows takes
    step = 0
    while (view := bench.control.call("batch.get", {"batch_id": first, "limit": 0}))["status"] == "running":
        step = max(step, (view.get("manager") or {}).get("step_bytes", 0))
    expect(view["status"] == "completed" and step > 0, f"the first batch: {view}")
    limit.write_text(str(taken(folder) + 2 * int(step / THRESHOLD) + OVERHEAD))
    deaths, samples = bench.deaths(), Samples(bench, batch(bench, 7 * ROWS))
    samples.wait_rows(lambda rows: rows == ROWS, "groups of all rows")
    hog = Hog(folder)
    hog.take(int(limit.read_text()) - taken(folder) - int(step / THRESHOLD / 2))  # what stays free lets half of the rows run
    samples.wait_rows(lambda rows: 0 < rows < ROWS, "smaller groups")
    hog.end()
    samples.wait_rows(lambda rows: rows == ROWS, "groups of all rows again")
    ended = until(lambda: (view := samples.view())["status"] != "running" and view, "it does not end", 240)
    expect(ended["status"] == "completed" and ended["failed_items"] == 0, f"the batch: {ended}")
    expect(bench.deaths() == deaths, f"a domain died: {bench.deaths()}, before {deaths}")
    return {"samples": samples.count, "step_bytes": step, "images": ended["completed_items"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=str(ROOT / "build/bin"))
    options = parser.parse_args()
    group = memory_group()
    if not group:
        print("no memory control group of one's own: skipped")
        sys.exit(SKIP)
    folder, limit = group
    bench = Bench(options.bin)
    try:
        say(ok=True, **check(bench, folder, limit))
    except (Wrong, OSError) as error:
        say(ok=False, wrong=str(error))
        sys.exit(1)
    finally:
        bench.end()
        until(lambda: not (folder / "cgroup.procs").read_text().strip(), "the group is not empty")
        folder.rmdir()


if __name__ == "__main__":
    main()
