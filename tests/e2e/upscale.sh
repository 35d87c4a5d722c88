#!/usr/bin/env bash
# Larger and better images: by a network and by a filter, of a generated image and of one that was given; the same bytes
# when heptad-postprocessing is killed in the middle; what cannot be is refused.
source "$(dirname "$0")/lib.sh"

models=$work/models esrgan=$root/tests/golden/data/models/tiny-esrgan
mkdir -p "$models/upscalers"
ln -s "$root/share/models/emoji" "$models/emoji"
cp "$esrgan/tiny-esrgan-x4.safetensors" "$models/upscalers/four.safetensors"
cp "$esrgan/tiny-esrgan-x2.safetensors" "$models/upscalers/two.safetensors"
head -c 4000 "$esrgan/tiny-esrgan-x2.safetensors" >"$models/upscalers/cut.safetensors"

refused_early() { ! "$@" >/dev/null 2>&1; }
file_of() { jq -r '.results.files[0].path'; }
size_of() { jq -r '.results.files[0] | "\(.width)x\(.height)"'; }
text_of() { python3 - "$1" "$2" <<'EOF'
import struct, sys
data, at = open(sys.argv[1], "rb").read(), 8
while at < len(data):
    size, kind = struct.unpack(">I4s", data[at:at + 8])
    body = data[at + 8:at + 8 + size]
    if kind in (b"tEXt", b"iTXt") and body.split(b"\0")[0].decode() == sys.argv[2]:
        print(body.split(b"\0")[-1].decode())
    at += size + 12
EOF
}

# The same work as one call: what a pipeline does, beside what the steps do one by one.
cp -r "$root/etc/workflows" "$work/workflows"
cat >"$work/workflows/pipelined.json" <<'EOF'
{"workflow_id": "pipelined", "extends": "txt2img",
 "steps": {"image": null, "larger": null, "better": null, "judged": null,
   "file": {"operation": "pipeline", "parameters": {"image": null, "safety": null, "recipe": {"tile": 0},
     "operations": ["decode", "upscale", "enhance", "encode"], "vae": "${weights.vae}", "latents": "${denoise.latents}", "tile": "${tile}",
     "upscaler": "${enlarger.upscaler}", "scale": "${upscale}", "denoise": "${noise_reduction}", "color_match": "${color_match}",
     "reference": "${colours.image}", "contrast": "${contrast}", "sharpen": "${sharpen}"}}}}
EOF
cat >"$work/workflows/upscale-pipelined.json" <<'EOF'
{"workflow_id": "upscale-pipelined", "extends": "upscale",
 "steps": {"larger": null, "better": null,
   "file": {"operation": "pipeline", "parameters": {"image": null, "operations": ["upscale", "enhance", "encode"], "source": "${image.image}",
     "upscaler": "${enlarger.upscaler}", "scale": "${upscale}", "sharpen": "${sharpen}"}}}}
EOF

start_daemon --set models.paths="$models" --set workflows.dir="$work/workflows"
check "ready" wait_ready
remember_prefix
check "the upscalers are listed" equal "$(ctl models --kind upscaler --json | jq -c '[.models[] | [.name, .scale, .usable]]')" \
  '[["cut",0,false],["four",4,true],["two",2,true]]'

