# Shared by the end-to-end tests: a daemon of one's own in a temporary folder, and the checks that every test ends with.
# Sourced; expects HEP_BIN (build/bin) and HEP_ROOT (the source tree).
set -euo pipefail
bin=${HEP_BIN:?folder of the binaries}
root=${HEP_ROOT:?source tree}
work=$(mktemp -d /tmp/heptad-e2e-XXXXXX)
state=$work/state
mkdir -m 0700 "$state"
checks=0

say() { printf '%s\n' "$*"; }
die() { say "FAILED: $*" >&2; [ -f "$state/heptad.log" ] && tail -40 "$state/heptad.log" >&2; exit 1; }
check() { # check "what is true" command…
  local what=$1
  shift
  if "$@" >"$work/check.out" 2>&1; then checks=$((checks + 1)); else cat "$work/check.out" >&2; die "$what"; fi
}
equal() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }

ctl() { "$bin/heptctl" --state "$state" "$@"; }
start_daemon() { "$bin/heptad" --state "$state" --set http.port=0 --set log.level=info "$@"; }
wait_ready() {
  for _ in $(seq 300); do
    [ "$(ctl status --json 2>/dev/null | jq -r .state)" = ready ] && return 0
    sleep 0.1
  done
  ctl status >&2 || true
  return 1
}
stop_daemon() {
  ctl stop >/dev/null 2>&1 || return 1
  for _ in $(seq 300); do
    daemon_processes | grep -q . || return 0
    sleep 0.1
  done
  return 1
}
daemon_processes() { pgrep -f -- "--state(-dir)? $state( |$)" || true; }
domain_pid() { ctl status --json | jq -r --arg d "$1" '.domains[] | select(.domain == $d) | .pid'; }
domain_field() { ctl status --json | jq -r --arg d "$1" --arg f "$2" '.domains[] | select(.domain == $d) | .[$f]'; }
http_port() { ctl call communication.listen --json | jq -r .port; }
# generate PROMPT ARG… → the session as JSON on standard output
generate() { ctl generate "$@" --json; }
sha_of() { jq -r '.results.files[].sha256' ; }

segments() { find /dev/shm -maxdepth 1 -name "hep.*" -newer "$work" -user "$(id -un)" 2>/dev/null | grep -F "$(instance_prefix)" || true; }
instance_prefix() { cat "$work/prefix" 2>/dev/null || echo no-such-prefix; }
remember_prefix() { # of this daemon's segments, while it can be asked
  ctl status --json | jq -r '"hep.\(.instance)."' >"$work/prefix"
}
nothing_left() {
  local left
  left=$(daemon_processes)
  [ -z "$left" ] || { echo "processes left: $left"; return 1; }
  left=$(segments)
  [ -z "$left" ] || { echo "segments left: $left"; return 1; }
  left=$(find "$state" -type s)
  [ -z "$left" ] || { echo "sockets left: $left"; return 1; }
  left=$(find "$state" -name '*.part' -o -name '.*.part')
  [ -z "$left" ] || { echo "temporary files left: $left"; return 1; }
}
finish() {
  local status=$?
  trap - EXIT
  ctl stop >/dev/null 2>&1 || true
  pkill -KILL -f -- "--state(-dir)? $state( |$)" 2>/dev/null || true
  for segment in $(segments); do rm -f "$segment"; done
  [ $status -eq 0 ] && rm -rf "$work" || say "left in $work" >&2
  exit $status
}
trap finish EXIT
done_with() { say "$checks checks passed"; }
