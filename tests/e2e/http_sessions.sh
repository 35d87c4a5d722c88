#!/usr/bin/env bash
# Sessions over HTTP and heptctl: accepted means durable, cancel and pause at a step boundary, priority, a stop in the
# middle that goes on at the next start.
source "$(dirname "$0")/lib.sh"

start_daemon
check "ready" wait_ready
remember_prefix
port=$(http_port)
base=http://127.0.0.1:$port
api() { curl -s -m 30 "$@"; }
execute() { # CONFIGURATION [PRIORITY] → session id
  api "$base/api/processing/workflows/execute" -d "{\"workflow_id\":\"txt2img\",\"configuration\":$1,\"priority\":${2:-0}}" | jq -r .session_id
}
field() { api "$base/api/processing/sessions/$1" | jq -r ".$2"; }
wait_for() { # SESSION STATUS
  for _ in $(seq 600); do
    [ "$(field "$1" status)" = "$2" ] && return 0
    sleep 0.05
  done
  echo "session is $(field "$1" status): $(field "$1" error)"
  return 1
}
wait_denoising() { for _ in $(seq 2000); do [ "$(field "$1" denoising_step)" -ge 2 ] 2>/dev/null && return 0; sleep 0.005; done; return 1; }

check "ready over HTTP" equal "$(api -o /dev/null -w '%{http_code}' "$base/readyz")" 200
headers=$work/headers
api -D "$headers" -o "$work/body" "$base/api/processing/workflows/execute" -d '{"workflow_id":"txt2img","configuration":{"prompt":"pizza","seed":3,"num_inference_steps":6}}'
check "202" grep -q '^HTTP/1.1 202' "$headers"
session=$(jq -r .session_id "$work/body")
check "Location names the session" grep -qi "^location: /api/processing/sessions/$session" "$headers"
check "completed" wait_for "$session" completed
api -o "$work/image.png" -D "$headers" "$base/api/processing/sessions/$session/images/0"
check "the image is a PNG" equal "$(head -c 8 "$work/image.png" | od -An -tx1 | tr -d ' \n')" 89504e470d0a1a0a
check "its hash is the session's" equal "$(sha256sum <"$work/image.png" | cut -d' ' -f1)" "$(field "$session" 'results.files[0].sha256')"
check "no image 1" equal "$(api -o /dev/null -w '%{http_code}' "$base/api/processing/sessions/$session/images/1")" 404
check "the recipe is in the file" grep -aq 'pizza' "$work/image.png"
check "A1111's line is in the file" grep -aq 'Steps: 6, Sampler: Euler' "$work/image.png"

session=$(execute '{"prompt":"tiger","num_inference_steps":400}')
check "it denoises" wait_denoising "$session"
api -X POST "$base/api/processing/sessions/$session/control" -d '{"action":"cancel"}' >/dev/null
check "cancelled" wait_for "$session" cancelled
check "a cancelled session has no files" equal "$(field "$session" 'results.files // [] | length')" 0

whole=$(execute '{"prompt":"sunflower","seed":9,"num_inference_steps":40}')
check "the undisturbed one" wait_for "$whole" completed
session=$(execute '{"prompt":"sunflower","seed":9,"num_inference_steps":40}')
check "it denoises" wait_denoising "$session"
check "pause" ctl pause "$session"
check "paused" wait_for "$session" paused
step=$(field "$session" denoising_step)
sleep 0.5
check "a paused session stays where it is" equal "$(field "$session" denoising_step)" "$step"
check "resume" ctl resume "$session"
check "completed after a pause" wait_for "$session" completed
check "a pause does not change the bytes" equal "$(field "$session" 'results.files[0].sha256')" "$(field "$whole" 'results.files[0].sha256')"

# one long session holds the denoiser while others queue; the urgent one is done before the patient ones
for _ in 1 2 3 4 5 6; do last=$(execute '{"prompt":"penguin","num_inference_steps":30}' 0); done
urgent=$(execute '{"prompt":"penguin","num_inference_steps":5}' 100)
check "the urgent one completes" wait_for "$urgent" completed
check "before the last of the patient ones" test "$(field "$last" status)" != completed
check "the patient ones complete too" wait_for "$last" completed

session=$(execute '{"prompt":"sunflower","seed":9,"num_inference_steps":40}')
check "it denoises" wait_denoising "$session"
check "a stop in the middle" stop_daemon
start_daemon
check "ready again" wait_ready
port=$(http_port)
base=http://127.0.0.1:$port
check "completed after the restart" wait_for "$session" completed
check "a stop does not change the bytes" equal "$(field "$session" 'results.files[0].sha256')" "$(field "$whole" 'results.files[0].sha256')"
check "events tell the story" test "$(ctl events --json | head -c 100000 | wc -c)" -gt 100
check "operations are described" test "$(ctl operations --json | wc -c)" -gt 5000
for domain in device model conditioning scheduler inference postprocessing communication; do
  check "$domain.ping answers" equal "$(ctl call $domain.ping '{"echo":"there"}' --json | jq -r .echo)" there
done
check "stop" stop_daemon
check "nothing is left" nothing_left
done_with
