#!/usr/bin/env python3
"""Images that clients give, against a running daemon: kept whole through kills, and brought into other images by img2img, inpaint
and txt2img-hires; each domain killed in the middle, the same bytes; what is no image, or is not there, is refused with its reason.

    tests/e2e/inputs.py [--bin build/bin]

The last line is JSON; exit status 0 only if nothing was wrong."""

import argparse
import base64
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from heptad import ENDED, Daemon, Refused, say  # noqa: E402

SIDE = 64
REQUEST = {"prompt": "a green apple", "seed": 7, "num_inference_steps": 12, "strength": 0.8}
DOMAINS = ("postprocessing", "conditioning", "scheduler", "inference", "model")


class Wrong(Exception):
    pass


def expect(true, *words):
    if not true:
        raise Wrong(" ".join(map(str, words)))


# ---- images ----------------------------------------------------------------------------------------------------------
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(width, height, pixel, bits=8):
    value = ">3B" if bits == 8 else ">3H"
    rows = b"".join(b"\0" + b"".join(struct.pack(value, *pixel(x, y)) for x in range(width)) for y in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)) + \
        chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def unfilter(kind, left, up, corner):
    if kind == 4:
        estimate = left + up - corner
        return min((left, up, corner), key=lambda value: abs(estimate - value))
    return (0, left, up, (left + up) // 2)[kind]


def read_png(data):
    """(width, height, rows of bytes) of an RGB image of 8 or 16 bits, the high byte first"""
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, bits = struct.unpack_from(">IIB", body)
        if kind == b"IDAT":
            packed += body
        at += 12 + length
    pixel = 3 * bits // 8
    size = pixel * width
    raw, rows, before = zlib.decompress(packed), [], bytes(size)
    for y in range(height):
        kind, row = raw[y * (size + 1)], bytearray(raw[y * (size + 1) + 1:(y + 1) * (size + 1)])
        for x in range(size):
            left, corner = (row[x - pixel], before[x - pixel]) if x >= pixel else (0, 0)
            row[x] = (row[x] + unfilter(kind, left, before[x], corner)) & 255
        rows.append(bytes(row))
        before = rows[-1]
    return width, height, rows


PICTURE = write_png(SIDE, SIDE, lambda x, y: (40 + 3 * x, 200 - 2 * y, (x * y) % 251))
MASK = write_png(SIDE, SIDE, lambda x, y: (255, 255, 255) if x >= SIDE // 2 else (0, 0, 0))


# ---- asking ----------------------------------------------------------------------------------------------------------
def put(daemon, data, name="u", part=20000):
    """Gives the parts one after another; from the beginning again if the daemon was started anew."""
    offset, end = 0, time.monotonic() + 30
    while True:
        piece = data[offset:offset + part]
        try:
            said = daemon.control.call("input.put", {"upload": name, "offset": offset, "data": base64.b64encode(piece).decode(),
                                                     "end": offset + part >= len(data)})
        except (OSError, Refused) as error:
            expect(time.monotonic() < end, "the file is not taken:", error)
            daemon.wait_control()
            offset = 0
            continue
        offset = said["received"]
        if "input" in said:
            expect(said["input"] == hashlib.sha256(data).hexdigest() and said["bytes"] == len(data), said)
            return said["input"]


def begin(daemon, workflow, **more):
    configuration = {key: value for key, value in {**REQUEST, **more}.items() if value is not None}
    return daemon.control.call("workflow.execute", {"workflow_id": workflow, "configuration": configuration})["session_id"]


def finish(daemon, session, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            view = daemon.control.call("session.get", {"session_id": session})
            if view["status"] in ENDED:
                return view
        except OSError:
            daemon.wait_control()
        expect(time.monotonic() < end, "session", session, "does not end")
        time.sleep(0.01)


def run(daemon, workflow, **configuration):
    view = finish(daemon, begin(daemon, workflow, **configuration))
    expect(view["status"] == "completed", workflow, view["status"], view.get("error"))
    return view


def hashes(view):
    return [file["sha256"] for file in view["results"]["files"]]


def refused(daemon, code, field, workflow, **configuration):
    try:
        begin(daemon, workflow, **configuration)
    except Refused as error:
        expect(error.code == code and error.error.get("field") == field, workflow, configuration, "is refused with", error)
        expect(error.error.get("hint"), "no hint:", error)
    else:
        raise Wrong(f"{workflow} {configuration} is not refused")


# ---- what must hold --------------------------------------------------------------------------------------------------
def check_uploads(daemon):
    """The supervisor dies between two parts, and between the last one and the request."""
    half = {"upload": "half", "offset": 0, "data": base64.b64encode(PICTURE[:100]).decode(), "end": False}
    daemon.control.call("input.put", half)
    expect(any(p.name.startswith(".") for p in (daemon.state / "inputs").iterdir()), "no part is there")
    daemon.kill()
    daemon.wait_ready()
    expect(not list((daemon.state / "inputs").iterdir()), "a part of an upload is left")
    try:
        daemon.control.call("input.put", {**half, "offset": 100})
        raise Wrong("a part of a forgotten upload is taken")
    except Refused as error:
        expect(error.code == "NOT_FOUND", "a forgotten upload is", error)
    image, mask = put(daemon, PICTURE), put(daemon, MASK, "m", 50)
    daemon.kill()
    daemon.wait_ready()
    expect(daemon.control.call("input.get", {"input": image})["bytes"] == len(PICTURE), "the image is gone")
    return image, mask


def check_images(daemon, image, mask):
    """The bytes of each workflow undisturbed; they are made of the image, keep what the mask says, and carry their recipe."""
    expected = {"img2img": {"image": image}, "inpaint": {"image": image, "mask": mask, "mask_blur": 0},
                "inpaint-region": {"image": image, "mask": mask, "mask_blur": 0, "padding": 4},
                "txt2img-hires": {"strength": None, "hires_strength": 0.6, "num_inference_steps": 6},
                "txt2img-hires of the image": {"strength": None, "hires_strength": 0.6, "num_inference_steps": 6, "hires_of": "image"}}
    for case, configuration in expected.items():
        workflow = case.split()[0]
        views = [run(daemon, workflow, **configuration) for _ in range(2)]
        expect(hashes(views[0]) == hashes(views[1]), workflow, "gives other bytes")
        pair = run(daemon, workflow, **configuration, count=2)
        expect(hashes(pair)[0] == hashes(views[0])[0], workflow, "gives other bytes in company")
        data = Path(views[0]["results"]["files"][0]["path"]).read_bytes()
        width, height, rows = read_png(data)
        side = 2 * SIDE if workflow == "txt2img-hires" else SIDE
        expect((width, height) == (side, side), workflow, "is", width, height)
        expect(f'"workflow_id":"{workflow}"'.encode() in data, workflow, "has no recipe")
        if "image" in configuration:
            expect(image.encode() in data and b"Denoising strength: 0.8" in data, workflow, "does not say what it was made of")
        if "mask" in configuration:
            _, _, before = read_png(PICTURE)
            kept = [row[:3 * SIDE // 2] for row in rows] == [row[:3 * SIDE // 2] for row in before]
            expect(kept and rows != before, "inpaint does not keep what it should")
            expect(b"Masked content: original, " in data, workflow, "does not say what the masked part began from")
        expected[case] = (configuration, hashes(views[0]))
    for workflow in "img2img", "inpaint", "inpaint-region", "txt2img-hires":  # they end as txt2img does, with all bits
        configuration, plain = expected[workflow]
        view = run(daemon, workflow, **configuration, upscale=1.5, sharpen=0.5, color_match=0.5, reference=image, format="png16")
        data = Path(view["results"]["files"][0]["path"]).read_bytes()
        side = 3 * SIDE if workflow == "txt2img-hires" else 3 * SIDE // 2
        expect(struct.unpack(">IIB", data[16:25]) == (side, side, 16), workflow, "enlarged is", struct.unpack(">IIB", data[16:25]))
        expect(hashes(view) != plain, workflow, "enlarged is as it was")
    other = put(daemon, write_png(SIDE, SIDE, lambda x, y: (10, 20, 30)), "o")
    expect(hashes(run(daemon, "img2img", image=other)) != expected["img2img"][1], "img2img does not look at its image")
    return expected


def half_of(data):
    """The left half of a picture, which MASK keeps."""
    return [row[:3 * SIDE // 2] for row in read_png(data)[2]]


def check_fills(daemon, expected):
    """What the masked part begins from: each makes another image; the rest stays; each image has the noise of its own seed."""
    for workflow, fills in ("inpaint", ("fill", "latent_noise", "latent_nothing")), ("inpaint-region", ("latent_noise",)):
        configuration = {**expected[workflow][0], "num_inference_steps": 4}
        made = [run(daemon, workflow, **configuration)]
        for fill in fills:
            view = run(daemon, workflow, **configuration, fill=fill, count=2)
            data = Path(view["results"]["files"][1]["path"]).read_bytes()
            region = b"Inpaint area: Only masked, Masked area padding: 4, " if workflow == "inpaint-region" else b""
            said = region + f"Masked content: {fill.replace('_', ' ')}, ".encode()
            expect(said in data and (b"Inpaint area" in data) == bool(region), workflow, fill, "is not in A1111's text")
            expect(f'"fill":"{fill}"'.encode() in data and half_of(data) == half_of(PICTURE), workflow, fill, "is not told, or does not keep")
            made.append(view)
        expect(len({hashes(view)[0] for view in made}) == len(made), workflow, "fills", [hashes(view) for view in made])
        alone = run(daemon, workflow, **{**configuration, "seed": REQUEST["seed"] + 1}, fill=fills[-1])
        expect(hashes(alone)[0] == hashes(made[-1])[1], workflow, "gives other bytes in company")


def check_outpainting(daemon, image, mask):
    """A larger canvas, whose new part is made and whose old part is the image; the same bytes after a death in the middle."""
    given = {"image": image, "outpaint_right": SIDE // 2, "outpaint_top": 16, "mask_blur": 0, "num_inference_steps": 4}
    views = [run(daemon, "outpaint", **given, **more) for more in ({}, {"mask": mask}, {"fill": "original"})]
    before = read_png(PICTURE)[2]
    for view, kept in zip(views, (SIDE - 8, SIDE // 2, SIDE - 8)):  # columns; 8 rows of the top are made anew, too
        width, height, rows = read_png(Path(view["results"]["files"][0]["path"]).read_bytes())
        expect((width, height) == (3 * SIDE // 2, SIDE + 16), "the canvas is", width, height)
        expect([row[:3 * kept] for row in rows[24:]] == [row[:3 * kept] for row in before[8:]], "outpainting does not keep the image")
        expect([row[-3:] for row in rows[16:]] != [row[-3:] for row in before] and [row[:3 * kept] for row in rows[16:24]] !=
               [row[:3 * kept] for row in before[:8]], "nothing is made in what is new")
    expect(len({hashes(view)[0] for view in views}) == 3, "mask and fill change nothing")
    session = begin(daemon, "outpaint", **given)
    kill_domain(daemon, "postprocessing")
    expect(hashes(finish(daemon, session)) == hashes(views[0]), "outpainting gives other bytes after a death")
    daemon.wait_ready()
    view = finish(daemon, begin(daemon, "outpaint", image=image))
    expect(view["status"] == "failed" and view["error"]["code"] == "MISSING_FIELD" and view["error"]["hint"], "no side:", view.get("error"))


def check_inpainting_model(daemon, image, mask):
    """A UNet of 9 channels, as the model and as its refiner: the same bytes twice; what stays is the image to the last bit."""
    given = {"model": "tiny-sd15-inpaint", "width": SIDE, "height": SIDE, "image": image, "mask_blur": 0, "num_inference_steps": 4}
    cases = [("inpaint", {"mask": mask, "fill": fill}) for fill in ("original", "fill", "latent_noise", "latent_nothing")] + \
            [("inpaint-region", {"mask": mask, "padding": 4, "seed": 8}), ("outpaint", {"outpaint_right": SIDE // 2}),
             ("inpaint", {"mask": mask, "model": "tiny-sd15", "refiner": given["model"], "refiner_switch": 0.5})]
    before, made = read_png(PICTURE)[2], set()
    for workflow, more in cases:
        views = [run(daemon, workflow, **{**given, **more}) for _ in range(2)]
        _, _, rows = read_png(Path(views[0]["results"]["files"][0]["path"]).read_bytes())
        kept = 3 * (SIDE // 2 if "mask" in more else SIDE - 8)
        expect(hashes(views[0]) == hashes(views[1]), workflow, more, "gives other bytes")
        expect([row[:kept] for row in rows] == [row[:kept] for row in before] and rows != before, workflow, more, "does not keep the image")
        made.add(b"".join(rows))
    expect(len(made) == len(cases), "two of", cases, "are the same image")


def is_deep(data):
    """Whether a PNG has 16 bits, and values that 8 do not hold: 257 times each of those would be its two bytes alike."""
    values = b"".join(read_png(data)[2])
    return data[24] == 16 and values[::2] != values[1::2]


def check_sixteen_bits(daemon, image):
    """A PNG of 16 bits that is given keeps them, and what is made of 8 bits has 16 where it has values of its own."""
    given = write_png(12, 10, lambda x, y: (x * 5003, 65535 - y * 1237, x * y * 37), 16)
    deep = put(daemon, given, "d")

    def made(**more):
        job = {"workflow_id": "upscale", "configuration": {"input": image, "format": "png16", **more}}
        view = finish(daemon, daemon.control.call("workflow.execute", job)["session_id"])
        error = view.get("error", {})
        return error, b"" if error else Path(view["results"]["files"][0]["path"]).read_bytes()

    error, data = made(input=deep)
    expect(not error and read_png(data) == read_png(given), "16 bits that were given are not kept", error)
    for more in {"sharpen": 0.5}, {"upscale": 1.5}:
        error, data = made(**more)
        expect(not error and is_deep(data), more, "is rounded to 8 bits", error)
    for more in {}, {"upscale": 2, "filter": "nearest"}:
        error, _ = made(**more)
        expect(error.get("code") == "UNSUPPORTED" and error["field"] == "format", "8 bits as 16:", more, error)


def check_refiner(daemon, expected):
    """A model that refines itself changes nothing, whatever noise, image and mask its second part is to have."""
    for case, (configuration, _) in expected.items():
        given = {**configuration, "scheduler": "euler_ancestral"}
        views = [run(daemon, case.split()[0], **given, **more) for more in ({}, {"refiner": "emoji", "refiner_switch": 0.5})]
        pixels = [read_png(Path(view["results"]["files"][0]["path"]).read_bytes()) for view in views]
        ran = next(step["status"] for step in views[1]["steps"] if step["id"] == "refine")
        expect(ran == "done" and pixels[0] == pixels[1], case, "with its own model as refiner gives another image", ran)


def kill_domain(daemon, domain):
    pid = next(d["pid"] for d in daemon.control.call("domain.list")["domains"] if d["domain"] == domain)
    if pid:
        os.kill(pid, signal.SIGKILL)


def check_kills(daemon, expected):
    """Each domain dies in the middle, then the supervisor."""
    kills = 0
    for case, (configuration, bytes_of) in expected.items():
        workflow = case.split()[0]
        steps = [s["id"] for s in daemon.control.call("workflow.get", {"workflow_id": workflow})["steps"]]
        for victim in (*DOMAINS, "heptad"):
            session = begin(daemon, workflow, **configuration)
            middle, end = (steps.index("denoise"), 2) if victim in ("inference", "heptad") else (1, 0), time.monotonic() + 20
            while True:
                view = daemon.control.call("session.get", {"session_id": session})
                if view["status"] in ENDED or (view["current_step"] >= middle[0] and view.get("denoising_step", 99) >= middle[1]):
                    break
                expect(time.monotonic() < end, "it does not get on")
                time.sleep(0.002)
            daemon.kill() if victim == "heptad" else kill_domain(daemon, victim)
            kills += 1
            view = finish(daemon, session)
            expect(view["status"] == "completed", workflow, "after the death of", victim, view["status"], view.get("error"))
            expect(hashes(view) == bytes_of, workflow, "after the death of", victim, "gives other bytes")
            daemon.wait_ready()
    return kills


def check_refusals(daemon, image, mask):
    refused(daemon, "OUT_OF_RANGE", "image", "img2img", image="0" * 64)
    refused(daemon, "OUT_OF_RANGE", "mask", "inpaint", image=image, mask="mask.png")
    refused(daemon, "MISSING_FIELD", "image", "img2img")
    refused(daemon, "OUT_OF_RANGE", "strength", "img2img", image=image, strength=1.5)
    text = put(daemon, b"I am no image, whoever says so.", "t")
    cut = put(daemon, PICTURE[:len(PICTURE) // 2], "c")
    for bad, word in ((text, "no image"), (cut, "PNG")):
        view = finish(daemon, begin(daemon, "img2img", image=bad))
        expect(view["status"] == "failed" and view["error"]["code"] == "BAD_FILE" and word in view["error"]["message"], view.get("error"))
    view = finish(daemon, begin(daemon, "img2img", image=image, num_inference_steps=2, strength=0.1))
    expect(view["status"] == "failed" and view["error"]["code"] == "OUT_OF_RANGE", "strength that leaves no step:", view.get("error"))


def check_http(daemon, image):
    base = f"http://127.0.0.1:{daemon.control.call('communication.listen')['port']}"

    def ask(path, data=None, kind="image/png"):
        try:
            with urllib.request.urlopen(urllib.request.Request(base + path, data=data, headers={"Content-Type": kind})) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    large = b"\x89PNG" + os.urandom(3 << 20)
    for data in (PICTURE, large):
        status, said = ask("/api/inputs", data)
        expect(status == 201 and said == {"input": hashlib.sha256(data).hexdigest(), "bytes": len(data)}, status, said)
    expect(ask(f"/api/inputs/{image}")[0] == 200 and ask(f"/api/inputs/{'0' * 64}")[0] == 404, "an input is not found by its name")
    job = {"workflow_id": "img2img", "configuration": {**REQUEST, "image": "0" * 64}}
    status, said = ask("/api/processing/workflows/execute", json.dumps(job).encode(), "application/json")
    expect(status == 422 and said["error"]["field"] == "image", status, said)
    job["configuration"]["image"] = image
    status, said = ask("/api/processing/workflows/execute?wait=60", json.dumps(job).encode(), "application/json")
    expect(status == 200 and said["status"] == "completed", status, said)
    return said["results"]["files"][0]["sha256"]


def check_heptctl(daemon, options, expected):
    (daemon.work / "in.png").write_bytes(PICTURE)
    (daemon.work / "mask.png").write_bytes(MASK)
    common = [options.bin / "heptctl", "--state", daemon.state, "--json", "generate", REQUEST["prompt"], "--seed", "7", "--steps", "12",
              "--strength", "0.8", "--image", daemon.work / "in.png"]
    for more, workflow in ([], "img2img"), (["--mask", daemon.work / "mask.png", "--set", "mask_blur=0"], "inpaint"):
        made = subprocess.run(list(map(str, common + more)), stdout=subprocess.PIPE, check=True, timeout=60)
        expect(hashes(json.loads(made.stdout)) == expected[workflow][1], "heptctl", workflow, "gives other bytes")
    given = {**expected["inpaint-region"][0], "fill": "latent_noise", "mask_invert": True, "mask_blur": 1.5, "num_inference_steps": 4}
    view = run(daemon, "inpaint-region", **given)
    ctl, file = [str(options.bin / "heptctl"), "--state", str(daemon.state), "--json"], view["results"]["files"][0]["path"]
    request = json.loads(subprocess.run([*ctl, "recipe", file], stdout=subprocess.PIPE, check=True, timeout=60).stdout)
    expect(b"Mask mode: Inpaint not masked, Mask blur: 1.5, Inpaint area" in Path(file).read_bytes(), "A1111's text does not have the mask")
    expect(given.items() <= request["configuration"].items() and request["workflow_id"] == "inpaint-region", "the recipe is", request)
    again = subprocess.run([*ctl, "generate", "--from", file], stdout=subprocess.PIPE, check=True, timeout=60)
    expect(hashes(json.loads(again.stdout)) == hashes(view), "from its recipe the image has other bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, default=ROOT / "build/bin")
    options = parser.parse_args()
    options.bin = options.bin.resolve()
    daemon = Daemon(options.bin, prefix="hep-inputs-")
    (daemon.state / "models").mkdir()
    for model in "tiny-sd15", "tiny-sd15-inpaint":
        (daemon.state / "models" / model).symlink_to(ROOT / "tests/golden/data/models" / model)
    wrong, kills, left = None, 0, []
    try:
        daemon.start()
        daemon.wait_ready()
        image, mask = check_uploads(daemon)
        expected = check_images(daemon, image, mask)
        check_fills(daemon, expected)
        check_outpainting(daemon, image, mask)
        check_inpainting_model(daemon, image, mask)
        check_sixteen_bits(daemon, image)
        check_refiner(daemon, expected)
        check_refusals(daemon, image, mask)
        expect(check_http(daemon, image) == expected["img2img"][1][0], "by HTTP it has other bytes")
        check_heptctl(daemon, options, expected)
        kills = check_kills(daemon, expected)
    except Exception as error:  # noqa: BLE001 - whatever it was, the daemon is ended and the reason is said
        wrong = f"{type(error).__name__}: {error}"
    finally:
        left = daemon.end()
    say(kills=kills, wrong=wrong, left=left)
    return 1 if wrong or left else 0


if __name__ == "__main__":
    sys.exit(main())
