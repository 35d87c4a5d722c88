#!/usr/bin/env python3
"""Every name that callers know, against a running daemon: it works, it refuses as documented, and it does both again after its
domain was started anew. Then workflows made of these names, which must give the same bytes as txt2img's own; and device.optimize,
which must change what it says.

    tests/e2e/known_names.py [--bin build/bin]

The last line is JSON; exit status 0 only if nothing was wrong."""

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from heptad import Daemon, Refused, say  # noqa: E402

JOB = {"prompt": "a red apple", "seed": 1, "num_inference_steps": 4, "wait": 60}
IMAGE = (ROOT / "tests/fuzz/corpus/image/small.png").read_bytes()
INPUT = hashlib.sha256(IMAGE).hexdigest()


class Wrong(Exception):
    pass


def expect(true, *words):
    if not true:
        raise Wrong(" ".join(map(str, words)))


# ---- the names -------------------------------------------------------------------------------------------------------
class Name:
    """works(reply) must be true of the answer to data; its value is the same after a restart. data None: it works as a step of a
    workflow, or is not built yet. wrong: data that is refused with code."""

    def __init__(self, name, data, works, wrong, code, internal=False):
        self.name, self.data, self.works, self.wrong, self.code = name, data, works, wrong, code
        self.domain, self.internal = name.split(".")[0], internal

    def check(self, daemon):
        """What the answer was, for comparison."""
        said = None
        if self.data is not None:
            said = self.works(daemon.control.call(self.name, self.data, timeout=70))
            expect(said, self.name, "does not work")
        try:
            reply = daemon.control.call(self.name, self.wrong, timeout=70, internal=self.internal)
        except Refused as refusal:
            expect(refusal.code == self.code, self.name, self.wrong, "is refused with", refusal)
            expect(refusal.error.get("hint"), self.name, "gives no hint")
        else:
            raise Wrong(f"{self.name} {self.wrong} is not refused: {reply}")
        return said


def same(reply):
    return reply


def unbuilt(name):
    return Name(name, None, None, {"whatever": [1]}, "UNSUPPORTED")


def components(*names):
    every = ["text_encoder", "tokenizer", "unet", "vae", "scheduler"]
    return lambda reply: [name for name in every if name in reply] == list(names) and reply["fingerprint"]


