#!/usr/bin/env bash
# Webhooks on the real, confined daemon: every end is told at least once and signed, while the receiver says 500, is killed,
# and communication and the supervisor are killed between an end and its delivery.
source "$(dirname "$0")/lib.sh"
receiver_pid=
stop_receiver() {
  [ -z "$receiver_pid" ] || { kill -9 "$receiver_pid"; wait "$receiver_pid"; } 2>/dev/null || true
  receiver_pid=
}
trap 'status=$?; set +e; stop_receiver; (exit $status); finish' EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
hook_port=$(free_port)
tls_port=$(free_port)
head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$work/secret"
chmod 600 "$work/secret"
log=$work/deliveries
: >"$log"
receive() { # ARG… of the receiver
  stop_receiver
  python3 "$root/tests/e2e/webhook_receiver.py" "$hook_port" "$work/secret" "$log" "$@" &
  receiver_pid=$!
  for _ in $(seq 100); do (: <"/dev/tcp/127.0.0.1/$hook_port") 2>/dev/null && return 0; sleep 0.05; done
  return 1
}
start() { start_daemon --set webhooks.hosts="localhost:$hook_port 127.0.0.1:$hook_port 127.0.0.1:$tls_port" --set webhooks.secret_file="$work/secret"; }
base() { echo "http://127.0.0.1:$(http_port)/api/processing"; }
execute() { # URL → the answer
  curl -s -m 20 "$(base)/workflows/execute" -d "{\"configuration\":{\"prompt\":\"a red apple\",\"num_inference_steps\":3},\"callback_url\":\"$1\"}"
}
session() { execute "${1:-http://127.0.0.1:$hook_port/done?from=heptad}" | jq -r .session_id; }
told() { grep -c "^[^ ]* $2 $1 good $3\$" "$log"; } # SUBJECT EVENT STATUS → how often
within() { # SECONDS command…: until it succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@"; do [ $SECONDS -lt $end ] || { echo "not within its time: $*"; cat "$log"; return 1; }; sleep 0.1; done
}
is_told() { [ "$(told "$1" "$2" 200)" -ge 1 ]; }
hook_field() { ctl session "$1" --json | jq -r ".webhooks[0].$2"; }

start
check "ready" wait_ready
remember_prefix
check "the door is confined" equal "$(ctl call communication.get_status --json | jq -r .status.confinement.mode)" on
check "a host that is not listed is refused" equal "$(execute http://127.0.0.1:1/ | jq -c '[.error.code,.error.field]')" '["NOT_ALLOWED","callback_url"]'

receive --fail 2
a=$(session "http://localhost:$hook_port/done")
check "500 twice, then it is taken" within 20 is_told "$a" session.completed
check "after two refusals" equal "$(told "$a" session.completed 500)" 2
check "under one name" equal "$(cut -d' ' -f1 "$log" | sort -u | wc -l)" 1
nothing_waits() { equal "$(ctl session "$1" --json | jq -c .webhooks)" '[]' >/dev/null; }
check "nothing of it is left to be delivered" within 5 nothing_waits "$a"

# the receiver is away: ends wait in the store, through the deaths of communication and of the supervisor
stop_receiver
b=$(session) c=$(session)
batch=$(curl -s -m 20 "$(base)/batches/create" -d "{\"configuration\":{\"prompt\":\"pizza\",\"num_inference_steps\":3},\"batch_config\":{\"total_images\":2},\"callback_url\":\"http://127.0.0.1:$hook_port/batch\"}" | jq -r .batch_id)
curl -s -X POST "$(base)/batches/$batch/execute" -d '{}' >/dev/null
for id in "$b" "$c"; do ctl wait "$id" >/dev/null; done
is_shown() { ctl session "$1" | grep -q "^webhook .*session.completed: next attempt in .*no answer"; }
check "what waits is shown" within 10 is_shown "$b"
kill -9 "$(domain_pid communication)"
d=$(ctl call workflow.execute "{\"configuration\":{\"prompt\":\"tiger\",\"num_inference_steps\":3},\"callback_url\":\"http://127.0.0.1:$hook_port/d\"}" --json | jq -r .session_id)
batch_ended() { [ "$(ctl batch "$batch" --json | jq -r .status)" = completed ]; }
check "the batch ends" within 20 batch_ended
ctl wait "$d" >/dev/null
supervisor=$(cat "$state/run/heptad.pid")
kill -9 "$supervisor"
while kill -0 "$supervisor" 2>/dev/null; do sleep 0.05; done
receive
start
check "ready again" wait_ready
for id in "$b" "$c" "$d"; do check "$id is told" within 40 is_told "$id" session.completed; done
check "the batch is told" within 40 is_told "$batch" batch.completed

# a receiver has it and has not answered yet: communication is killed, and it is told once more
receive --stall 3
e=$(session)
check "it has come" within 20 is_told "$e" session.completed
kill -9 "$(domain_pid communication)"
again() { [ "$(told "$e" session.completed 200)" -eq 2 ]; }
check "and comes again" within 20 again
check "every signature is good" equal "$(grep -vc ' good ' "$log")" 0
for id in "$a" "$b" "$c" "$d" "$e" "$batch"; do
  check "$id has one delivery_id" equal "$(grep " $id " "$log" | cut -d' ' -f1 | sort -u | wc -l)" 1
  check "$id was taken twice at most" test "$(grep -c " $id good 200" "$log")" -le 2
done
rows() { python3 -c 'import sqlite3, sys; print(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute("select count(*) from webhooks").fetchone()[0])' "$state/heptad.db"; }
none_left() { [ "$(rows)" = 0 ]; }
check "no row is left" within 10 none_left

# a receiver whose certificate nobody vouches for is told nothing
if command -v openssl >/dev/null; then
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 -subj /CN=127.0.0.1 2>/dev/null
  openssl s_server -quiet -accept "127.0.0.1:$tls_port" -key "$work/key.pem" -cert "$work/cert.pem" >"$work/tls" 2>&1 &
  tls_pid=$!
  f=$(session "https://127.0.0.1:$tls_port/done")
  refused() { hook_field "$f" error.message | grep -q "certificate"; }
  check "a certificate of one's own is refused" within 20 refused
  check "and nothing was sent" equal "$(grep -c POST "$work/tls")" 0
  kill "$tls_pid"
fi
check "stop" stop_daemon
check "nothing is left" nothing_left
done_with
