#!/usr/bin/env bash
# What an operator and a client are told: hints, --json, formats, incidents with their stack, interrupts, completion, the
# configuration in force. The real daemon with its seven processes.
source "$(dirname "$0")/lib.sh"

printf '[sessions]\nrunning_max = 2\n' >"$work/my.conf"
start_daemon --config "$work/my.conf"
check "ready" wait_ready
remember_prefix
base=http://127.0.0.1:$(http_port)
api() { curl -s -m 30 "$@"; }
has() { grep -qF -- "$2" <<<"$1" || { echo "no '$2' in: $1"; return 1; }; }
hasnt() { ! grep -qF -- "$2" <<<"$1" || { echo "'$2' in: $1"; return 1; }; }
fails() { # STATUS COMMAND… → what it said is in $said
  local wanted=$1 code=0
  shift
  said=$("$@" 2>&1) || code=$?
  [ "$code" -eq "$wanted" ] || { echo "exit $code, not $wanted: $said"; return 1; }
}
sessions_ever() { ctl sessions --json | jq '.sessions | length'; }

# hints
fails 2 ctl call device.select '{"x":1}' || die "device.select"
check "an unknown field points to its operation" has "$said" 'heptctl operations device.select'
fails 3 ctl session nobody || die "session nobody"
check "an unknown session points to the list" has "$said" 'heptctl sessions'
fails 2 ctl call kitchen.cook || die "kitchen.cook"
check "an unknown prefix names heptad's own" has "$said" 'workflow, session, input, preview, batch, status'
for row in 'status --timeout 0' 'sessions --status bogus' 'completion fish' 'incidents many'; do
  # shellcheck disable=SC2086
  fails 2 ctl $row || die "$row"
  check "$row points to the help of its verb" has "$said" "heptctl help ${row%% *}"
done
execute=$base/api/processing/workflows/execute
for body in '{"configuration":{"prompt":1}}' '{"configuration":{"prompt":"x","num_inference_steps":0}}'; do
  check "a wrong parameter over HTTP points to the workflow" has "$(api "$execute" -d "$body")" 'GET /api/processing/workflows/txt2img'
done
for answer in "$(api -X PUT "$base/api/status" -d x)" "$(api -H 'Host: evil.example' "$base/healthz")" \
  "$(api -H 'Origin: http://evil.example' "$base/healthz")"; do
  check "a refusal is one" has "$answer" NOT_ALLOWED
  check "no refusal of the door sends to the control socket" hasnt "$answer" socket
done
check "GET of execute is 405" equal "$(api -o /dev/null -w '%{http_code}' "$execute")" 405
check "with Allow: POST" grep -qi '^allow: POST' <(api -D - -o /dev/null "$execute")

# --json everywhere, formats
check "help as JSON" test "$(ctl help --json | jq '.verbs | length')" -gt 20
check "one verb as JSON" equal "$(ctl help status --json | jq -r .name)" status
check "--help as JSON" equal "$(ctl status --help --json | jq -r .name)" status
check "a script as JSON" bash -n <(ctl completion bash --json | jq -r .script)
before=$(sessions_ever)
fails 2 ctl generate x --out "$work/o.gif" || die "o.gif: $said"
fails 2 ctl generate x --out "$work/o.png" --format jpeg || die "o.png as jpeg: $said"
check "neither was asked of heptad" equal "$(sessions_ever)" "$before"
check "a session with a PNG" ctl generate apple --steps 2 --out "$work/o.png"
done_session=$(ctl sessions --json | jq -r '.sessions[0].session_id')
fails 2 ctl wait "$done_session" --out "$work/o.webp" || die "o.webp: $said"
check "no PNG by the name of a WebP" test ! -e "$work/o.webp"

# two interrupts within milliseconds
"$bin/heptctl" --state "$state" generate tiger --steps 900 >"$work/interrupted" 2>&1 &
generating=$!
for _ in $(seq 200); do [ "$(ctl sessions --status running --json | jq '.sessions | length')" = 1 ] && break; sleep 0.05; done
session=$(ctl sessions --status running --json | jq -r '.sessions[0].session_id')
sleep 0.3
kill -INT $generating; sleep 0.005; kill -INT $generating 2>/dev/null || true
wait $generating || true
for _ in $(seq 100); do [ "$(ctl session "$session" --json | jq -r .status)" = cancelled ] && break; sleep 0.1; done
check "the session was cancelled" equal "$(ctl session "$session" --json | jq -r .status)" cancelled

