#!/usr/bin/env bash
# The safety checker end to end: a model that has one judges its own images, each policy does what it says, and the
# instance's policy holds for every request. The checker is the tiny one of the reference data; one of its thresholds is
# moved so that it flags seed 9 and not seeds 7 and 8.
source "$(dirname "$0")/lib.sh"

models=$work/models
mkdir -p "$models"
cp -r "$root/share/models/emoji" "$models/plain"
cp -r "$root/share/models/emoji" "$models/judged"
mkdir "$models/judged/safety_checker" "$models/judged/feature_extractor"
tiny=$root/tests/golden/data/models/tiny-safety-checker
cp "$tiny/config.json" "$tiny/model.safetensors" "$models/judged/safety_checker/"
cp "$tiny/preprocessor_config.json" "$models/judged/feature_extractor/"
python3 - "$models/judged" <<'PY'
import json, pathlib, struct, sys
folder = pathlib.Path(sys.argv[1])
index = json.loads((folder / "model_index.json").read_text())
index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
(folder / "model_index.json").write_text(json.dumps(index))
path = folder / "safety_checker/model.safetensors"
data = bytearray(path.read_bytes())
size = struct.unpack("<Q", data[:8])[0]
first = json.loads(data[8:8 + size])["concept_embeds_weights"]["data_offsets"][0] + 8 + size + 2 * 4
struct.pack_into("<e", data, first, struct.unpack_from("<e", data, first)[0] - 0.21)
path.write_bytes(data)
PY
# One whose index names a checker that is not there, as most copies do; three whose checker is broken.
mkdir "$models/named"
cp -r "$models/judged/." "$models/named"
for name in no_extractor other_size no_weights; do cp -r "$models/named" "$models/$name"; done
rm -r "$models/named/safety_checker" "$models/named/feature_extractor"
rm "$models/no_extractor/feature_extractor/preprocessor_config.json"
jq '.size = 60 | .crop_size = 60' "$tiny/preprocessor_config.json" >"$models/other_size/feature_extractor/preprocessor_config.json"
rm "$models/no_weights/safety_checker/model.safetensors"
# The same checker in a folder of its own, for models without one.
mkdir -p "$models/safety_checker/strict"
cp "$models/judged/safety_checker"/* "$models/judged/feature_extractor"/* "$models/safety_checker/strict/"

draw() { # SEED POLICY ARG… → the session, or the error, as JSON
  local seed=$1 policy=$2
  shift 2
  ctl generate "a red apple" --model judged --steps 6 --seed "$seed" --set safety="$policy" "$@" --json 2>/dev/null || true
}
of() { jq -r "$1" <<<"$2"; }
files() { find "$state/images" -type f | wc -l; }
says() { grep -aq "$1" "$2"; }

start_daemon --set "models.paths=$models"
check "ready" wait_ready
remember_prefix
check "the list says who has a checker" equal "$(ctl models --json | jq -c '[.models[] | select(.usable) | {(.name): .safety_checker}] | add')" '{"judged":true,"named":false,"plain":false}'
why() { ctl models --json | jq -r ".models[] | select(.name == \"$1\") | .problem.message"; }
check "a checker without its preprocessor makes the model unusable" grep -q "preprocessor_config.json" <<<"$(why no_extractor)"
check "so does one that makes other images" grep -q "crop_size.* is 60" <<<"$(why other_size)"
check "and one without weights" grep -q "safety_checker/model.safetensors" <<<"$(why no_weights)"

off=$(draw 9 off)
check "off: nothing is looked at" equal "$(of '.results.files[0] | has("safety")' "$off")" false
check "off: no step of it ran" equal "$(of '[.steps[]? | select(.id == "judged" and .state == "done")] | length' "$off")" 0
flag=$(draw 9 flag --set previews=true)
check "flag: seed 9 is flagged" equal "$(of .results.files[0].safety.flagged "$flag")" true
check "flag: with its scores" equal "$(of '.results.files[0].safety | (.concepts | length), (.special | length)' "$flag" | paste -sd' ')" "17 3"
check "flag: the file says so" says '"safety_flagged":true' "$(of .results.files[0].path "$flag")"
check "flag: seed 7 is not" equal "$(of .results.files[0].safety.flagged "$(draw 7 flag)")" false
python3 - "$(of .results.files[0].path "$flag")" "$(of .results.files[0].path "$off")" >"$work/same" <<'PY'
import sys, zlib
def pixels(path):
    data, at, out = open(path, "rb").read(), 8, b""
    while at < len(data):
        n = int.from_bytes(data[at:at + 4], "big")
        out += data[at + 8:at + 8 + n] if data[at + 4:at + 8] == b"IDAT" else b""
        at += n + 12
    return zlib.decompress(out)
print(pixels(sys.argv[1]) == pixels(sys.argv[2]))
PY
check "flag: the pixels are the same" equal "$(cat "$work/same")" True

blur=$(draw 9 blur --set previews=true)
check "blur: seed 9 is flagged" equal "$(of .results.files[0].safety.flagged "$blur")" true
preview_of() { ctl session "$(of .session_id "$1")" --json | jq -r '.steps[] | select(.id == "preview") | .status'; }
check "flag: previews are made" equal "$(preview_of "$flag")" done
check "blur: none is made of what is not judged yet" equal "$(preview_of "$blur")" skipped
check "blur: the file is much smaller, for hardly anything is left" test "$(of .results.files[0].bytes "$blur")" -lt "$(of .results.files[0].bytes "$flag")"
check "blur: again gives the same bytes" equal "$(of .results.files[0].sha256 "$(draw 9 blur)")" "$(of .results.files[0].sha256 "$blur")"
check "blur: seed 7 is as it was" equal "$(of '.results.files[0].safety | .flagged, .policy' "$(draw 7 blur)" | paste -sd' ')" "false blur"

# As one call that decodes, judges and writes: the same bytes.
check "a template that does it in one call is kept" ctl call workflow.put '{"workflow_id":"piped","workflow":{"extends":"txt2img","steps":{
  "image":null,"larger":null,"colours":null,"better":null,"judged":null,
  "file":{"operation":"pipeline","parameters":{"image":null,"safety":null,"recipe":{"tile":0},"operations":["decode","safety_check","encode"],
    "vae":"${weights.vae}","latents":"${denoise.latents}","safety_checker":"${checker.safety_checker}",
    "feature_extractor":"${checker.feature_extractor}","policy":"${safety}"}}}}}'
for policy in off flag blur; do
  check "one call, $policy" equal "$(of .results.files[0].sha256 "$(draw 9 $policy --workflow piped)")" "$(of .results.files[0].sha256 "${!policy}")"
done

before=$(files)
check "one call, refuse" equal "$(of '.error.code' "$(draw 9 refuse --workflow piped)")" UNSAFE
refused=$(draw 9 refuse)
check "refuse: the request fails with UNSAFE" equal "$(of '.error.code' "$refused")" UNSAFE
check "refuse: nothing was written" equal "$(files)" "$before"
check "refuse: of several, the flagged one is named" grep -q "flags image 3 of 3" <<<"$(of .error.message "$(draw 7 refuse --count 3)")"
check "refuse: seed 7 is written" equal "$(of .status "$(draw 7 refuse)")" completed

ask() { ctl call workflow.validate "{\"workflow_id\":\"txt2img\",\"configuration\":{\"prompt\":\"x\",$1}}" --json | jq -r '.problems | map(.code + " " + .field) | join(", ")'; }
check "a model without a checker: said at validation" equal "$(ask '"model":"plain","safety":"flag"')" "UNSUPPORTED safety"
check "an unknown policy" equal "$(ask '"model":"judged","safety":"maybe"')" "OUT_OF_RANGE safety"
check "a checker of its own that is not there" equal "$(ask '"model":"plain","safety":"flag","safety_checker":"nobody"')" "NOT_FOUND safety_checker"
own=$(ctl generate "a red apple" --model plain --steps 6 --seed 9 --set safety=blur --set safety_checker=strict --json)
check "with a checker of its own its images are judged as that judges" equal "$(of '.results.files[0].safety | .flagged, .policy' "$own" | paste -sd' ')" "true blur"
check "off needs none" equal "$(ask '"model":"plain","safety":"off"')" ""
check "it stops" stop_daemon

start_daemon --set "models.paths=$models" --set safety.policy=blur
check "ready with a policy of its own" wait_ready
check "the instance's policy holds where the request says off" equal "$(of '.results.files[0].safety | .flagged, .policy' "$(draw 9 off)" | paste -sd' ')" "true blur"
check "with the same bytes as if it had been asked for" equal "$(of .results.files[0].sha256 "$(draw 9 off)")" "$(of .results.files[0].sha256 "$blur")"
check "more can be asked for" equal "$(of .error.code "$(draw 9 refuse)")" UNSAFE
check "a model without a checker cannot be used" equal "$(ask '"model":"plain"')" "UNSUPPORTED safety"
check "every template that has a model has its images judged" equal "" \
  "$(for id in $(ctl workflows --json | jq -r '.workflows[].workflow_id'); do ctl workflows "$id" --json; done |
    jq -r 'select(.parameters.model) | .workflow_id as $id | .steps[] | select(.operation == "encode" and (.parameters.safety | not)) | $id')"
jq 'del(.parameters.safety) | .workflow_id = "unjudged" | .steps |= map(select(.id != "checker" and .id != "judged" and .id != "preview") | del(.parameters.preview_map)) | (.steps[] | select(.id == "file") | .parameters) |= (del(.safety) | del(.recipe.safety))' \
  "$root/etc/workflows/txt2img.json" >"$work/unjudged.json"
check "a workflow that checks nothing can be kept" ctl call workflow.put "{\"workflow_id\":\"unjudged\",\"workflow\":$(cat "$work/unjudged.json")}"
check "and not be run" equal "$(ctl call workflow.execute '{"workflow_id":"unjudged","configuration":{"prompt":"x","model":"judged"}}' --json 2>&1 | jq -r '.error.code // .code')" NOT_ALLOWED
check "it stops again" stop_daemon

start_daemon --set "models.paths=$models" --set safety.policy=blur --set safety.checker=strict
check "ready with a checker of its own" wait_ready
check "the instance's checker judges every model" equal "true blur" \
  "$(ctl generate "a red apple" --model plain --steps 6 --seed 9 --json | jq -r '.results.files[0].safety | .flagged, .policy' | paste -sd' ')"
check "no request chooses another" equal "$(ask '"model":"plain","safety_checker":"other"')" "NOT_ALLOWED safety_checker"
check "it stops once more" stop_daemon
check "nothing is left" nothing_left
done_with
