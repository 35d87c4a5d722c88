#!/usr/bin/env bash
# A /dev/shm that is too small, or full, in a mount namespace of its own: what can never fit is refused at once with the
# numbers, what has no room now waits in the queue and keeps nobody back, and a full one is 503 at the door.
if [ "${HEP_OWN_SHM:-}" != 1 ]; then
  unshare -m true 2>/dev/null || { echo "skipped: no right to make a mount namespace"; exit 77; }
  HEP_OWN_SHM=1 exec unshare -m bash "$0" "$@"
fi
source "$(dirname "$0")/lib.sh"
shm_size() { mount -o "remount,size=$1" /dev/shm; }
mount --make-rprivate / && mount -t tmpfs -o size=8m tmpfs /dev/shm || exit 77

execute() { ctl call workflow.execute "{\"workflow_id\":\"txt2img\",\"configuration\":$1}" --json | jq -r '.session_id'; }
field() { ctl session "$1" --json | jq -r "$2"; }
wait_end() { # SESSION SECONDS
  for _ in $(seq $(($2 * 10))); do
    case "$(field "$1" .status)" in completed | failed | cancelled) return 0 ;; esac
    sleep 0.1
  done
  return 1
}

start_daemon
check "ready with 8 MiB of shared memory" wait_ready
remember_prefix
id=$(execute '{"prompt":"x","num_inference_steps":1}')
check "8 MiB: it ends at once" wait_end "$id" 10
check "8 MiB: its weights do not fit" equal "$(field "$id" '[.status, .error.code, .error.retryable] | map(tostring) | join(" ")')" "failed NO_SHM false"
check "8 MiB: the numbers are there (got: $(field "$id" .error.message))" bash -c "[[ '$(field "$id" .error.message)' == *'8 MiB in all'* ]]"
check "8 MiB: a hint is there" bash -c "[[ '$(field "$id" .error.hint)' == *remount,size=* ]]"

shm_size 40m
large=()
for _ in 1 2 3 4; do large+=("$(execute '{"prompt":"x","width":512,"height":512,"count":64,"num_inference_steps":2}')"); done
id=$(execute '{"prompt":"a red apple","num_inference_steps":4,"seed":7}')
check "40 MiB: a small one behind four large ones ends" wait_end "$id" 60
check "40 MiB: with its image" equal "$(field "$id" .status)" completed
for session in "${large[@]}"; do
  check "40 MiB: a large one ends" wait_end "$session" 20
  check "40 MiB: it never fits" equal "$(field "$session" '[.status, .error.code] | join(" ")')" "failed NO_SHM"
done

room=$(df --output=avail -k /dev/shm | tail -1)
head -c $(((room - 1200) * 1024)) /dev/zero >/dev/shm/of-somebody-else
waits=$(execute '{"prompt":"x","width":256,"height":256,"count":4,"num_inference_steps":2}')
id=$(execute '{"prompt":"a red apple","num_inference_steps":4,"seed":7}')
check "full: the smaller one ends" wait_end "$id" 60
check "full: with its image" equal "$(field "$id" .status)" completed
check "full: the larger one waits in the queue" equal "$(field "$waits" .status)" queued
check "full: and says for what (got: $(field "$waits" .note))" bash -c "[[ '$(field "$waits" .note)' == 'waits for shared memory'* ]]"
check "full: the status says it" bash -c "'$bin/heptctl' --state '$state' status | tr -s ' \n' ' ' | grep -q '1 session waits for more'"
check "full: it is in the log" grep -q 'session.no_room' "$state/heptad.log"

head -c 2000000 /dev/zero >>/dev/shm/of-somebody-else 2>/dev/null || true
port=$(http_port)
code=$(curl -s -D "$work/head" -o "$work/body" -w '%{http_code}' -d '{"workflow_id":"txt2img","configuration":{"prompt":"x"}}' "http://127.0.0.1:$port/api/processing/workflows/execute")
check "nothing left: the door says 503" equal "$code $(jq -r .error.code "$work/body")" "503 NO_SHM"
check "nothing left: with Retry-After" grep -qi '^retry-after:' "$work/head"
rm /dev/shm/of-somebody-else
check "room again: the one that waited ends" wait_end "$waits" 60
check "room again: with its images" equal "$(field "$waits" '[.status, (.results.files | length)] | map(tostring) | join(" ")')" "completed 4"

check "no domain died" equal "$(ctl status --json | jq '[.domains[].restarts] | add')" 0
check "it stops" stop_daemon
check "nothing is left" nothing_left
done_with
