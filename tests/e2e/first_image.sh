#!/usr/bin/env bash
# From an empty folder to images: the same request gives the same bytes, again, after a restart, and as one of four.
source "$(dirname "$0")/lib.sh"

start_daemon
check "seven domains are ready" wait_ready
check "the status names seven domains" equal "$(ctl status --json | jq '.domains | length')" 7
remember_prefix
check "every domain is confined" equal "$(ctl status --json | jq -c '[.domains[].detail.confinement | .mode == "on" and .no_new_privs] | unique')" '[true]'
check "what it says is so" equal "$(for d in device model conditioning scheduler inference postprocessing communication; do
  grep -h NoNewPrivs "/proc/$(domain_pid $d)/status"; done | sort -u | tr -s '\t' ' ')" "NoNewPrivs: 1"

first=$(generate "a red apple" --seed 7 --steps 8)
check "the session is completed" equal "$(jq -r .status <<<"$first")" completed
file=$(jq -r '.results.files[0].path' <<<"$first")
check "the file is there" test -s "$file"
check "the file has the hash that the session says" equal "$(sha256sum <"$file" | cut -d' ' -f1)" "$(sha_of <<<"$first")"

second=$(generate "a red apple" --seed 7 --steps 8)
check "the same request gives the same bytes" equal "$(sha_of <<<"$second")" "$(sha_of <<<"$first")"
other=$(generate "a red apple" --seed 8 --steps 8)
check "another seed gives other bytes" test "$(sha_of <<<"$other")" != "$(sha_of <<<"$first")"

four=$(generate "a red apple" --seed 7 --steps 8 --count 4)
check "four images" equal "$(jq '.results.files | length' <<<"$four")" 4
check "image 0 of four is the single image of its seed" equal "$(sha_of <<<"$four" | sed -n 1p)" "$(sha_of <<<"$first")"
check "image 1 of four is the single image of its seed" equal "$(sha_of <<<"$four" | sed -n 2p)" "$(sha_of <<<"$other")"
for n in 2 3; do
  single=$(generate "a red apple" --seed $((7 + n)) --steps 8)
  check "image $n of four is the single image of its seed" equal "$(sha_of <<<"$four" | sed -n $((n + 1))p)" "$(sha_of <<<"$single")"
done

for format in jpeg webp; do
  made=$(generate "a red apple" --seed 7 --steps 2 --format $format)
  check "$format is written" test -s "$(jq -r '.results.files[0].path' <<<"$made")"
done

deep=$(jq -r '.results.files[0].path' <<<"$(generate "a red apple" --seed 7 --steps 2 --format png16)")
check "png16 has 16 bits" equal "$(od -An -tu1 -j24 -N1 "$deep" | tr -d ' ')" 16
check "its recipe is read back" equal "$(ctl recipe "$deep" | jq -c '[.workflow_id, .configuration.format, .configuration.seed]')" '["txt2img","png16",7]'
check "and makes it again" equal "$(ctl generate --from "$deep" --json | sha_of)" "$(sha256sum <"$deep" | cut -d' ' -f1)"

check "it stops" stop_daemon
check "nothing is left after a stop" nothing_left
start_daemon
check "ready again" wait_ready
third=$(generate "a red apple" --seed 7 --steps 8)
check "the same bytes after a restart of everything" equal "$(sha_of <<<"$third")" "$(sha_of <<<"$first")"
check "sessions of before are remembered" test "$(ctl sessions --json | jq '.sessions | length')" -ge 8
check "it stops again" stop_daemon
check "nothing is left after the second stop" nothing_left
done_with
