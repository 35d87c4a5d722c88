#!/usr/bin/env bash
# Drain, undrain, upgrade, restart of a domain: whatever the operator does, accepted sessions end with the same bytes.
source "$(dirname "$0")/lib.sh"

# programs of one's own, so that others can be put in their place
own=$work/programs
mkdir "$own"
install_from() { for program in "$bin"/heptad "$bin"/heptad-*; do cp "$program" "$own/new" && mv "$own/new" "$own/${program##*/}"; done; }
install_from
start() { "$own/heptad" --state "$state" --set http.port=0 --set "models.paths=$root/share/models" --set "workflows.dir=$root/etc/workflows"; }
start
check "ready" wait_ready
remember_prefix
whole=$(generate "penguin" --seed 42 --steps 100 | sha_of)
other=$(generate "pizza" --seed 1 --steps 100 --count 2 | sha_of)
submit() { # PROMPT SEED COUNT
  ctl call workflow.execute "$(jq -cn --arg p "$1" --argjson s "$2" --argjson c "$3" '{configuration: {prompt: $p, seed: $s, num_inference_steps: 100, count: $c}}')" --json | jq -r .session_id
}
step_of() { ctl session "$1" --json | jq -r '.denoising_step // 0'; }
wait_step() { for _ in $(seq 500); do [ "$(step_of "$1")" -ge "$2" ] && return 0; sleep 0.01; done; return 1; }
ends_the_same() { # SESSION SHA
  local done_json
  done_json=$(ctl wait "$1" --json)
  equal "$(jq -r .status <<<"$done_json")" completed && equal "$(sha_of <<<"$done_json")" "$2"
}

# drain
one=$(submit penguin 42 1)
two=$(submit pizza 1 2)
check "it denoises" wait_step "$one" 5
check "drain returns" ctl drain
check "status says drained" equal "$(ctl status --json | jq -r .state)" drained
check "status exits 1" bash -c "! '$bin/heptctl' --state '$state' status >/dev/null"
check "the first line names the operator and the second verb stands below" bash -c "'$bin/heptctl' --state '$state' status | grep -q 'drained by the operator' && '$bin/heptctl' --state '$state' status | grep -q 'heptctl undrain'"
before=$(step_of "$one")
sleep 0.5
check "nothing goes on" equal "$(step_of "$one")" "$before"
check "nothing is in hand" equal "$(ctl status --json | jq '[.domains[].in_hand | length] | add')" 0
refusal=$(ctl call workflow.execute '{"configuration":{"prompt":"x"}}' --json || true)
check "a request is refused as one that may come again" equal "$(jq -r '.error.code, .error.retryable' <<<"$refusal" | paste -sd' ')" "BUSY true"
code=$(curl -s -o "$work/body" -D "$work/head" -w '%{http_code}' "http://127.0.0.1:$(http_port)/api/processing/workflows/execute" -d '{"configuration":{"prompt":"x"}}')
check "over HTTP with 503" equal "$code" 503
check "and Retry-After" grep -qi '^retry-after: *[0-9]' "$work/head"
check "readyz says no" equal "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$(http_port)/readyz")" 503
check "undrain" ctl undrain
check "the first ends with its bytes" ends_the_same "$one" "$whole"
check "the second ends with its bytes" ends_the_same "$two" "$other"
check "no step was redone" equal "$(ctl session "$one" --json | jq '[.steps[].crashes] | add')" 0

# upgrade: a broken successor changes nothing
one=$(submit penguin 42 1)
check "it denoises" wait_step "$one" 5
pid=$(ctl status --json | jq -r '.domains[0].pid')
printf '#!/bin/sh\necho "this build knows nothing" >&2\nexit 125\n' >"$own/broken"
chmod +x "$own/broken"
mv "$own/broken" "$own/heptad"
check "an upgrade to it is refused" bash -c "! '$bin/heptctl' --state '$state' upgrade 2>'$work/refused'"
check "with its own words" grep -q 'this build knows nothing' "$work/refused"
check "nobody was restarted" equal "$(ctl status --json | jq -r '.domains[0].pid')" "$pid"
check "the session ends with its bytes" ends_the_same "$one" "$whole"

# and a good one takes over in the same process
install_from
one=$(submit penguin 42 1)
two=$(submit pizza 1 2)
check "it denoises" wait_step "$one" 5
daemon=$(cut -d' ' -f1 "$state/heptad.lock" 2>/dev/null | head -1)
main=$(pgrep -f -- "heptad --state $state" | head -1)
check "upgrade" ctl upgrade
check "ready" wait_ready
check "the same process" equal "$(pgrep -f -- "heptad --state $state" | head -1)" "$main"
check "all domains are new" test "$(ctl status --json | jq -r '.domains[0].pid')" != "$pid"
check "the first ends with its bytes" ends_the_same "$one" "$whole"
check "the second ends with its bytes" ends_the_same "$two" "$other"
check "it is no incident" equal "$(ctl call domain.incidents --json | jq '.incidents | length')" 0
check "upgraded again" ctl upgrade
check "ready" wait_ready

# each domain, by hand
for domain in inference postprocessing communication; do
  one=$(submit penguin 42 1)
  check "it denoises" wait_step "$one" 3
  check "restart $domain" ctl restart $domain
  check "after the restart of $domain: the same bytes" ends_the_same "$one" "$whole"
  check "ready" wait_ready
done
check "restarts are no incidents" equal "$(ctl call domain.incidents --json | jq '.incidents | length')" 0
check "it stops" stop_daemon
check "nothing is left" nothing_left
done_with
