#!/usr/bin/env python3
"""What `hep-eval tokenize` prints for the strings of goldens/tokenizer.json (transformers 5.23), with nothing but the
command: strings in, ids out.

  check_tokenize.py HEP_EVAL MODEL_FOLDER TOKENIZER_JSON"""
import json
import subprocess
import sys


def main(hep_eval, model, path):
    with open(path, encoding="utf-8") as file:
        golden = json.load(file)
    strings = [item["text"] for item in golden["items"]]
    done = subprocess.run([hep_eval, "tokenize", model], input=json.dumps(strings), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ids = json.loads(done.stdout)
    assert len(strings) == 103 and len(ids) == len(strings), f"{len(strings)} strings gave {len(ids)} lists of ids"
    for item, got in zip(golden["items"], ids):
        assert got == item["ids"], f"{item['text']!r}: {got}, expected {item['ids']}"
    print(f"{len(ids)} strings have the ids of the reference")


if __name__ == "__main__":
    main(*sys.argv[1:])
