"""Answers that no generator meets, held to the OpenAPI document: sessions that finished, failed and were cancelled, one whose
domain died in the middle of it, batches, and the status after all that.
   api_answers.py BASE TOKEN STATE BIN"""
import json
import signal
import subprocess
import sys
import time
import urllib.request
import os

import jsonschema

base, token, state, bin_folder = sys.argv[1:]
failures = 0


def ask(method, path, body=None):
    request = urllib.request.Request(base + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                     headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


document = ask("GET", "/api/openapi.json")[1]


def check(method, template, path, body=None, wanted=200):
    """The answer, held to the schema of its status."""
    global failures
    status, answer = ask(method, path, body)
    response = document["paths"][template][method.lower()]["responses"].get(str(status))
    while response and "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    if status != wanted or not response:
        print(f"{method} {path}: {status} {json.dumps(answer)[:300]}")
        failures += 1
        return answer
    schema = dict(response["content"]["application/json"]["schema"], components=document["components"])
    for error in jsonschema.Draft202012Validator(schema).iter_errors(answer):
        print(f"{method} {path}: {error.json_path}: {error.message[:300]}")
        failures += 1
    return answer


EXECUTE, SESSION, BATCH = ("/api/processing/workflows/execute", "/api/processing/sessions/{session_id}",
                           "/api/processing/batches/{batch_id}")


def execute(configuration, wait=60, wanted=200):
    return check("POST", EXECUTE, f"{EXECUTE}?wait={wait}", {"configuration": configuration}, wanted)


def see(session):
    return check("GET", SESSION, SESSION.replace("{session_id}", session))


for held in ask("GET", "/api/processing/sessions?status=queued&limit=500")[1]["sessions"] + \
        ask("GET", "/api/processing/sessions?status=running")[1]["sessions"] + \
        ask("GET", "/api/processing/sessions?status=paused&limit=500")[1]["sessions"]:
    ask("POST", f"/api/processing/sessions/{held['session_id']}/control", {"action": "cancel"})
execute({"prompt": "pizza", "num_inference_steps": 5, "count": 2, "seed": "18446744073709551615"})
execute({"prompt": "pizza", "num_inference_steps": 5, "width": 4096, "height": 4096})  # fails
going = execute({"prompt": "tiger", "num_inference_steps": 400}, wait=1, wanted=202)["session_id"]
pid = next(d["pid"] for d in ask("GET", "/api/status")[1]["domains"] if d["domain"] == "inference")
os.kill(pid, signal.SIGSEGV)
check("GET", "/api/status", "/api/status")
for _ in range(20):
    see(going)
    check("GET", "/api/status", "/api/status")
    time.sleep(0.05)
check("POST", SESSION + "/control", SESSION.replace("{session_id}", going) + "/control", {"action": "cancel"})
time.sleep(0.5)
if not see(going)["errors"]:
    print("the death of inference is not among the session's errors")
    failures += 1
batch = check("POST", "/api/processing/batches/create", "/api/processing/batches/create",
              {"configuration": {"prompt": "apple", "num_inference_steps": 5}, "ranges": {"seed": [1, 2, 3]}}, 201)["batch_id"]
check("GET", BATCH, BATCH.replace("{batch_id}", batch))
check("POST", BATCH + "/execute", BATCH.replace("{batch_id}", batch) + "/execute?wait=60", {})
for path in ("/api/processing/sessions", "/api/processing/batches", "/api/processing/workflows", "/api/models",
             "/api/schedulers", "/readyz", "/healthz"):
    check("GET", path, path)
for workflow in ask("GET", "/api/processing/workflows")[1]["workflows"]:
    template = "/api/processing/workflows/{workflow_id}"
    check("GET", template, template.replace("{workflow_id}", workflow["workflow_id"]))
    check("POST", "/api/processing/workflows/validate", "/api/processing/workflows/validate",
          {"workflow_id": workflow["workflow_id"], "configuration": {"prompt": "x"}})
    check("POST", "/api/processing/workflows/validate", "/api/processing/workflows/validate",
          {"workflow_id": workflow["workflow_id"], "configuration": {"promt": "x", "width": "y"}})
check("POST", EXECUTE, EXECUTE, {"configuration": {"promt": "x", "width": "y"}}, 400)
print(f"{failures} answers are not as the document says" if failures else "every answer is as the document says")
sys.exit(1 if failures else 0)
