#!/usr/bin/env python3
"""Replays what `hep-eval scheduler` prints against goldens/schedulers (torch's f32 runs of diffusers' classes), with
nothing but the printed JSON and Python's own library: what docs/scheduler.md promises to anyone.

  replay_scheduler.py HEP_EVAL GOLDENS_FOLDER

The network of the goldens is a toy, out = 0.7 sin(1.3 in) + 0.0004 t. Limit: 2e-5 of the run's largest value."""
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
STORED, APART, DRAWS = 8, 32, 128  # elements of a latent that the goldens keep, and how far apart; draws of noise
LOOSE = {("deis", "order3"): 1e-3}  # torch's f32 coefficients cancel there: docs/scheduler.md
NOT_OPTIONS = {"order", "s_churn", "s_tmin", "s_tmax", "s_noise"}  # arguments of a step that hep-eval has no option for


def tensors(path):
    """A safetensors file of f32 as {name: list of floats}."""
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + size])
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            found[name] = struct.unpack_from(f"<{(end - begin) // 4}f", data, 8 + size + begin)
    return found


def replay(plan, latent, noise):
    """The sample before each evaluation and after the last one, by the rule of docs/scheduler.md."""
    state = [[0.0] * STORED for _ in plan["rows"]]
    state[0] = [plan["init_noise_sigma"] * x for x in latent]
    trajectory = [state[0]]
    for number, e in enumerate(plan["evaluations"]):
        output = [0.7 * math.sin(1.3 * e["in_scale"] * x) + 0.0004 * e["timestep"] for x in state[0]]
        fresh = noise[number % DRAWS] if e["draws_noise"] else [0.0] * STORED
        columns = state + [output, fresh]
        state = [[sum(k * column[i] for k, column in zip(row, columns)) for i in range(STORED)] for row in e["matrix"]]
        trajectory.append(state[0])
    return trajectory


def check(what, got, expected, limit):
    assert len(got) == len(expected), f"{what}: {len(got)} values, not {len(expected)}"
    for i, (x, y) in enumerate(zip(got, expected)):
        assert math.isfinite(x) and abs(x - y) <= limit, f"{what}[{i}] is {x:.9g}, expected {y:.9g}"


def check_run(what, plan, run, golden, limit, latent, noise):
    check(f"{what}: timesteps", plan["timesteps"], golden["timesteps"], 1e-3)
    check(f"{what}: init_noise_sigma", [plan["init_noise_sigma"]], [run["init_noise_sigma"]], 1e-6 * run["init_noise_sigma"])
    assert len(plan["evaluations"]) == run["calls"], f"{what}: {len(plan['evaluations'])} evaluations"
    for e in plan["evaluations"]:
        assert len(e["matrix"]) == len(plan["rows"]) and all(len(row) == len(plan["columns"]) for row in e["matrix"])
    assert plan["columns"] == plan["rows"] + ["model_output", "noise"], f"{what}: {plan['columns']}"
    flat = [x for sample in replay(plan, latent, noise) for x in sample]
    check(f"{what}: trajectory", flat, golden["trajectory"], limit * run["max_abs"])


def main(hep_eval, folder):
    inputs = tensors(folder / "inputs.safetensors")
    latent = inputs["latent"][::APART]
    noise = [inputs["noise_stored_elements"][i * STORED:(i + 1) * STORED] for i in range(DRAWS)]
    replayed = refused = passed_over = 0
    with tempfile.TemporaryDirectory(prefix="hep-replay-") as work:
        config = pathlib.Path(work) / "scheduler_config.json"
        for index in sorted(folder.glob("*.json")):
            if index.stem == "tolerances":
                continue
            golden = tensors(index.with_suffix(".safetensors"))
            for label, entry in json.loads(index.read_text()).items():
                arguments = entry.get("step_args") or {}
                if NOT_OPTIONS & set(arguments):
                    passed_over += len(entry["runs"])
                    continue
                config.write_text(json.dumps({**BETAS, "_class_name": entry["class"], **entry["config"]}))
                for steps, run in entry["runs"].items():
                    what = f"{index.stem} {label}.{steps}"
                    command = [hep_eval, "scheduler", config, "--scheduler", entry["class"], "--steps", steps]
                    command += ["--eta", str(arguments["eta"])] if "eta" in arguments else []
                    done = subprocess.run(command, capture_output=True, text=True)
                    if "error" in run or entry["config"].get("clip_sample"):
                        assert done.returncode != 0 and done.stderr, f"{what}: is not refused"
                        refused += 1
                        continue
                    assert done.returncode == 0, f"{what}: {done.stderr}"
                    of_run = {key.split("/")[1]: golden[key] for key in golden if key.startswith(f"{label}.{steps}/")}
                    limit = next((x for (f, l), x in LOOSE.items() if f == index.stem and label.startswith(l)), 2e-5)
                    check_run(what, json.loads(done.stdout), run, of_run, limit, latent, noise)
                    replayed += 1
    print(f"{replayed} runs replayed, {refused} refused, {passed_over} need options that hep-eval has not")
    assert (replayed, refused, passed_over) == (966, 110, 16), "the goldens have other runs than were reviewed"


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
