#!/usr/bin/env bash
# A steered image through the daemon: a client gives an image, the workflow controlnet makes a hint of it and follows it;
# the same request gives the same bytes, also when the domains that work on it are killed.
source "$(dirname "$0")/lib.sh"

call() { ctl call "$1" "$2" --json; }
job() { # FIELDS as JSON → the session, once it has ended
  local request='{"prompt": "a cat", "model": "tiny-sd15", "steps": 12, "seed": 7, "wait": 60}'
  call inference.controlnet "$(jq -c --argjson more "$1" '. + $more' <<<"$request")"
}

pixels_of() { # of a session's PNG, without the recipe, which names the ControlNet
  python3 - "$(jq -r '.results.files[0].path' <<<"$1")" <<'PY'
import hashlib, struct, sys
data, at, pixels = open(sys.argv[1], "rb").read(), 8, hashlib.sha256()
while at < len(data):
    size, kind = struct.unpack(">I4s", data[at:at + 8])
    if kind in (b"IHDR", b"IDAT"):
        pixels.update(data[at + 8:at + 8 + size])
    at += size + 12
print(pixels.hexdigest())
PY
}

mkdir -p "$work/models/controlnet" # the same ControlNet as one file in the original layout
python3 "$root/tests/support/control_file.py" "$root/tests/golden/data/models/controlnet/tiny-controlnet" \
  "$work/models/controlnet/as-file.safetensors" --layout original
start_daemon --set "models.paths=$root/tests/golden/data/models:$work/models"
check "seven domains are ready" wait_ready
remember_prefix
check "the ControlNets are listed by kind" equal "$(call model.list '{"kind": "controlnet"}' | jq -c '[.models[] | [.name, .family, .usable]]')" \
  '[["as-file","sd1",true],["tiny-controlnet","sd1",true],["tiny-controlnet-sdxl","sdxl",true]]'

plain=$(generate "a cat" --model tiny-sd15 --steps 12 --seed 7)
picture=$(jq -r '.results.files[0].path' <<<"$plain")
input=$(call input.put "$(jq -n --rawfile data <(base64 -w0 "$picture") '{upload: "picture", data: $data, end: true}')" | jq -r .input)
check "an input is named by its bytes" equal "$input" "$(sha256sum <"$picture" | cut -d' ' -f1)"

steered=$(job "{\"controlnet\": \"tiny-controlnet\", \"control_image\": \"$input\", \"preprocessor\": \"canny\"}")
check "a steered image is made" equal "$(jq -r .status <<<"$steered")" completed
check "it is another one than without" test "$(sha_of <<<"$steered")" != "$(sha_of <<<"$plain")"
again=$(job "{\"controlnet\": \"tiny-controlnet\", \"control_image\": \"$input\", \"preprocessor\": \"canny\"}")
check "the same request gives the same bytes" equal "$(sha_of <<<"$again")" "$(sha_of <<<"$steered")"
file=$(job "{\"controlnet\": \"as-file\", \"control_image\": \"$input\", \"preprocessor\": \"canny\"}")
check "the ControlNet as one file makes the same image" equal "$(pixels_of "$file")" "$(pixels_of "$steered")"
two="{\"controlnet\": \"tiny-controlnet\", \"control_image\": \"$input\", \"preprocessor\": \"canny\", \"controlnet_2\": \"tiny-controlnet\",
  \"control_image_2\": \"$input\", \"control_scale_2\": 0.5, \"control_end_2\": 0.6, \"guess_mode\": true}"
both=$(job "$two")
check "two ControlNets at once, one of them for a part of the steps" equal "$(jq -r .status <<<"$both")" completed
check "they make another image" test "$(sha_of <<<"$both")" != "$(sha_of <<<"$steered")"

for domain in model conditioning inference postprocessing; do
  session=$(call workflow.execute "$(jq -nc --argjson more "$two" \
    '{workflow_id: "controlnet", configuration: ({prompt: "a cat", model: "tiny-sd15", steps: 12, seed: 7} + $more)}')" | jq -r .session_id)
  kill -KILL "$(domain_pid $domain)"
  check "killed $domain, and the bytes are the same" equal "$(ctl wait "$session" --json | sha_of)" "$(sha_of <<<"$both")"
  check "ready again" wait_ready
done

other=$(call inference.controlnet "{\"prompt\": \"a cat\", \"model\": \"tiny-sd15\", \"controlnet\": \"tiny-controlnet-sdxl\", \"control_image\": \"$input\", \"wait\": 60}" 2>&1 || true)
check "a ControlNet of another family is refused" grep -q 'steers models of the family sdxl' <<<"$other"
missing=$(call inference.controlnet "{\"prompt\": \"a cat\", \"model\": \"tiny-sd15\", \"controlnet\": \"tiny-controlnit\", \"control_image\": \"$input\", \"wait\": 60}" 2>&1 || true)
check "one that is not there is refused before it is accepted, with the nearest name" grep -q 'did you mean tiny-controlnet?' <<<"$missing"
nothing_held() { # told each second
  for _ in $(seq 50); do
    [ "$(ctl status --json | jq -r '.domains[] | select(.domain == "model") | .detail.models.pins')" = 0 ] && return 0
    sleep 0.1
  done
  return 1
}
check "no model is held any more" nothing_held
check "it stops" stop_daemon
check "nothing is left after a stop" nothing_left
done_with
