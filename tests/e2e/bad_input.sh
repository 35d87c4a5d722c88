#!/usr/bin/env bash
# Bad requests and bad models: a clear error that names the thing, every domain alive, nothing half-loaded.
source "$(dirname "$0")/lib.sh"

models=$work/models
mkdir "$models"
cp -r "$root/share/models/emoji" "$models/good"
variant() { cp -r "$models/good" "$models/$1"; }
variant truncated && truncate -s 100000 "$models/truncated/unet/diffusion_pytorch_model.safetensors"
variant trailing && printf 'xxxx' >>"$models/trailing/vae/diffusion_pytorch_model.safetensors"
variant hugeheader && printf '\xff\xff\xff\xff\xff\xff\xff\x7f' | dd of="$models/hugeheader/unet/diffusion_pytorch_model.safetensors" conv=notrunc status=none
variant nofile && rm "$models/nofile/text_encoder/model.safetensors"
variant noconfig && rm "$models/noconfig/unet/config.json"
variant badvalue && sed -i 's/"act_fn": "silu"/"act_fn": "tanhshrink"/' "$models/badvalue/unet/config.json"
variant badshape && sed -i 's/"cross_attention_dim": 192/"cross_attention_dim": 190/' "$models/badshape/unet/config.json"
variant badjson && printf '{"a":' >"$models/badjson/model_index.json"
variant badvocab && printf '{}' >"$models/badvocab/tokenizer/vocab.json"
variant notokenizer && rm -r "$models/notokenizer/tokenizer"
variant noscheduler && sed -i 's/"_class_name": "[A-Za-z]*"/"_class_name": "FooScheduler"/' "$models/noscheduler/scheduler/scheduler_config.json"
variant flux && sed -i 's/StableDiffusionPipeline/FluxPipeline/' "$models/flux/model_index.json"
variant missing && sed -i 's/"conv_out.weight"/"conv_0ut.weight"/' "$models/missing/unet/diffusion_pytorch_model.safetensors"
variant swish && sed -i 's/"hidden_act": "[a-z_]*"/"hidden_act": "swish"/' "$models/swish/text_encoder/config.json"

start_daemon --set "models.paths=$models" --set models.default=good
check "ready with broken models about" wait_ready
remember_prefix
pids=$(ctl status --json | jq -c '[.domains[].pid]')