NO_SUCH = {"device_id": "gpu7"}
ALL = ("text_encoder", "tokenizer", "unet", "vae", "scheduler")
NAMES = [
    Name("device.list_devices", {}, lambda r: [d["id"] for d in r["devices"]], {"x": 1}, "UNKNOWN_FIELD"),
    Name("device.get_device", {"device_id": "cpu0"}, lambda r: r["settings"], NO_SUCH, "NOT_FOUND"),
    Name("device.get_info", {}, lambda r: r["isa_levels"], NO_SUCH, "NOT_FOUND"),
    Name("device.set_device", {"memory_bytes": 1 << 20}, lambda r: r["device_id"] == "cpu0", {"memory_bytes": 1 << 60}, "NO_MEMORY"),
    Name("device.get_memory_info", {}, lambda r: r["total"], {"x": 1}, "UNKNOWN_FIELD"),
    Name("device.optimize_device", {"threads": 0}, lambda r: r["settings"], {"threads": -2}, "OUT_OF_RANGE"),
    Name("device.optimize_settings", {}, lambda r: r["settings"], NO_SUCH, "NOT_FOUND"),
    Name("device.get_capabilities", {}, lambda r: r["isa"], NO_SUCH, "NOT_FOUND"),
    Name("device.get_device_status", {"device_id": "cpu0"}, lambda r: r["status"]["cores"], NO_SUCH, "NOT_FOUND"),
    Name("device.get_status", {}, lambda r: r["status"]["domain"], NO_SUCH, "NOT_FOUND"),
    Name("model.load_model", {"model": "emoji"}, components(*ALL), {"model": "nobody"}, "NOT_FOUND"),
    Name("model.get_model_info", {"model": "emoji"}, lambda r: r["usable"] and r["defaults"], {"model": "nobody"}, "NOT_FOUND"),
    Name("model.unload_model", {"model": "emoji"}, lambda r: r["freed_bytes"] > 0, {"model": "nobody"}, "NOT_FOUND"),
    Name("model.load_unet", {}, components("unet"), {"component": "vae"}, "BAD_FIELD"),
    Name("model.load_vae", {}, components("vae"), {"model": "nobody"}, "NOT_FOUND"),
    Name("model.load_encoder", {}, components("text_encoder", "tokenizer"), {"dtype": "f64"}, "OUT_OF_RANGE"),
    Name("model.optimize_memory", {}, lambda r: [(f["component"], f["bytes"]) for f in r["freed"]], {"bytes": -1}, "OUT_OF_RANGE"),
    Name("model.load_lora", {"loras": [{"name": "ink"}]}, components(*ALL), {"loras": [{"name": "nobody"}]}, "OUT_OF_RANGE"),
    Name("conditioning.process_prompt", None, None, {"prompt": "x"}, "MISSING_FIELD", internal=True),
    Name("conditioning.process_prompt", None, None, {"prompt": "x"}, "NOT_ALLOWED"),
    Name("conditioning.get_conditioning_info", {}, lambda r: r["syntax"], {"x": 1}, "UNKNOWN_FIELD"),
    Name("conditioning.process_controlnet", None, None, {"preprocessor": "canny"}, "MISSING_FIELD", internal=True),
    Name("conditioning.process_controlnet", None, None, {"preprocessor": "canny"}, "NOT_ALLOWED"),
    Name("conditioning.process_img2img", None, None, {"seed": 1}, "MISSING_FIELD", internal=True),
    Name("conditioning.process_img2img", None, None, {"seed": 1}, "NOT_ALLOWED"),
    Name("scheduler.create_scheduler", {"scheduler": "heun"}, same, {}, "MISSING_FIELD"),
    Name("scheduler.configure_scheduler", {"scheduler": "DDIM", "eta": 0.5}, same, {"scheduler": "nobody"}, "NOT_FOUND"),
    Name("scheduler.get_scheduler_info", {"scheduler": "euler"}, same, {"scheduler": "nobody"}, "NOT_FOUND"),
    Name("scheduler.list_schedulers", {}, same, {"x": 1}, "UNKNOWN_FIELD"),
    Name("scheduler.ddim", {"describe": True}, same, {"scheduler": "euler"}, "BAD_FIELD"),
    Name("scheduler.dpm_plus_plus", {}, same, {"num_inference_steps": 0}, "OUT_OF_RANGE"),
    Name("scheduler.euler", {"num_inference_steps": 7}, same, {"plan": {"segment": "/x"}}, "NOT_ALLOWED"),
    Name("inference.text2img", JOB, lambda r: r["results"]["files"][0]["sha256"], {"prompt": "x", "steps": 0}, "OUT_OF_RANGE"),
    Name("inference.img2img", {**JOB, "image": INPUT}, lambda r: r["workflow_id"] == "img2img" and r["results"]["files"][0]["sha256"],
         {"prompt": "x"}, "MISSING_FIELD"),
    Name("inference.inpainting", {**JOB, "image": INPUT, "mask": INPUT}, lambda r: r["workflow_id"] == "inpaint" and r["results"]["files"][0]["sha256"],
         {"prompt": "x", "image": "apple.png", "mask": INPUT}, "OUT_OF_RANGE"),
    Name("inference.controlnet", None, None, {"prompt": "x"}, "MISSING_FIELD"),
    Name("inference.lora", {**JOB, "loras": [{"name": "ink"}]}, lambda r: r["results"]["files"][0]["sha256"],
         {**JOB, "loras": [{"name": "nobody"}]}, "OUT_OF_RANGE"),
    Name("inference.batch_process", {"configuration": {"prompt": "a red apple", "num_inference_steps": 4}, "items": [{"seed": 1}, {"seed": 2}], "wait": 60},
         lambda r: r["results"]["completed_items"] == 2 and [f["sha256"] for f in r["results"]["files"]], {"seed": 1}, "MISSING_FIELD"),
    Name("inference.get_pipeline_info", {}, lambda r: r["pipelines"], {"x": 1}, "UNKNOWN_FIELD"),
    Name("inference.get_status", {}, lambda r: r["status"]["domain"], {"x": 1}, "UNKNOWN_FIELD"),
    Name("postprocessing.upscale", None, None, {"scale": 2}, "MISSING_FIELD", internal=True),
    Name("postprocessing.upscale", None, None, {"scale": 2}, "NOT_ALLOWED"),
    Name("postprocessing.enhance", None, None, {"sharpen": 1}, "MISSING_FIELD", internal=True),
    Name("postprocessing.safety_check", None, None, {"policy": "flag"}, "MISSING_FIELD", internal=True),
    Name("postprocessing.safety_check", None, None, {"policy": "flag"}, "NOT_ALLOWED"),
    Name("postprocessing.pipeline", None, None, {"operations": ["encode", "decode"]}, "BAD_FIELD", internal=True),
    Name("postprocessing.get_processing_info", {}, lambda r: r["formats"], {"x": 1}, "UNKNOWN_FIELD"),
    Name("communication.send_message", {"event": {"hello": 1}, "from": "al"}, lambda r: r["message_id"] > 0, {}, "MISSING_FIELD"),
    Name("communication.receive_message", {"after": 0, "limit": 1}, lambda r: r["events"], {"messages": False}, "BAD_FIELD"),
    Name("communication.send_response", None, None, {"in_reply_to": 1 << 40, "event": 1}, "NOT_FOUND"),
    Name("communication.health_check", {}, lambda r: r["status"]["domain"], {"x": 1}, "UNKNOWN_FIELD"),
]