# ---- of a generated image
ask=("penguin" --seed 42 --steps 8)
plain=$(generate "${ask[@]}")
check "no upscaling unless asked for" equal "$(size_of <<<"$plain")" 64x64
four=$(generate "${ask[@]}" --upscaler four)
check "an upscaler enlarges as it does" equal "$(size_of <<<"$four")" 256x256
check "the same request gives the same bytes" equal "$(generate "${ask[@]}" --upscaler four | sha_of)" "$(sha_of <<<"$four")"
check "to another factor" equal "$(generate "${ask[@]}" --upscaler two --upscale 3.5 | size_of)" 224x224
check "by a filter" equal "$(generate "${ask[@]}" --upscale 2 | size_of)" 128x128
sharp=$(generate "${ask[@]}" --set sharpen=0.5 --set noise_reduction=0.2 --set contrast=0.1)
check "better, not larger" equal "$(size_of <<<"$sharp")" 64x64
check "and not the same" test "$(sha_of <<<"$sharp")" != "$(sha_of <<<"$plain")"
both=$(generate "${ask[@]}" --upscaler four --set sharpen=0.5 --count 2)
check "larger and better" equal "$(size_of <<<"$both")" 256x256
check "the same in one call" equal "$(generate "${ask[@]}" --workflow pipelined --upscaler four --set sharpen=0.5 --count 2 | sha_of)" "$(sha_of <<<"$both")"
check "two of them" equal "$(sha_of <<<"$both" | sort -u | wc -l)" 2
check "the recipe says how" equal "$(text_of "$(file_of <<<"$both")" heptad | jq -c '[.workflow_id, .upscaler, .sharpen, .width]')" \
  '["txt2img","four",0.5,64]'
check "A1111's text has the size before" grep -q "Size: 64x64,.* Postprocess upscaler: four" <<<"$(text_of "$(file_of <<<"$four")" parameters)"

# ---- the request out of the image
second=$(jq -r '.results.files[1].path' <<<"$both")
check "the recipe is a request" equal "$(ctl recipe "$second" | jq -c '[.workflow_id, .configuration.seed, .configuration.count, .made_with.dtype != null]')" \
  '["txt2img",43,1,true]'
check "which is taken as it is" ctl call workflow.validate "$(ctl recipe "$second" | jq 'del(.made_with)')"
for made in "$four" "$sharp" "$(generate "${ask[@]}" --format jpeg --scheduler "DPM++ 2M Karras" --negative blurry)" \
  "$(generate "${ask[@]}" --format webp --set clip_skip=2)"; do
  check "the same image again" equal "$(ctl generate --from "$(file_of <<<"$made")" --json | sha_of)" "$(sha_of <<<"$made")"
done
check "one of several again" equal "$(ctl generate --from "$second" --json | sha_of)" "$(sha_of <<<"$both" | sed -n 2p)"
check "what else is said goes before" equal "$(ctl generate apple --from "$second" --upscale 2 --json | size_of)" 128x128

# ---- of a given one
given=$(file_of <<<"$plain")
large=$(ctl upscale "$given" --upscaler four --json)
check "a file becomes larger" equal "$(size_of <<<"$large")" 256x256
check "to a width" equal "$(ctl upscale "$given" --width 100 --json | size_of)" 100x100
check "as JPEG" equal "$(ctl upscale "$given" --scale 1.5 --format jpeg --json | size_of)" 96x96
deep=$(ctl upscale "$given" --upscaler two --set sharpen=0.5 --format png16 --json)
is_deep() { python3 -B -c 'import sys; sys.path.insert(0, sys.argv[1]); import inputs; sys.exit(not inputs.is_deep(open(sys.argv[2], "rb").read()))' "$root/tests/e2e" "$1"; }
check "with 16 bits, what the network gives is not rounded to 8" is_deep "$(file_of <<<"$deep")"
check "its recipe has the format" equal "$(ctl recipe "$(file_of <<<"$deep")" | jq -c '[.workflow_id, .configuration.format]')" '["upscale","png16"]'
for workflow in upscale upscale-pipelined; do
  check "$workflow makes it again" equal "$(ctl generate --from "$(file_of <<<"$deep")" --workflow $workflow --json | sha_of)" "$(sha_of <<<"$deep")"
