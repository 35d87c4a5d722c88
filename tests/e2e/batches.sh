#!/usr/bin/env bash
# A batch on the real daemon: the bytes of its images are those of single requests, while processes are killed; a failed item
# fails alone; control and deletion.
source "$(dirname "$0")/lib.sh"
start_daemon
check "ready" wait_ready
remember_prefix
base=http://127.0.0.1:$(http_port)/api/processing
post() { curl -s -m 20 -X POST "$base/$1" -d "$2"; }
batch() { curl -s -m 20 "$base/batches/$1"; }
ended() { for _ in $(seq 300); do case "$(batch "$1" | jq -r .status)" in completed | failed | cancelled) return 0 ;; esac; sleep 0.1; done; return 1; }

common='"prompt":"a red apple","num_inference_steps":12'
id=$(post batches/create "{\"configuration\":{$common,\"seed\":100},\"batch_config\":{\"total_images\":16,\"max_batch_size\":8}}" | jq -r .batch_id)
check "it waits for its execute" equal "$(batch "$id" | jq -r .status)" created
check "it begins" equal "$(post "batches/$id/execute" '{}' | jq -r .status)" running
sleep 0.4
for domain in inference postprocessing conditioning; do kill -9 "$(domain_pid "$domain")"; sleep 0.3; done
check "it ends" ended "$id"
check "every item is done" equal "$(batch "$id" | jq -c '[.status,.completed_items,.failed_items]')" '["completed",16,0]'
batch "$id" | jq -r '.items[].files[0].sha256' >"$work/batch"
for seed in $(seq 100 115); do post "workflows/execute" "{\"configuration\":{$common,\"seed\":$seed}}" | jq -r .session_id; done >"$work/ids"
while read -r session; do ctl wait "$session" --json | jq -r '.results.files[0].sha256'; done <"$work/ids" >"$work/single"
check "the bytes are those of single requests" cmp "$work/batch" "$work/single"

# A prompt matrix as a session.
matrix=$(post workflows/execute '{"workflow_id":"prompt-matrix","configuration":{"prompt":"a cat|red","seed":5,"configuration":{"num_inference_steps":4}}}' | jq -r .session_id)
kill -9 "$(domain_pid inference)"
matrix_shas() { ctl wait "$matrix" --json | jq -r '.results.files[].sha256'; }
check "its images are those of its prompts" equal "$(matrix_shas)" "$(for prompt in "a cat" "a cat, red"; do generate "$prompt" --seed 5 --steps 4 | sha_of; done)"

# A batch as a session that is cancelled when some images are done, and tried again: those stay, and all have their bytes.
some=$(post workflows/execute "{\"workflow_id\":\"batch\",\"configuration\":{\"configuration\":{$common},\"ranges\":{\"seed\":{\"from\":100,\"to\":105}},\"batch_config\":{\"max_batch_size\":1}}}" | jq -r .session_id)
large='{"workflow_id":"batch","configuration":{"configuration":{"prompt":"x"},"items":[{},{"width":192}],"ranges":{"seed":[1,2,3]}}}'
check "what it takes is said before" equal "$(ctl validate --json - <<<"$large" | jq -c '.resources as $r | [.valid, $r.items, $r.kinds, $r.group_size, $r.largest_item, $r.memory_bytes > 0, .estimated_duration_ms > 0]')" '[true,6,2,4,3,true,true]'
its() { batch "$(curl -s "$base/batches" | jq -r '.batches[0].batch_id')"; }
done_of() { its | jq -c '[.items[]? | select(.status == "completed") | .session_id]'; }
two_done() { for _ in $(seq 200); do [ "$(done_of | jq length)" -ge 2 ] && return 0; sleep 0.05; done; return 1; }
check "two images are done" two_done
post "sessions/$some/control" '{"action":"cancel"}' >/dev/null
kept=$(done_of)
check "not all are" test "$(jq length <<<"$kept")" -lt 6
check "it can be tried again" equal "$(until post "sessions/$some/control" '{"action":"retry"}' | jq -re 'select(.status) | .status'; do sleep 0.1; done)" queued
check "all images have their bytes" equal "$(ctl wait "$some" --json | jq -r '.results.files[].sha256')" "$(head -6 "$work/single")"
check "those that were done were not made again" equal "$(its | jq -c --argjson kept "$kept" '[.items[].session_id] | map(select(IN($kept[])))')" "$kept"

# A batch as one routed request.
routed=$(post request "{\"type\":\"inference.batch_process\",\"data\":{\"configuration\":{$common},\"ranges\":{\"seed\":[100,101]},\"wait\":60}}")
check "a routed batch is answered with its images" equal "$(jq -r '.data.results.files[].sha256' <<<"$routed")" "$(head -2 "$work/single")"

# One that comes while another denoises joins it at its next step, on however few cores.
begin() { post workflows/execute "{\"configuration\":{\"prompt\":\"a red apple\",\"num_inference_steps\":$1,\"seed\":$2}}" | jq -r .session_id; }
sha() { ctl wait "$1" --json | jq -r '.results.files[0].sha256'; }
pairs() { ctl call inference.get_status --json | jq '[.. | .group_sizes? // empty | to_entries[] | select(.key != "1").value] | add // 0'; }
under_way() { for _ in $(seq 200); do curl -s "$base/sessions/$1" | jq -e '.progress > 0.05' >/dev/null && return 0; sleep 0.02; done; return 1; }
alone=$(sha "$(begin 80 7)")
before=$(pairs)
first=$(begin 80 7)
check "the first denoises" under_way "$first"
second=$(begin 12 100)
check "the second's bytes" equal "$(sha "$second")" "$(head -1 "$work/single")"
check "the first's bytes" equal "$(sha "$first")" "$alone"
check "they ran as rows of one group" test "$(pairs)" -gt "$before"

bad=$(post batches/create "{\"configuration\":{$common},\"items\":[{\"seed\":1},{\"width\":63}]}" | jq -c '[.error.code,.error.field]')
check "a wrong item is told before anything runs" equal "$bad" '["OUT_OF_RANGE","width"]'
check "the same key is the same batch" equal \
  "$(for _ in 1 2; do curl -s -H 'Idempotency-Key: k' "$base/batches/create" -d "{\"configuration\":{$common}}" | jq -r .batch_id; done | sort -u | wc -l)" 1
long=$(post batches/create "{\"configuration\":{$common},\"batch_config\":{\"total_images\":200}}" | jq -r .batch_id)
post "batches/$long/execute" '{}' >/dev/null
check "one that runs is not deleted" equal "$(curl -s -X DELETE "$base/batches/$long" | jq -r .error.code)" NOT_NOW
check "it is cancelled" equal "$(post "batches/$long/control" '{"action":"cancel"}' | jq -r .status)" cancelled
check "and deleted" equal "$(curl -s -X DELETE "$base/batches/$long" | jq -r .batch_id)" "$long"
check "and gone" equal "$(batch "$long" | jq -r .error.code)" NOT_FOUND
check "stop" stop_daemon
check "nothing is left" nothing_left
done_with