def generation(daemon, domain):
    """Of its process; None while it has none."""
    return next(d.get("generation") for d in daemon.control.call("domain.list")["domains"] if d["domain"] == domain)


def restart(daemon, domain):
    before = generation(daemon, domain)
    daemon.control.call("domain.restart", {"domain": domain})
    end = time.monotonic() + 30
    while generation(daemon, domain) == before or not daemon.control.call("status.get")["ready"]:
        expect(time.monotonic() < end, domain, "does not come back")
        time.sleep(0.01)


def check_names(daemon):
    for domain in dict.fromkeys(name.domain for name in NAMES):
        mine = [name for name in NAMES if name.domain == domain]
        before = [name.check(daemon) for name in mine]
        restart(daemon, domain)
        after = [name.check(daemon) for name in mine]
        for name, one, other in zip(mine, before, after):
            expect(one == other, name.name, "says", one, "and after a restart", other)
    return len({name.name for name in NAMES})


def check_codes(daemon):
    """The codes that callers know come to those who ask for them."""
    for operation, data, code in [(f"{domain}.cook", {}, "UNKNOWN_ACTION") for domain in {n.domain for n in NAMES}] + [
            ("cook", {}, "INVALID_ACTION"), ("device.get", NO_SUCH, "INVALID_DEVICE_ID"),
            ("session.control", {"session_id": "s", "action": "fry"}, "INVALID_ACTION")]:
        try:
            daemon.control.call(operation, data, error_format="alias")
            raise Wrong(f"{operation} works")
        except Refused as refusal:
            expect(refusal.code == code, operation, "is refused with", refusal.code)


def check_messages(daemon):
    call = daemon.control.call
    question = call("communication.send_message", {"event": "?", "to": "bo", "from": "al"})["message_id"]
    restart(daemon, "communication")
    got = call("communication.receive_message", {"subscriber": "bo", "after": question - 1, "limit": 1})
    expect(got["events"][0]["event"] == "?", "the message is lost", got)
    call("communication.send_response", {"in_reply_to": question, "event": "!", "from": "bo"})
    got = call("communication.receive_message", {"subscriber": "al", "in_reply_to": question, "after": got["cursor"]})
    expect([e["event"] for e in got["events"]] == ["!"], "the answer is lost", got)


def write_lora(bin_dir, path):
    path.parent.mkdir(parents=True)
    subprocess.run([bin_dir / "hep-bench", "--write-lora", ROOT / "share/models/emoji", path], check=True)


