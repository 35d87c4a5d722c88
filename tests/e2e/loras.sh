#!/usr/bin/env bash
# LoRAs and textual inversions with the default model, from files in loras/ and embeddings/ to images: named in a list and in
# the prompt, merged or published once, refused by name, and the same bytes when heptad-model is killed while it merges.
source "$(dirname "$0")/lib.sh"

models=$work/models
mkdir -p "$models/loras" "$models/embeddings"
python3 - "$models/embeddings/ink-wash.safetensors" "$root" <<'PY' # two vectors of the default model's width, as A1111 writes them
import json, struct, sys
width = json.load(open(sys.argv[2] + "/share/models/emoji/text_encoder/config.json"))["hidden_size"]
header = json.dumps({"emb_params": {"dtype": "F32", "shape": [2, width], "data_offsets": [0, 8 * width]}}).encode()
values = [0.3 * ((i * 37 % 19) - 9) / 9 for i in range(2 * width)]
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + struct.pack(f"<{2 * width}f", *values))
PY
cp "$root/tests/golden/data/embeddings/xl-look.safetensors" "$models/embeddings"
touch "$models/embeddings/old.pt"
for name in ink oil; do "$bin/hep-bench" --write-lora "$root/share/models/emoji" "$models/loras/$name.safetensors" --rank 4; done
cp "$root/tests/golden/data/lora/tiny-sdxl-kohya.safetensors" "$models/loras/xl.safetensors"
packed() { ctl call model.get_status '{}' --json | jq .status.models.packed; } # as it is now: what status.get knows is up to a second old
refusal() { # CONFIGURATION → HTTP status, code and message
  curl -s -o "$work/body" -w '%{http_code} ' -H 'Content-Type: application/json' \
    -d "{\"configuration\": $1}" "http://127.0.0.1:$(http_port)/api/processing/workflows/execute"
  jq -r '.error | "\(.code) \(.message)"' "$work/body"
}

start_daemon --set models.paths="$root/share/models:$models"
check "ready" wait_ready
remember_prefix
check "heptctl lists them" equal "$(ctl models --kind lora --json | jq -c '[.models[].name]')" '["ink","oil","xl"]'
check "with their families" grep -q '^xl  *sdxl ' <<<"$(ctl models --kind lora)"

plain=$(generate "penguin" --seed 42 --steps 6 | sha_of)
inked=$(generate "penguin" --seed 42 --steps 6 --lora ink:0.8)
check "a LoRA changes the image" test "$(sha_of <<<"$inked")" != "$plain"
before=$(packed)
check "the same again gives the same bytes" equal "$(generate "penguin" --seed 42 --steps 6 --lora ink:0.8 | sha_of)" "$(sha_of <<<"$inked")"
check "and merges nothing" equal "$(packed)" "$before"
check "in the prompt it is the same" equal "$(generate "penguin<lora:ink:0.8>" --seed 42 --steps 6 | sha_of)" "$(sha_of <<<"$inked")"
check "another weight is another image" test "$(generate "penguin" --seed 42 --steps 6 --lora ink:0.4 | sha_of)" != "$(sha_of <<<"$inked")"
check "without it the image is what it was" equal "$(generate "penguin" --seed 42 --steps 6 | sha_of)" "$plain"
unet=$(generate "penguin<lora:ink:te=0:unet=0.8>" --seed 42 --steps 6 | sha_of)
check "the UNet alone is another image" test "$unet" != "$(sha_of <<<"$inked")"
check "the UNet was there, and the plain text encoder" equal "$(packed)" "$((before + 2))"
both=$(generate "penguin" --seed 42 --steps 6 --lora ink:0.8 --lora oil:-0.5 | sha_of)
check "two at once" test "$both" != "$(sha_of <<<"$inked")"

file=$(jq -r '.results.files[0].path' <<<"$inked")
check "the image's recipe lists it" grep -aq '"loras": *\[{"name": *"ink", *"weight": *0.8' "$file"
check "A1111's text has the tag" grep -aq 'penguin <lora:ink:0.8>' "$file"

fast=$(generate "penguin" --seed 42 --steps 4 --scheduler lcm --guidance 1 --lora ink | sha_of)
check "with LCM and no guidance" test -n "$fast"
check "and with a little" test "$(generate "penguin" --seed 42 --steps 4 --scheduler lcm --guidance 1.5 --lora ink | sha_of)" != "$fast"

check "a LoRA that is not there is 422, and named" equal "$(refusal '{"prompt": "x <lora:nobody:1>"}')" \
  "422 OUT_OF_RANGE there is no lora \"nobody\" below $root/share/models:$models"
check "one of another family is 422, and says so" grep -q '^422 BAD_MODEL model emoji: LoRA xl does not fit' <<<"$(refusal '{"prompt": "x", "loras": [{"name": "xl"}]}')"
check "a tag that is none is 400" grep -q '^400 BAD_FIELD' <<<"$(refusal '{"prompt": "x <lora:ink:much>"}')"

check "heptctl lists embeddings" equal "$(ctl models --kind embedding --json | jq -c '[.models[] | [.name, .usable]]')" '[["ink-wash",true],["old",false],["xl-look",true]]'
washed=$(generate "penguin, ink-wash" --seed 42 --steps 6)
file=$(jq -r '.results.files[0].path' <<<"$washed")
check "a file's name in the prompt is an embedding" test -n "$(generate "penguin, embedding:ink-wash" --seed 42 --steps 6 | sha_of)"
check "its vectors are not its words" test "$(generate "penguin, ink-wash" --seed 42 --steps 6 --set embeddings='[]' | sha_of)" != "$(sha_of <<<"$washed")"
check "with a weight it is another image" test "$(generate "penguin, (ink-wash:1.4)" --seed 42 --steps 6 | sha_of)" != "$(sha_of <<<"$washed")"
check "the recipe lists it" grep -aq '"embeddings": *\["ink-wash"\]' "$file"
check "and says what was in it" grep -aqE '"embeddings_fingerprint": *"[0-9a-f]{64}"' "$file"
check "made again from the file" equal "$(ctl generate --from "$file" --json | sha_of)" "$(sha_of <<<"$washed")"
check "one that is not there is 422" equal "$(refusal '{"prompt": "embedding:nobody"}')" '422 OUT_OF_RANGE there is no embedding "nobody"'
check "one of another family is 422" grep -q '^422 BAD_MODEL embedding xl-look does not fit' <<<"$(refusal '{"prompt": "xl-look"}')"
check "a pickle is refused, and says what it is" grep -q '^[0-9]* UNSUPPORTED .*a pickle' <<<"$(refusal '{"prompt": "old"}')"

# Killed while it merges: the weights go each time, so that they are merged again.
check "given up" ctl call model.unload '{}' >/dev/null
for delay in 0 0.01 0.02 0.04; do # five deaths in 30 s are a crash loop
  session=$(ctl generate "penguin" --seed 42 --steps 6 --lora ink:0.8 --lora oil:-0.5 --no-wait)
  sleep "$delay"
  kill -KILL "$(domain_pid model)"
  check "killed after $delay s: the same bytes" equal "$(ctl wait "$session" --json | sha_of)" "$both"
  check "ready again" wait_ready
  check "given up again" ctl call model.unload '{}'
done
check "it stops" stop_daemon
check "nothing is left" nothing_left

start_daemon --set models.paths="$root/share/models:$models"
check "ready after a restart" wait_ready
check "the same bytes after a restart" equal "$(generate "penguin" --seed 42 --steps 6 --lora ink:0.8 --lora oil:-0.5 | sha_of)" "$both"
check "it stops again" stop_daemon
done_with