done
apple=$(generate apple --seed 3 --steps 8)
seen=$(ctl recipe "$(ctl upscale "$(file_of <<<"$apple")" --scale 2 --json | file_of)" | jq -r .configuration.input)
check "an input is named by its bytes" equal "$seen" "$(sha_of <<<"$apple")"
generated=$(generate "${ask[@]}" --set color_match=1 --set reference="$seen")
check "colours of another image, as it is generated" test "$(sha_of <<<"$generated")" != "$(sha_of <<<"$plain")"
check "with the name of that image in the recipe" equal "$(text_of "$(file_of <<<"$generated")" heptad | jq -r .reference)" "$seen"
again=$(generate "${ask[@]}" --set color_match=1 --set reference=@"$(file_of <<<"$apple")")
check "a file is given by its path" equal "$(jq -r .configuration.reference <<<"$again") $(sha_of <<<"$again")" "$seen $(sha_of <<<"$generated")"
matched=$(ctl upscale "$given" --set color_match=1 --set reference="$seen" --json)
check "colours of another" test "$(sha_of <<<"$matched")" != "$(sha_of <<<"$plain")"
check "colours, without the other" refused_early ctl upscale "$given" --set color_match=1
check "it is written where it should be" ctl upscale "$given" --scale 2 --out "$work/larger.webp"
check "as a WebP" equal "$(head -c 12 "$work/larger.webp" | tail -c 4)" WEBP

# ---- what cannot be
refused() { # WORDS COMMAND…
  local words=$1
  shift
  if "$@" >"$work/refused" 2>&1; then cat "$work/refused"; return 1; fi
  grep -q "$words" "$work/refused" || { cat "$work/refused"; return 1; }
}
check "an upscaler that is not there" refused "four, two" ctl generate "${ask[@]}" --upscaler none
check "one that is broken" refused "cut.safetensors" ctl generate "${ask[@]}" --upscaler cut
check "a size past the limit" refused "at most 16 is allowed" ctl upscale "$given" --scale 17
check "a size said twice" refused "one of them" ctl upscale "$given" --width 100 --scale 2
check "16 bits of an image that has 8" refused "have 8 bits" ctl upscale "$given" --format png16
check "no recipe" refused "no PNG, JPEG or WebP" ctl recipe "$root/README.md"
check "no prompt" refused "PROMPT is missing" ctl generate
check "no image" refused "PNG" ctl upscale "$root/README.md" --scale 2

# ---- killed in the middle, at several moments, until one was while it upscaled
hits() { ctl incidents --json | jq '[.. | .operation? | select(. == "upscale")] | length'; }
whole=$(ctl upscale "$given" --upscaler four --scale 16 --set sharpen=0.5 --json | sha_of)
for n in 1 2 3 4 5 6 7 8 9; do
  old=$(domain_pid postprocessing)
  session=$(ctl upscale "$given" --upscaler four --scale 16 --set sharpen=0.5 --no-wait)
  for _ in $(seq 2000); do
    ctl session "$session" --json | grep -A12 '"larger"' | grep -q '"running"' && break
    sleep 0.002
  done
  [ "$n" -gt 3 ] || sleep "0.0$n"
  kill -KILL "$old"
  done_json=$(ctl wait "$session" --json)
  check "after kill $n: completed" equal "$(jq -r .status <<<"$done_json")" completed
  check "after kill $n: the same bytes" equal "$(sha_of <<<"$done_json")" "$whole"
  check "after kill $n: ready again" wait_ready
  check "after kill $n: a new process" test "$(domain_pid postprocessing)" != "$old"
  [ "$n" -lt 3 ] || [ "$(hits)" -lt 1 ] || break
  sleep 1
done
check "it was killed while it upscaled" test "$(hits)" -ge 1

old=$(domain_pid model)
kill -KILL "$old"
check "after killing model: the same bytes" equal "$(ctl upscale "$given" --upscaler four --json | sha_of)" "$(sha_of <<<"$large")"
check "nothing holds an upscaler now" ctl call model.unload '{"model":"upscaler:four"}'
check "it stops" stop_daemon
check "nothing is left" nothing_left
done_with
