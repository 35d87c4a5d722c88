#!/usr/bin/env bash
# What README says works as it stands there; every scheduler by every name that it has; a model folder's own defaults.
source "$(dirname "$0")/lib.sh"

mkdir "$work/models"
cp -r "$root/share/models/emoji" "$work/models/own"
cat >"$work/models/own/heptad.json" <<'JSON'
{"defaults": {"num_inference_steps": 6, "guidance_scale": 1.0, "width": 64, "height": 64, "scheduler": "DPM++ 2M Karras"}}
JSON
start_daemon --set "models.paths=$root/share/models:$work/models"
check "ready" wait_ready
remember_prefix

# README's own lines, with steps where they would only take time
export HEPTAD_STATE=$state PATH=$bin:$PATH
readme() { # the commands of README's five minutes that make images
  sed -n '/^## Five minutes/,/^## Models/p' "$root/README.md" | grep '^heptctl generate' | sed 's/ *#.*//'
}
check "README has commands" test "$(readme | wc -l)" -ge 3
while read -r line; do
  check "README: $line" bash -c "cd '$work' && ${line/--out \/tmp/--out $work}"
done < <(readme)

names=$(ctl call scheduler.list --json | jq -r '.schedulers[] | .name, .title, .aliases[]')
check "there are names" test "$(wc -l <<<"$names")" -ge 60
while read -r name; do
  body=$(jq -cn --arg s "$name" '{workflow_id: "txt2img", configuration: {prompt: "x", scheduler: $s, num_inference_steps: 6, seed: 1, model: "emoji"}}')
  check "scheduler '$name' is accepted" ctl call workflow.execute "$body" --json
done <<<"$names"
check "a name that is none is refused" bash -c "! '$bin/heptctl' --state '$state' generate x --scheduler nonsense --no-wait"
for id in $(ctl sessions --limit 500 --json | jq -r '.sessions[].session_id'); do
  result=$(ctl wait "$id" --json) || true
  status=$(jq -r .status <<<"$result")
  check "session $id ($(jq -r .configuration.scheduler <<<"$result")) is completed" equal "$status" completed
done

made=$(generate "a red apple" --model own --seed 3)
check "the folder's scheduler is the default" equal "$(jq -r '.configuration.scheduler' <<<"$made")" "DPM++ 2M Karras"
check "the folder's steps are the default" equal "$(jq -r '.configuration.num_inference_steps' <<<"$made")" 6
same=$(generate "a red apple" --model own --seed 3 --scheduler dpmpp_2m_karras)
check "and it is what runs" equal "$(sha_of <<<"$made")" "$(sha_of <<<"$same")"
other=$(generate "a red apple" --model own --seed 3 --scheduler Euler)
check "a request overrides it" test "$(sha_of <<<"$made")" != "$(sha_of <<<"$other")"
check "models shows it" equal "$(ctl models --json | jq -r '.models[] | select(.name == "own") | .defaults.scheduler')" "DPM++ 2M Karras"

check "it stops" stop_daemon
check "nothing is left" nothing_left
done_with