# ---- workflows made of these names -----------------------------------------------------------------------------------
def write_workflows(folder):
    """txt2img as it is; the same without a recipe in the file (plain), and that in the words of other callers."""
    templates = {name: json.loads((ROOT / f"etc/workflows/{name}.json").read_text()) for name in ("txt2img", "img2img", "inpaint", "controlnet", "batch")}
    own = templates["txt2img"]

    def derive(name, change):
        made = json.loads(json.dumps(own))
        made["workflow_id"] = name
        steps = {step["id"]: step for step in made["steps"]}
        del steps["file"]["parameters"]["recipe"], steps["file"]["parameters"]["safety"]
        for step in ("enlarger", "larger", "colours", "better", "checker", "judged"):  # none of them is asked for
            made["steps"].remove(steps.pop(step))
        steps["file"]["parameters"]["image"] = "${image.image}"
        change(made, steps)
        templates[name] = made

    def rename(made, steps):
        for step, operation in [("weights", "load_model"), ("text", "process_prompt"), ("schedule", "create_scheduler"),
                                ("denoise", "batch_process")]:
            steps[step]["operation"] = operation
        steps["file"].update(operation="pipeline", parameters={
            **steps["file"]["parameters"], **steps["image"]["parameters"], "operations": ["decode", "encode"]})
        del steps["file"]["parameters"]["image"]
        made["steps"].remove(steps["image"])

    def with_euler(made, steps):
        steps["schedule"]["operation"] = "euler"
        del steps["schedule"]["parameters"]["scheduler"]

    def in_parts(made, steps):
        loads = []
        for part, operation, extra in [("unet", "load_unet", {}), ("vae", "load_vae", {}), ("text_encoder", "load_encoder", {}),
                                       ("scheduler", "load", {"component": "scheduler"})]:
            loads.append({**steps["weights"], "id": f"w_{part}", "operation": operation,
                          "parameters": {**steps["weights"]["parameters"], **extra}})
        made["steps"][0:1] = loads
        text = json.dumps(made)
        for field, part in [("unet", "unet"), ("vae_scale_factor", "unet"), ("vae", "vae"), ("text_encoder", "text_encoder"),
                            ("text_encoder_2", "text_encoder"), ("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder"),
                            ("embeddings", "text_encoder"), ("embeddings_fingerprint", "text_encoder"),
                            ("scheduler", "scheduler"), ("fingerprint", "unet"), ("family", "unet"), ("model", "unet")]:
            text = text.replace("${weights.%s}" % field, "${w_%s.%s}" % (part, field))
        made.clear()
        made.update(json.loads(text))

    derive("plain", lambda made, steps: None)
    derive("renamed", rename)
    derive("euler_only", with_euler)
    derive("parts", in_parts)
    folder.mkdir()
    for name, template in templates.items():
        (folder / f"{name}.json").write_text(json.dumps(template))


def run(daemon, workflow, steps=None, **more):
    configuration = {"prompt": "a red apple", "seed": 5, "num_inference_steps": 4, **more}
    own = {"steps": steps} if steps else {}
    made = daemon.control.call("workflow.execute", {"workflow_id": workflow, "configuration": configuration, **own})
    end = time.monotonic() + 60
    while True:
        session = daemon.control.call("session.wait", {"session_id": made["session_id"], "timeout_ms": 1000})
        if session["status"] in ("completed", "failed", "cancelled"):
            break
        expect(time.monotonic() < end, workflow, "does not end")
    expect(session["status"] == "completed", workflow, session["status"], session.get("error"))
    return session["results"]["files"][0]["sha256"]


def check_workflows(daemon):
    plain = run(daemon, "plain")
    expect(run(daemon, "renamed") == plain, "the same steps by other names give other bytes")
    expect(run(daemon, "parts") == plain, "weights loaded in parts give other bytes")
    expect(run(daemon, "euler_only") == run(daemon, "plain", scheduler="euler"), "euler is not plan with euler")
    own = [{"type": "device", "operation": "get_status"}, {"type": "model", "operation": "load_model"},
           {"type": "scheduler", "operation": "euler"}, {"type": "inference", "operation": "batch_process"}]
    expect(run(daemon, "inference-workflow", own) == run(daemon, "txt2img", scheduler="euler"), "steps of a request give other bytes")


