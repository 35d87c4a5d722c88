"""Row 16: the n-th allocation of the supervisor or of a domain fails, from its start over a request to its end. Run by
tests/e2e/faults.py; HEP_FAULT_SECONDS gives each of the two more time, and so more of the allocations."""

import itertools
import os
import subprocess
import time

from fault_bench import Wrong, expect, until
from heptad import DOMAINS, Refused

SECONDS = float(os.environ.get("HEP_FAULT_SECONDS", 12))
# of the message that says so, and of the answers that a domain which is starting again may cause
TOLD = ("NO_MEMORY", "NO_SHM", "DOMAIN_DIED", "DOMAIN_DOWN", "BUSY")


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


def hit_domain(bench, domain, n):
    """The n-th allocation of its next life fails; it is started again for that. Waits until the daemon is ready."""
    order = bench.work / "orders" / f"heptad-{domain}"
    order.write_text(str(n))
    bench.control.call("domain.restart", {"domain": domain})
    until(lambda: not order.exists(), f"{domain} does not start again")
    bench.wait_ready()


def generate_or_refusal(bench):
    """(SHA-256 of the image, code of the error that came instead)"""
    try:
        view = bench.wait_end(bench.submit(num_inference_steps=2))
    except Refused as refusal:
        return None, refusal.code
    if view["status"] == "completed":
        return bench.image(view["session_id"]), None
    return None, view["error"]["code"]


def fault_16_an_allocation_of_a_domain_fails(bench, sha):
    library, orders = bench.bin.parent / "tests/libfail_alloc.so", bench.work / "orders"
    expect(library.exists(), f"{library} is not built")
    orders.mkdir()
    bench.start({"LD_PRELOAD": str(library), "HEP_FAIL_ALLOC_ORDERS": str(orders)})
    bench.wait_ready()
    supervisor, short = bench.process.pid, bench.generate(num_inference_steps=2)
    went, over, end = {"same bytes": 0, "refused": 0, "failures": 0}, set(), time.monotonic() + SECONDS
    for n, domain in itertools.product(counts(), DOMAINS):
        if time.monotonic() > end or len(over) == len(DOMAINS):
            break
        if domain in over:
            continue
        told = bench.log.read_text(errors="replace").count("fail_alloc:")
        hit_domain(bench, domain, n)
        image, code = generate_or_refusal(bench)
        expect(code is None or code in TOLD, f"allocation {n} of {domain}: {code}")
        went["same bytes" if image else "refused"] += 1
        if code:
            image, code = generate_or_refusal(bench)
        expect(image == short, f"allocation {n} of {domain}: the image differs or there is none ({code})")
        expect(bench.process.poll() is None and bench.process.pid == supervisor, f"allocation {n} of {domain}: the supervisor died")
        hits = bench.log.read_text(errors="replace").count("fail_alloc:") - told
        went["failures"] += hits
        if not hits:
            over.add(domain)
    expect(bench.generate() == sha, "the image differs")
    return went
