#!/usr/bin/env bash
# The HTTP API on a real daemon: waiting, a session's events against what the store has, routed requests, lists, the same
# key again after a restart.
source "$(dirname "$0")/lib.sh"

start_daemon
check "ready" wait_ready
remember_prefix
base=http://127.0.0.1:$(http_port)
api() { curl -s -m 60 "$@"; }
status_of() { api -o "$work/body" -D "$work/headers" -w '%{http_code}' "$@"; }
request() { api "$base/api/processing/request$2" -d "$1"; }
body='{"workflow_id":"txt2img","configuration":{"prompt":"pizza","seed":3,"num_inference_steps":12}}'

check "a waiting request is answered with the finished session" equal "$(status_of "$base/api/processing/workflows/execute?wait=60" -d "$body")" 200
check "it has its image" equal "$(jq -r '.status + " " + (.results.files | length | tostring)' "$work/body")" "completed 1"
check "without waiting it is accepted" equal "$(status_of "$base/api/processing/workflows/execute" -H 'Idempotency-Key: a' -d "$body")" 202
first=$(jq -r .session_id "$work/body")
check "Location" grep -qi "^location: /api/processing/sessions/$first" "$work/headers"

# its stream, twice from the beginning and once broken in the middle, against what the operator sees
events=$base/api/processing/sessions/$first/events
api -N "$events" >"$work/stream"
ids() { sed -n 's/^id: //p' "$1" | tr '\n' ' '; }
ctl events --json --after 0 --limit 500 | jq -r "select(.session == \"$first\") | .seq" | tr '\n' ' ' >"$work/seqs"
check "heptctl shows the same" equal "$(ctl events --json --session "$first" | jq -r .seq | tr '\n' ' ')" "$(cat "$work/seqs")"
check "and the last of some names" equal "$(ctl events --json --types session.accepted,domain.* --limit 1 | jq -r .name)" session.accepted
check "the stream ends with the session's end" grep -q '"to":"completed"' "$work/stream"
check "the stream has each of its events once, in order" equal "$(ids "$work/stream")" "$(cat "$work/seqs")"
middle=$(sed -n 's/^id: //p' "$work/stream" | sed -n 9p)
api -N -H "Last-Event-ID: $middle" "$events" >"$work/rest"
check "and its rest after a break" equal "$(ids "$work/rest")" "$(cut -d' ' -f10- "$work/seqs")"
check "steps are events" grep -q '^event: session.progress' "$work/stream"
check "of a type" equal "$(api -N "$events?types=session.state" | grep -c '^event: ')" 2
last=$(sed -n 's/^id: //p' "$work/stream" | tail -1)
check "after its end there is nothing" equal "$(status_of -H "Last-Event-ID: $last" "$events")" 204

api "$base/api/openapi.json" >"$work/openapi.json"
check "the document describes the answers" equal "$(jq -r '.openapi, .paths["/api/processing/sessions/{session_id}"].get.responses["200"].content["application/json"].schema["$ref"], .components.schemas.session_get_reply.properties.status.enum[0]' "$work/openapi.json" | tr '\n' ' ')" "3.1.0 #/components/schemas/session_get_reply queued "
check "a routed request" equal "$(request '{"type":"scheduler.list","request_id":"7"}' '' | jq -r '.request_id, .success, (.data.schedulers | length > 10)' | tr '\n' ' ')" "7 true true "
check "what needs an operator says so" equal "$(request '{"type":"daemon.stop","request_id":"8"}' '' | jq -r '.success, .error.code, (.error.message | test("permission of operator"))' | tr '\n' ' ')" "false NOT_ALLOWED true "
check "an error as text" equal "$(request '{"type":"session.get","data":{"session_id":"x"},"error_format":"string"}' '' | jq -r '.error | startswith("NOT_FOUND: ")')" true
check "routed work is waited for" equal "$(request "{\"type\":\"workflow.execute\",\"data\":$body}" '?wait=60' | jq -r .data.status)" completed

now=$(date -u +%Y-%m-%dT%H:%M:%SZ -d '+1 hour')
check "all three are listed" equal "$(api "$base/api/processing/sessions?workflow_id=txt2img&created_before=$now&status=completed" | jq '.sessions | length')" 3
check "none of another workflow" equal "$(api "$base/api/processing/sessions?workflow_id=other" | jq '.sessions | length')" 0
page=$(api "$base/api/processing/sessions?limit=2" | jq -r .next_cursor)
check "the second page" equal "$(api "$base/api/processing/sessions?limit=2&cursor=$page" | jq -r '(.sessions | length), .next_cursor' | tr '\n' ' ')" "1 null "
check "heptctl lists the same" equal "$(ctl sessions --json --limit 2 --cursor "$page" --after 1h | jq '.sessions | length')" 1

check "a stop" stop_daemon
start_daemon
check "ready again" wait_ready
base=http://127.0.0.1:$(http_port)
check "the same key after a restart" equal "$(status_of "$base/api/processing/workflows/execute" -H 'Idempotency-Key: a' -d "$body")" 202
check "gives the same session" equal "$(jq -r '.session_id, .created' "$work/body" | tr '\n' ' ')" "$first false "
check "another body is a conflict" equal "$(status_of "$base/api/processing/workflows/execute" -H 'Idempotency-Key: a' -d "${body/pizza/tiger}")" 409
api -N "$base/api/processing/sessions/$first/events" >"$work/after"
check "its stored events are still there" equal "$(grep -c '^event: session.state' "$work/after")" 2

# an operator by HTTP: who shows the supervisor his token, which the door itself does not know
put() { status_of -X PUT "$base/api/processing/workflows/mine" -H 'Content-Type: application/json' -d "$workflow" "$@"; }
workflow=$(jq -c '{workflow: (.workflow_id = "mine")}' "$root/etc/workflows/describe-status.json")
check "a client puts no workflow" equal "$(put)" 403
check "nobody has an operator's token" equal "$(put -H 'X-Heptad-Operator: 0123456789abcdef')" 403
check "a stop" stop_daemon
(umask 077 && echo an-operator-s-token >"$work/operator")
start_daemon --set "http.operator_token_file=$work/operator"
check "ready with an operator's token" wait_ready
base=http://127.0.0.1:$(http_port)
check "a wrong token is refused" equal "$(put -H 'X-Heptad-Operator: 0123456789abcdef')" 403
check "and says so" equal "$(jq -r .error.field "$work/body")" X-Heptad-Operator
check "an operator puts a workflow" equal "$(put -H 'X-Heptad-Operator: an-operator-s-token')" 200
check "it is there" equal "$(status_of "$base/api/processing/workflows/mine")" 200
check "a client does not delete it" equal "$(status_of -X DELETE "$base/api/processing/workflows/mine")" 403
check "an operator does" equal "$(status_of -X DELETE "$base/api/processing/workflows/mine" -H 'X-Heptad-Operator: an-operator-s-token')" 200
check "it is gone" equal "$(status_of "$base/api/processing/workflows/mine")" 404
check "the token is in no log" equal "$(grep -c an-operator-s-token "$state/heptad.log" || true)" 0
echo another-operators-token >"$work/operator"
check "a reload" ctl reload
check "reads the token again" equal "$(put -H 'X-Heptad-Operator: an-operator-s-token')" 403
check "stop" stop_daemon
check "nothing is left" nothing_left
done_with
