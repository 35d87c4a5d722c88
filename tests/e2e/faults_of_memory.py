"""Row 16: the n-th allocation of the supervisor fails, from its start over a request to its end. Run by tests/e2e/faults.py."""

import itertools
import subprocess
import time

from fault_bench import Wrong, expect, until
from heptad import Refused

SECONDS = 25


def counts():
    """Every allocation at first, then ever wider apart: some 20000 belong to a start and a request."""
    n = 0
    while n < 40000:
        yield n
        n += 1 + n // 3


def try_once(bench, library, n, sha):
    """How it went: "refused to start", or "served"."""
    bench.start({"LD_PRELOAD": str(library), "HEP_FAIL_ALLOC": str(n)})
    try:
        end = time.monotonic() + 10
        while True:
            expect(time.monotonic() < end, f"allocation {n}: it does not get ready: {bench.log.read_text()[-500:]}")
            if bench.process.poll() is not None:
                expect(bench.process.returncode in (1, 125), f"allocation {n}: the supervisor ended with {bench.process.returncode}")
                return "refused to start"
            try:
                if bench.status()["ready"]:
                    break
            except (OSError, Refused):
                bench.control.close()
            time.sleep(0.01)
        try:
            expect(bench.generate(num_inference_steps=2) == sha, f"allocation {n}: the image differs")
        except (OSError, Refused):  # that request was hit: the next one is not
            bench.control.close()
            expect(bench.generate(num_inference_steps=2) == sha, f"allocation {n}: the image differs")
        return "served"
    finally:
        if bench.process.poll() is None:
            bench.process.terminate()
            try:
                status = bench.process.wait(20)
                expect(status == 0, f"allocation {n}: the supervisor's end was {status}")
            except subprocess.TimeoutExpired as error:
                raise Wrong(f"allocation {n}: it does not stop") from error
        bench.control.close()


def fault_16_an_allocation_of_the_supervisor_fails(bench, sha):
    library = bench.bin.parent / "tests/libfail_alloc.so"
    expect(library.exists(), f"{library} is not built")
    bench.start()
    bench.wait_ready()
    short = bench.generate(num_inference_steps=2)
    bench.stop()
    went, end = {"refused to start": 0, "served": 0}, time.monotonic() + SECONDS
    for n in itertools.takewhile(lambda _: time.monotonic() < end, counts()):
        went[try_once(bench, library, n, short)] += 1
    until(lambda: not bench.processes(), "children are left")
    bench.start()
    bench.wait_ready()
    expect(bench.generate() == sha, "the image differs")
    return went
