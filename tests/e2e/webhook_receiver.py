#!/usr/bin/env python3
"""A receiver of webhooks: checks each signature as docs/webhooks.md says, and writes a line for each delivery.

webhook_receiver.py PORT SECRET_FILE LOG [--fail N] [--stall SECONDS]: the first N are answered 500; each one is answered
only after SECONDS. A line: delivery_id, event, session or batch, signature good or bad, status answered.
"""
import argparse
import hashlib
import hmac
import http.server
import json
import time


def is_signed(secret, header, body):
    parts = dict(part.split("=", 1) for part in header.split(","))
    made = hmac.new(secret, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(made, parts["v1"]) and abs(time.time() - int(parts["t"])) < 300


class Receiver(http.server.BaseHTTPRequestHandler):
    failures = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = json.loads(body)
        good = is_signed(options.secret, self.headers["Heptad-Signature"], body)
        good = good and said["delivery_id"] == self.headers["Heptad-Delivery"]
        good = good and said["event"] == self.headers["Heptad-Event"]
        subject = said.get("session", said.get("batch"))
        name = subject.get("session_id", subject.get("batch_id"))
        Receiver.failures += 1
        status = 500 if Receiver.failures <= options.fail else 200
        with open(options.log, "a") as log:
            print(said["delivery_id"], said["event"], name, "good" if good else "bad", status, file=log)
        time.sleep(options.stall)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


arguments = argparse.ArgumentParser()
arguments.add_argument("port", type=int)
arguments.add_argument("secret", type=lambda path: open(path, "rb").readline().strip())
arguments.add_argument("log")
arguments.add_argument("--fail", type=int, default=0)
arguments.add_argument("--stall", type=float, default=0)
options = arguments.parse_args()
http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Receiver).serve_forever()