execute() { ctl call workflow.execute "{\"workflow_id\":\"txt2img\",\"configuration\":$1}" --json 2>&1 || true; }
refused() { # WHAT JSON CODE [FIELD]
  local reply
  reply=$(execute "$2")
  check "$1: is refused with $3 (got: $(head -c 300 <<<"$reply"))" equal "$(jq -r '.error.code // .code' <<<"$reply" 2>/dev/null)" "$3"
  [ $# -lt 4 ] || check "$1: the field is named (got: $(head -c 300 <<<"$reply"))" equal "$(jq -r '.error.field // .field' <<<"$reply")" "$4"
  check "$1: there is a message" test -n "$(jq -r '.error.message // .message' <<<"$reply")"
}
refused "no prompt" '{}' MISSING_FIELD prompt
refused "unknown field" '{"prompt":"x","promt":"y"}' UNKNOWN_FIELD promt
refused "wrong type" '{"prompt":7}' BAD_FIELD prompt
refused "size 0" '{"prompt":"x","width":0}' OUT_OF_RANGE width
refused "size 100000" '{"prompt":"x","height":100000}' OUT_OF_RANGE height
refused "not a multiple of the VAE's factor" '{"prompt":"x","width":66}' OUT_OF_RANGE width
refused "steps 0" '{"prompt":"x","num_inference_steps":0}' OUT_OF_RANGE num_inference_steps
refused "guidance as text" '{"prompt":"x","guidance_scale":"NaN"}' BAD_FIELD guidance_scale
refused "a negative seed" '{"prompt":"x","seed":-2}' OUT_OF_RANGE seed
check "a negative seed: the range is told" grep -qF '2^64 - 1' <<<"$(execute '{"prompt":"x","seed":-2}')"
refused "a negative seed as text" '{"prompt":"x","seed":"-2"}' OUT_OF_RANGE seed
refused "an unknown model" '{"prompt":"x","model":"nobody"}' NOT_FOUND model
refused "an unknown scheduler" '{"prompt":"x","scheduler":"magic"}' OUT_OF_RANGE scheduler
check "NaN is no JSON" bash -c "! '$bin/heptctl' --state '$state' call workflow.execute '{\"workflow_id\":\"txt2img\",\"configuration\":{\"prompt\":\"x\",\"guidance_scale\":NaN}}'"
head -c 1000000 /dev/zero | tr '\0' a >"$work/long"
check "1 MB of prompt is refused" bash -c "! '$bin/heptctl' --state '$state' generate \"\$(head -c 120000 '$work/long')\" 2>'$work/err' && grep -qiE 'prompt|large|bytes' '$work/err'"
check "invalid UTF-8 is refused" bash -c "! '$bin/heptctl' --state '$state' generate \$'caf\\xe9' 2>'$work/err' && grep -qi 'utf-8' '$work/err'"

port=$(http_port)
post() { curl -s -o "$work/body" -w '%{http_code}' -X POST "http://127.0.0.1:$port/api/processing/workflows/execute" "$@"; }
check "HTTP: bad JSON is 400" equal "$(post -d '{"a":')" 400
check "HTTP: 1 MB of prompt is 4xx" bash -c "[[ $(printf '{"workflow_id":"txt2img","configuration":{"prompt":"%s"}}' "$(cat "$work/long")" >"$work/big"; post --data-binary "@$work/big") == 4* ]]"
check "HTTP: out of range is 422" equal "$(post -d '{"workflow_id":"txt2img","configuration":{"prompt":"x","width":0}}')" 422
check "HTTP: the error names the field" equal "$(jq -r .error.field "$work/body")" width
printf '{"workflow_id":"txt2img","configuration":{"prompt":"%s"}}' "$(head -c 1048576 /dev/zero | tr '\0' a)" >"$work/big"
check "HTTP: 1 MiB of prompt is 413" equal "$(post --data-binary "@$work/big")" 413
check "HTTP: 1 MiB of prompt: the limit and the field are told" equal "$(jq -r '.error | "\(.field) \(.message | test("at most 1048576"))"' "$work/body")" "prompt true"
check "HTTP: NUL in a prompt is 400" equal "$(post -d '{"workflow_id":"txt2img","configuration":{"prompt":"a\u0000"}}')" 400
check "HTTP: NUL in a prompt: the field is told" equal "$(jq -r '.error | "\(.code) \(.field)"' "$work/body")" "BAD_FIELD prompt"
check "HTTP: a seed past 64 bits is 422" equal "$(post -d '{"workflow_id":"txt2img","configuration":{"prompt":"x","seed":18446744073709551616}}')" 422
check "HTTP: a seed past 64 bits: the field is told" equal "$(jq -r .error.field "$work/body")" seed
check "HTTP: a negative seed is 422" equal "$(post -d '{"workflow_id":"txt2img","configuration":{"prompt":"x","seed":-2}}')" 422
check "HTTP: a negative seed: field and range are told" equal "$(jq -r '.error | "\(.field) \(.message | test("0 to 2\\^64 - 1"))"' "$work/body")" "seed true"
check "HTTP: unknown path is 404" equal "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/nothing")" 404
check "HTTP: a foreign Host is refused" equal "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: evil.example' "http://127.0.0.1:$port/api/status")" 403
check "HTTP: healthz" equal "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/healthz")" 200
check "HTTP: readyz" equal "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/readyz")" 200

before=$(ls /dev/shm | grep -cF "$(instance_prefix)" || true)
broken="truncated trailing hugeheader nofile noconfig badvalue badshape badjson badvocab notokenizer noscheduler flux missing swish"
for model in $broken; do
  reply=$(ctl call model.load "{\"model\":\"$model\"}" --json 2>&1 || true)
  code=$(jq -r '.error.code // .code // "none"' <<<"$reply")
  check "$model: is refused (got: $(head -c 300 <<<"$reply"))" bash -c "[[ $code == BAD_* || $code == UNSUPPORTED || $code == NOT_FOUND ]]"
done
check "broken models left no segment" equal "$(ls /dev/shm | grep -cF "$(instance_prefix)" || true)" "$before"
refused "a request with a broken model" '{"prompt":"x","model":"truncated"}' BAD_FILE
check "none of them is listed as usable" equal "$(ctl models --json | jq -r '[.models[] | select(.usable) | .name] | join(" ")')" good
check "the listing says why" test -n "$(ctl models --json | jq -r '.models[] | select(.name == "truncated") | .problem.message')"
refused "a request with a broken tokenizer" '{"prompt":"x","model":"badvocab"}' BAD_MODEL
refused "a request for another pipeline" '{"prompt":"x","model":"flux"}' UNSUPPORTED

check "every domain is the same process as before" equal "$(ctl status --json | jq -c '[.domains[].pid]')" "$pids"
check "a seed of 64 bits, as a number, is taken" equal "$(post -d '{"workflow_id":"txt2img","configuration":{"prompt":"x","steps":1,"seed":18446744073709551615}}')" 202
made=$(generate "a red apple" --seed 7 --steps 4)
check "a good request works" equal "$(jq -r .status <<<"$made")" completed
check "it stops" stop_daemon
check "nothing is left" nothing_left
done_with