# ---- device.optimize -------------------------------------------------------------------------------------------------
def pages_of(daemon, domain):
    """Of the domain's mappings of weights and activations, which are left out of core files: (advised to be huge, advised not to
    be)."""
    pid = next(d["pid"] for d in daemon.control.call("domain.list")["domains"] if d["domain"] == domain)
    flags = [line.split() for line in Path(f"/proc/{pid}/smaps").read_text().splitlines() if line.startswith("VmFlags:")]
    return sum({"dd", "hg"} <= set(f) for f in flags), sum({"dd", "nh"} <= set(f) for f in flags)


def cores_in_use(daemon):
    """Of the leases while a session denoises; the device's own, to measure, may be of before."""
    seen = set()
    made = daemon.control.call("inference.text2img", {"prompt": "x", "num_inference_steps": 60, "seed": 1})
    while daemon.control.call("session.get", {"session_id": made["session_id"]})["status"] in ("queued", "running"):
        leases = daemon.control.call("status.get")["leases"]
        seen |= {len(lease["cores"]) for lease in leases if lease["domain"] != "device"}
    return seen


def changed(daemon, **wish):
    return {c["setting"]: (c["old"], c["new"]) for c in daemon.control.call("device.optimize", wish, timeout=70)["changes"]}


def check_optimize(daemon):
    call = daemon.control.call
    before = call("device.get")
    cores, level, levels = before["settings"]["threads"], before["settings"]["isa"], before["isa_levels"]
    first = run(daemon, "plain")
    expect(pages_of(daemon, "inference")[0] > 0 and pages_of(daemon, "inference")[1] == 0, "no huge pages at the start")
    expect(changed(daemon, huge_pages="off") == {"huge_pages": ("on", "off")}, "huge pages are not off")
    expect(run(daemon, "plain") == first, "huge pages change the image")
    expect(pages_of(daemon, "inference")[0] == 0 and pages_of(daemon, "inference")[1] > 0, "huge pages are on", pages_of(daemon, "inference"))
    if cores > 1:
        expect(changed(daemon, threads=1) == {"threads": (cores, 1)}, "threads are not 1")
        expect(len(call("device.list")["cores"]) == 1, "the device has more than one core")
        expect(cores_in_use(daemon) <= {1}, "more than one core is leased")
        expect(run(daemon, "plain") == first, "threads change the image")
    restart(daemon, "device")
    settings = call("device.get")["settings"]
    expect(settings["threads"] == 1 and settings["huge_pages"] == "off", "a restart forgets it", settings)
    if len(levels) > 1:
        expect(changed(daemon, isa=levels[0]) == {"isa": (level, levels[0])}, "the level is not", levels[0])
        expect(call("inference.get_pipeline_info")["isa"] == levels[0], "inference has another level")
        run(daemon, "plain")
    expect(set(changed(daemon)) <= {"threads", "huge_pages", "isa"}, "without fields it is not the best")
    expect(call("device.get")["settings"] == before["settings"], "the best is not what it was")
    expect(run(daemon, "plain") == first, "the image is another one afterwards")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, default=ROOT / "build/bin")
    options = parser.parse_args()
    daemon = Daemon(options.bin.resolve(), prefix="hep-names-")
    folder = daemon.work / "workflows"
    write_workflows(folder)
    write_lora(options.bin, daemon.work / "models/loras/ink.safetensors")
    daemon.settings += [f"workflows.dir={folder}", f"models.paths={ROOT}/share/models:{daemon.work}/models", "log.level=info"]
    wrong, names, left = None, 0, []
    try:
        daemon.start()
        daemon.wait_ready()
        daemon.control.call("input.put", {"upload": "small.png", "data": base64.b64encode(IMAGE).decode(), "end": True})
        names = check_names(daemon)
        check_codes(daemon)
        check_messages(daemon)
        check_workflows(daemon)
        check_optimize(daemon)
    except Exception as error:  # noqa: BLE001 - whatever it was, the daemon is ended and the reason is said
        wrong = f"{type(error).__name__}: {error}"
        shutil.copy(daemon.log, "/tmp/hep-known-names.log") if daemon.log.exists() else None
    finally:
        left = daemon.end()
    say(names=names, wrong=wrong, left=left)
    return 1 if wrong or left else 0


if __name__ == "__main__":
    sys.exit(main())
