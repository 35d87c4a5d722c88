#!/usr/bin/env bash
# The unit under systemd itself: a systemd boots as the first process of a root of its own, a service in there does what is at
# the end of this file. Skipped where that cannot be (no root, no namespaces, no cgroup2, no systemd).
set -euo pipefail
[ "${1:-}" = --booted ] || source "${HEP_ROOT:?source tree}/tests/e2e/package_lib.sh"

boot() { # WORK
  enter_root "$1"
  umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup || { echo "no cgroup2" >"/package_test/host$1/skipped"; exit 77; }
  rm -f /etc/machine-id
  cat >/etc/systemd/system/package-test.service <<UNIT
[Unit]
After=basic.target dbus.service
Wants=dbus.service
[Service]
Type=oneshot
ExecStart=/bin/bash -c '/bin/bash /package_test/package_systemd.sh --booted; systemctl exit \$?'
StandardOutput=file:/package_test/host$1/said
StandardError=inherit
TimeoutStartSec=200
UNIT
  printf '[Unit]\nRequires=basic.target\nWants=package-test.service\nAllowIsolate=yes\n' >/etc/systemd/system/package-test.target
  exec env -i container=unshare PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --unit=package-test.target --show-status=no \
    --log-target=null >"/package_test/host$1/systemd.log" 2>&1
}

if [ "${1:-}" = --in-namespaces ]; then boot "$2"; fi
if [ "${1:-}" != --booted ]; then
  [ -x /lib/systemd/systemd ] || skip "systemd is not installed"
  make_package
  status=0
  timeout -k 5 150 "${namespaces[@]}" bash "$0" --in-namespaces "$work" || status=$?
  [ ! -e "$work/skipped" ] || skip "$(cat "$work/skipped")"
  [ -e "$work/said" ] || { cat "$work/systemd.log" >&2; skip "systemd does not boot in this sandbox (exit status $status)"; }
  cat "$work/said"
  exit $status
fi

# ---- booted ------------------------------------------------------------------------------------------------------------
source /package_test/package_checks.sh
of() { systemctl show -P "$1" heptad; }
is_now() { # PROPERTY VALUE, within 10 s
  for _ in $(seq 100); do [ "$(of "$1")" = "$2" ] && return 0; sleep 0.1; done
  echo "$1 is $(of "$1"), not $2"
  return 1
}

mkdir -p /etc/systemd/system/heptad.service.d
printf '[Service]\nWatchdogSec=4\n' >/etc/systemd/system/heptad.service.d/test.conf # as the unit says, but sooner
section "install"
check "it installs" install_package first.deb
check "systemd has started it" is_now ActiveState active
check "and hears its first line" is_now StatusText ready
check "ready" wait_ready
check "eight processes in its group" equal "$(wc -l </sys/fs/cgroup/system.slice/heptad.service/cgroup.procs)" 8
check "all of them under the filter of system calls" equal "$(cat /proc/$(of MainPID)/status /proc/$(pgrep heptad-inferenc)/status | awk '/^(NoNewPrivs|Seccomp):/ { printf "%s ", $2 }')" "1 2 1 2 "
made=$(heptctl generate penguin --seed 42 --steps 80 --json)
whole="completed $(jq -r '.results.files[0].sha256' <<<"$made")"
check "it generates under the unit's confinement" equal "$(jq -r .status <<<"$made")" completed
check "the unit has no privilege" equal "$(awk '/^CapEff/ { print $2 }' /proc/"$(of MainPID)"/status)" 0000000000000000

section "a dead supervisor is started again"
check "a session denoises" denoise
kill -KILL "$(of MainPID)"
check "started once more" is_now NRestarts 1
check "the session goes on to the same bytes" equal "$(result "$session")" "$whole"

section "a hung one too"
check "ready" wait_ready
check "a session denoises" denoise
kill -STOP "$(of MainPID)"
check "the watchdog has it started once more" is_now NRestarts 2
check "the session goes on to the same bytes" equal "$(result "$session")" "$whole"
pid=$(of MainPID)
kill -KILL "$(pgrep heptad-device)"
kill -STOP "$(pgrep heptad-schedule)"
sleep 6
check "a domain that dies or hangs does not starve the watchdog" equal "$(of MainPID)" "$pid"
kill -KILL "$(pgrep heptad-schedule)"
check "ready" wait_ready

section "reload"
check "reload" systemctl reload heptad
check "ready" wait_ready
cp -p /etc/heptad/heptad.conf good.conf
printf '[http]\nport = many\n' >>/etc/heptad/heptad.conf
check "a bad file is refused" exits 1 systemctl reload heptad
check "the old one stays in force" equal "$(of ActiveState) $(of MainPID)" "active $pid"

section "stop and start"
check "a session denoises" denoise
check "stop" systemctl stop heptad
check "was orderly" equal "$(of Result) $(of ExecMainStatus) $(of ActiveState)" "success 0 inactive"
check "a wrong configuration is not tried again" bash -c '! systemctl start heptad && sleep 1 && [ "$(systemctl show -P ExecMainStatus heptad) $(systemctl show -P NRestarts heptad)" = "125 0" ]'
cp -p good.conf /etc/heptad/heptad.conf
check "start" systemctl start heptad
check "the session goes on to the same bytes" equal "$(result "$session")" "$whole"
check "the init script goes through systemd" exits 0 service heptad status

section "purge"
check "purge" dpkg --force-unsafe-io -P heptad
rm -r /etc/systemd/system/heptad.service.d
check "nothing is left" nothing_left
section "$checks checks passed"
