#!/usr/bin/env bash
# The configuration of a daemon that runs: a port that is taken for a moment, a reload, a group that may look, and what only
# the supervisor may ask.
source "$(dirname "$0")/lib.sh"
chmod 0711 "$work" # for the user of the group

conf=$work/heptad.conf
write_conf() { printf '[log]\nfile = %s/heptad.log\nlevel = %s\n[http]\nport = %s\n%s\n' "$state" "$1" "$2" "${3:-}" >"$conf"; }
configured() { "$bin/heptad" --state "$state" --config "$conf" "$@"; }
log_has() { grep -qF -- "$1" "$state/heptad.log"; }
wait_for() { for _ in $(seq 100); do "$@" && return 0; sleep 0.05; done; return 1; }

# a port that another program has: said in its own words, tried again, and the door comes up by itself
hold_port() { exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => 0) or die; print $s->sockport, "\n"; close STDOUT; sleep 60' >"$work/port"; }
hold_port &
holder=$!
check "a port is held" wait_for test -s "$work/port"
port=$(cat "$work/port")
write_conf warning "$port"
check "it starts though the port is taken" configured
remember_prefix
taken() { { ctl status --json || true; } | jq -e '.domains[] | select(.domain == "communication") | .last_obituary | select((.cause | test("exit status 1: .*Address already in use")) and (.hint | test("http.port")))' >/dev/null; }
check "the cause is the domain's own" wait_for taken
kill "$holder"
wait "$holder" 2>/dev/null || true
comes_up() { # by itself; if the machine was so slow that all tries were used up, by a restart
  for _ in $(seq 150); do
    case $(domain_field communication state) in ready|busy) return 0 ;; failed) ctl restart communication >/dev/null ;; esac
    sleep 0.1
  done
  return 1
}
check "the door is there once the port is free" comes_up
check "it is ready" wait_ready
check "the door has the port" equal "$(http_port)" "$port"

# reload
write_conf info "$port"
check "a reload says what is in force now" equal "$(ctl reload --json | jq -c '.changes | map([.key, .to, .waits_for])')" '[["log.level","info",""]]'
write_conf info 1 "[sessions]
running_max = 7"
check "and what waits for whom" equal "$(ctl reload --json | jq -c '.changes | map([.key, .waits_for])')" '[["http.port","communication"],["sessions.running_max","heptad"]]'
write_conf loud "$port"
refused=0
ctl reload >"$work/said" 2>&1 || refused=$?
check "a bad file is exit status 125" equal "$refused" 125
check "with file, line and hint" grep -q "heptad.conf:3: log.level: \"loud\"" "$work/said"
check "and a hint" grep -q "debug|info" "$work/said"
check "the old configuration stays" equal "$(ctl call config.get --json | jq -r '.config["log.level"]')" info

# what is internal
refused=0
ctl call device.reserve '{"session":"ghost","memory_bytes":1000000}' >"$work/said" 2>&1 || refused=$?
check "an operator may not reserve" equal "$refused" 4
check "the error says how an engineer can" grep -q -- "--internal" "$work/said"
check "an engineer can" ctl call --internal device.reserve '{"session":"ghost","memory_bytes":1000000}'
none_reserved() { [ "$(ctl call device.get_memory --json | jq .reserved)" = 0 ]; }
check "what belongs to no session is taken back" wait_for none_reserved
# the rates of the machine: measured while nothing is to be done, until two agree
measured() { ctl call device.list --json | jq -e '.devices[0].gflops.f32 > 0' >/dev/null; }
wait_for measured || wait_for measured || true
check "matmul rates are measured when idle" measured
check "and kept" test -s "$state/device/device-rates.json"
check "it stops" stop_daemon
check "domains took the new level" log_has "info domain.draining domain=device"

# a group that may look
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
  group=nogroup
  write_conf info 0 "[instance]
group = $group"
  check "it starts with a group" configured
  check "it is ready" wait_ready
  as_member() { setpriv --reuid 65534 --regid 65534 --groups "$(getent group $group | cut -d: -f3)" "$bin/heptctl" --state "$state" "$@"; }
  check "a member may look" as_member status
  refused=0
  as_member stop >"$work/said" 2>&1 || refused=$?
  check "and may not stop it" equal "$refused" 4
  refused=0
  setpriv --reuid 65533 --regid 65533 --clear-groups "$bin/heptctl" --state "$state" status >/dev/null 2>&1 || refused=$?
  check "another may not look" test "$refused" != 0
  check "it stops" stop_daemon
fi
check "nothing is left" nothing_left
done_with
