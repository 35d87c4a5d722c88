#!/usr/bin/env bash
# SIGKILL of heptad-inference in the middle of a generation: it comes back, the image's bytes are the same, the other
# domains are not touched. The same for each other domain, and for the supervisor itself.
source "$(dirname "$0")/lib.sh"

start_daemon --set inference.preview_ms=20
check "ready" wait_ready
remember_prefix
whole=$(generate "penguin" --seed 42 --steps 40 | sha_of)
check "generate --previews makes the same image" equal "$(generate "penguin" --seed 42 --steps 40 --previews "$work" | sha_of)" "$whole"
is_png() { [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]; }
check "and keeps a preview" is_png "$work"/s*-preview.png

steps=40
submit() { # [more of the configuration]
  ctl call workflow.execute '{"workflow_id":"txt2img","configuration":{"prompt":"penguin","seed":42,"num_inference_steps":'"$steps${1:-}"'}}' --json | jq -r .session_id
}
step_of() { ctl session "$1" --json | jq -r '.denoising_step // 0'; }
wait_step() { # SESSION N
  for _ in $(seq 2000); do
    [ "$(step_of "$1")" -ge "$2" ] && return 0
    [ "$(ctl session "$1" --json | jq -r .status)" = completed ] && return 0
    sleep 0.005
  done
  return 1
}
pids() { ctl status --json | jq -r --arg d "$1" '.domains[] | select(.domain != $d) | "\(.domain) \(.pid)"' | sort; }

for domain in inference conditioning postprocessing model scheduler device communication; do
  others=$(pids $domain)
  old=$(domain_pid $domain)
  session=$(submit)
  check "the session denoises" wait_step "$session" 8
  kill -KILL "$old"
  done_json=$(ctl wait "$session" --json)
  check "after killing $domain: completed" equal "$(jq -r .status <<<"$done_json")" completed
  check "after killing $domain: the same bytes" equal "$(sha_of <<<"$done_json")" "$whole"
  check "$domain is ready again" wait_ready
  check "$domain is a new process" test "$(domain_pid $domain)" != "$old"
  check "the others were not touched" equal "$(pids $domain)" "$others"
done
# With previews, somebody watching, and inference killed in the middle: they go on, and the image is the same.
base=http://127.0.0.1:$(http_port)/api/processing/sessions
steps=300 # long enough to look at it, and to kill in it, on a busy machine too
short=$whole
session=$(submit)
whole=$(ctl wait "$session" --json | sha_of)
session=$(submit ',"previews":true')
curl -sN -m 60 "$base/$session/events?previews=1" >"$work/stream" &
watcher=$!
check "the session denoises" wait_step "$session" 8
curl -s -m 10 -o "$work/preview.png" "$base/$session/preview"
check "its preview is a PNG" is_png "$work/preview.png"
ctl preview "$session" >"$work/piped.png"
check "heptctl preview writes it to a pipe" is_png "$work/piped.png"
check "heptctl preview --out writes it to a file" equal "$(ctl preview "$session" --out "$work/kept.png")" "$work/kept.png"
check "which is a PNG" is_png "$work/kept.png"
kill -KILL "$(domain_pid inference)"
done_json=$(ctl wait "$session" --json)
wait $watcher
check "with previews: the same bytes" equal "$(sha_of <<<"$done_json")" "$whole"
check "previews came before and after the death" awk '/^event: session.preview/ { n[died + 0]++ } /"attempt":2/ { died = 1 } END { exit !(n[0] && n[1]) }' "$work/stream"
check "the stream ends with the session" grep -q '"to":"completed"' "$work/stream"
check "an ended session has no preview" equal "$(curl -s -m 10 "$base/$session/preview" | jq -r .error.code)" NOT_FOUND
check "nor for heptctl" equal "$(ctl preview "$session" --json | jq -r .error.code)" NOT_FOUND
steps=40 whole=$short
session=$(submit)
ctl wait "$session" >/dev/null
check "nobody asked for previews: none was made" equal "$(ctl session "$session" --json | jq -r '.steps[] | select(.id == "preview") | .status')" skipped

redone=$(ctl session "$(ctl sessions --json | jq -r '.sessions[-1].session_id')" --json | jq -r '.status')
check "an older session still says so" equal "$redone" completed

session=$(submit)
check "the session denoises" wait_step "$session" 8
supervisor=$(pgrep -f -- "bin/heptad --state $state" | head -1)
kill -KILL "$supervisor"
sleep 2
check "the children end with the supervisor" equal "$(daemon_processes)" ""
start_daemon
check "ready after the supervisor's death" wait_ready
done_json=$(ctl wait "$session" --json)
check "after killing the supervisor: completed" equal "$(jq -r .status <<<"$done_json")" completed
check "after killing the supervisor: the same bytes" equal "$(sha_of <<<"$done_json")" "$whole"
check "it stops" stop_daemon
check "nothing is left" nothing_left

# One image by two networks: killed before the base has ended, and while the refiner goes on from its state.
models=$work/models
mkdir "$models"
for model in tiny-sdxl tiny-sdxl-refiner; do cp -r "$root/tests/golden/data/models/$model" "$models"; done
start_daemon --set models.paths="$models"
check "ready with a base and its refiner" wait_ready
remember_prefix
pair() { ctl generate "penguin" --model tiny-sdxl --seed 42 --steps 200 --set refiner=tiny-sdxl-refiner --set refiner_switch=0.5 "$@"; }
runs() { ctl session "$1" --json | jq -e --arg id "$2" '.status == "completed" or (.denoising_step >= 3 and (.steps[] | select(.id == $id).status == "running"))' >/dev/null; }
whole=$(pair --json | sha_of)
for step in denoise refine; do
  session=$(pair --no-wait)
  for _ in $(seq 1000); do runs "$session" $step && break || sleep 0.005; done
  kill -KILL "$(domain_pid inference)"
  done_json=$(ctl wait "$session" --json)
  check "killed in the step $step: the same bytes" equal "$(sha_of <<<"$done_json")" "$whole"
  check "it was killed there" equal "$(jq --arg id $step '.steps[] | select(.id == $id).crashes' <<<"$done_json")" 1
  check "ready after it" wait_ready
done
check "it went on behind the switch" grep -q "inference.resumed session=$session .*redone_rows=0" "$state/heptad.log"
check "it stops with both" stop_daemon
check "nothing of both is left" nothing_left
done_with
