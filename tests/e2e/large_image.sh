#!/usr/bin/env bash
# Images whose network runs for long: one that would take too long is refused with the numbers, the others can be
# cancelled and paused between two kernels, and a long run shows the watchdog that it gets on.
source "$(dirname "$0")/lib.sh"

execute() { ctl call workflow.execute "{\"workflow_id\":\"txt2img\",\"configuration\":$1}" --json | jq -r '.session_id'; }
field() { ctl session "$1" --json | jq -r "$2"; }
wait_for() { # SECONDS command… : until it succeeds
  local end=$((SECONDS + $1))
  shift
  while [ $SECONDS -le $end ]; do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  return 1
}
status_is() { [[ "$(field "$1" .status)" == $2 ]]; }
idle() { [ "$(ctl call inference.get_status --json | jq '.status.in_hand | length')" = 0 ]; }
denoising() { [ "$(ctl call inference.get_status --json | jq '.status.in_hand[0] | .operation == "generate" and .for_ms > 1500')" = true ]; }
progress() { ctl call inference.get_status --json | jq .status.progress; }

start_daemon --set sessions.evaluation_max_ms=250000 # a rate that was measured on a busy machine is too low
check "ready" wait_ready
remember_prefix
pid=$(domain_pid inference)

id=$(execute '{"prompt":"x","width":4096,"height":4096,"num_inference_steps":2}')
check "4096²: it ends at once" wait_for 20 status_is "$id" failed
check "4096²: the error names the field" equal "$(field "$id" '[.error.code, .error.field] | join(" ")')" "OUT_OF_RANGE width"
check "4096²: the numbers are there (got: $(field "$id" .error.message))" bash -c "[[ '$(field "$id" .error.message)' == *GFLOP*'250 s are allowed'* ]]"
check "4096²: the hint names the limit" bash -c "[[ '$(field "$id" .error.hint)' == *sessions.evaluation_max_ms* ]]"
id=$(execute '{"prompt":"a red apple","num_inference_steps":4,"seed":7}')
check "a small one beside it ends" wait_for 60 status_is "$id" completed
sha=$(field "$id" '.results.files[].sha256')

for action in cancel pause; do
  id=$(execute '{"prompt":"x","width":768,"height":768,"num_inference_steps":20}')
  check "$action: the network runs" wait_for 60 denoising
  before=$(progress)
  sleep 2.5
  check "$action: it shows that it gets on inside a step" test "$(progress)" -gt "$before"
  check "$action: it is in its first step" equal "$(field "$id" '.denoising_step // 0')" 0
  check "$action: is answered" ctl call session.control "{\"session_id\":\"$id\",\"action\":\"$action\"}"
  began=$SECONDS
  check "$action: the network ends before the step does" wait_for 40 idle
  say "$action took $((SECONDS - began)) s"
  small=$(execute '{"prompt":"a red apple","num_inference_steps":4,"seed":7}')
  check "$action: the next one ends" wait_for 60 status_is "$small" completed
  check "$action: with the same bytes" equal "$(field "$small" '.results.files[].sha256')" "$sha"
done
check "the paused one is paused" status_is "$id" paused
check "it can be cancelled" ctl cancel "$id"

check "inference is the same process as before" equal "$(domain_pid inference)" "$pid"
check "it stops" stop_daemon
check "nothing is left" nothing_left
done_with