# completion asks the daemon of the command line, and offers what the verb can take
ctl generate tiger --steps 900 --no-wait >/dev/null
open=$(ctl sessions --json | jq -r '.sessions[0].session_id')
complete_words() ( # WORD… → what the last one could be
  source <(ctl completion bash)
  heptctl() { "$bin/heptctl" "$@"; }
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
  _heptctl
  printf '%s\n' "${COMPREPLY[*]}"
)
export HEPTAD_STATE=/nonexistent
check "cancel offers the open session" equal "$(complete_words heptctl --state "$state" cancel '')" "$open"
check "also after an option" equal "$(complete_words heptctl cancel --state = "$state" '')" "$open"
check "resume offers none" equal "$(complete_words heptctl --state "$state" resume '')" ""
check "session offers the ended ones too" has "$(complete_words heptctl --state "$state" session '')" "$done_session"
unset HEPTAD_STATE
ctl pause "$open" >/dev/null
for _ in $(seq 100); do [ "$(ctl session "$open" --json | jq -r .status)" = paused ] && break; sleep 0.1; done
check "resume offers the paused one" equal "$(complete_words heptctl --state "$state" resume '')" "$open"
check "pause does not" equal "$(complete_words heptctl --state "$state" pause '')" ""
ctl cancel "$open" >/dev/null

# the configuration in force
check "doctor names the daemon's file" has "$(ctl doctor || true)" "$work/my.conf"
printf '[sessions]\nrunning_max = 3\n[http]\nport = 1\n' >"$work/my.conf"
kill -HUP "$(daemon_processes | head -1)"
for _ in $(seq 50); do [ "$(ctl call config.get | jq '.waiting | length')" -gt 0 ] && break; sleep 0.1; done
check "what waits is said beside what is in force" equal \
  "$(ctl call config.get | jq -c '[.config["sessions.running_max"], .waiting["sessions.running_max"]]')" \
  '[2,{"in_force":"2","file":"3","restart":["heptad"]}]'
check "doctor says so" has "$(ctl doctor || true)" "sessions.running_max"

# templates of the operator's own
echo '{"workflow_id":"large","extends":"txt2img","parameters":{"width":{"default":128}}}' >"$work/large.json"
jq '.parameters.promt = null | .steps = {"denoise":{"parameters":{"stepz":1}}}' "$work/large.json" >"$work/bad.json"
check "a template is checked" ctl workflows check "$work/large.json"
fails 3 ctl workflows large || die "a checked template is kept: $said"
fails 1 ctl workflows check "$work/bad.json" || die "check of a bad template: $said"
check "what is wrong has its field" has "$said" "field promt"
fails 3 ctl workflows put "$work/bad.json" || die "put of a bad template: $said"
check "a template is put" ctl workflows put "$work/large.json"
check "and is there" equal "$(ctl workflows large --json | jq .parameters.width.default)" 128
check "it is deleted" ctl workflows delete large
fails 3 ctl workflows large || die "a deleted template: $said"

# a crash, and what is kept of it
kill -SEGV "$(domain_pid inference)"
for _ in $(seq 100); do [ "$(ctl incidents --json | jq '.incidents | length')" -gt 0 ] && break; sleep 0.1; done
incident=$(ctl incidents --json | jq -r '.incidents[0].incident')
check "ready again" wait_ready
check "the list has it" has "$(COLUMNS=80 ctl incidents)" SIGSEGV
check "only of its domain" equal "$(ctl incidents --domain model --json | jq '.incidents | length')" 0
check "its stack has names and lines" has "$(ctl incidents "$incident")" "instructors/skeleton/main.c:"
check "and in JSON" has "$(ctl incidents "$incident" --json | jq -r '.symbols | join(" ")')" "hep_instructor_main"
fails 3 ctl incidents 99999 || die "incident 99999"
check "status names the cause and the incident" has "$(ctl status)" "inference: killed by SIGSEGV (\`heptctl incidents $incident\`)"

# a domain that stays away
for _ in $(seq 40); do
  read -r now pid <<<"$(ctl call domain.list | jq -r '.domains[] | select(.domain == "postprocessing") | "\(.state) \(.pid)"')"
  [ "$now" = failed ] && break
  [ "$pid" = null ] || kill -KILL "$pid" 2>/dev/null || true
  sleep 0.1
done
fails 6 ctl call postprocessing.ping --json || die "postprocessing.ping: $said"
check "the refusal names the domain and the operation" equal "$(jq -r '"\(.error.domain).\(.error.operation)"' <<<"$said")" postprocessing.ping
check "and when it is tried again" test "$(jq .error.retry_after_ms <<<"$said")" -gt 1000
check "/readyz says it in seconds" test "$(api -D - -o /dev/null "$base/readyz" | tr -d '\r' | awk 'tolower($1) == "retry-after:" { print $2 }')" -gt 1
check "advice points to the incident" has "$({ ctl status || true; } | tr -s ' \n' ' ')" 'Look: `heptctl incidents'

check "restart" ctl restart postprocessing
check "ready at last" wait_ready
check "stop" stop_daemon
check "nothing is left" nothing_left
done_with
