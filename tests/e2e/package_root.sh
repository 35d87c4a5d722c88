#!/usr/bin/env bash
# Inside the root that package.sh has made: what an administrator and two users do with the package. alice is in the group
# heptad, bob is nobody in particular.
set -euo pipefail
source /package_test/package_checks.sh

as() { runuser -u "$1" -- env -u HOME "${@:2}"; }
about() { stat -c '%U:%G %a' "$1"; }
supervisor() { heptad --state /var/lib/heptad --status | sed -n 's/^running pid=//p'; }
processes() { pgrep -u heptad -a || true; }
segments() { find /dev/shm -name 'hep.*'; }

section "install"
check "it installs" install_package first.deb
getent group heptad >/dev/null || die "no group heptad"
useradd --groups heptad alice
useradd bob
while read -r path wanted; do
  check "$path is $wanted" equal "$(about "$path")" "$wanted"
done <<'END'
/etc/heptad/heptad.conf root:root 644
/etc/heptad/workflows/txt2img.json root:root 644
/etc/default/heptad root:root 644
/etc/init.d/heptad root:root 755
/usr/sbin/heptad root:root 755
/usr/bin/heptad-inference root:root 755
/usr/bin/heptctl root:root 755
/usr/lib/systemd/system/heptad.service root:root 644
/var/lib/heptad heptad:heptad 700
/var/log/heptad heptad:heptad 750
/var/log/heptad/heptad.log heptad:heptad 640
/run/heptad heptad:heptad 750
/run/heptad/control.sock heptad:heptad 660
/run/heptad/front.sock heptad:heptad 600
/run/heptad/heptad.pid heptad:heptad 640
END
check "the man pages are there" test -s /usr/share/man/man8/heptad.8.gz -a -s /usr/share/man/man8/heptad-inference.8.gz
check "the programs are stripped" bash -c "! readelf -S /usr/sbin/heptad | grep -q debug_info"
check "every configuration file is dpkg's to keep" equal \
  "$(dpkg-query -W -f='${Conffiles}\n' heptad | awk 'NF { print $1 }' | sort)" "$(dpkg -L heptad | grep '^/etc/' | while read -r f; do [ -d "$f" ] || echo "$f"; done | sort)"
check "it is started at boot" test -n "$(ls /etc/rc2.d/S*heptad)" -a -n "$(ls /etc/rc0.d/K*heptad)"
check "the unit is enabled" test -e /etc/systemd/system/multi-user.target.wants/heptad.service
check "it runs since it was installed" wait_ready
check "eight processes, all of the user heptad" equal "$(pgrep heptad | wc -l) $(pgrep -u heptad heptad | wc -l)" "8 8"
check "none of them can get privileges" equal "$(cat /proc/"$(supervisor)"/status | awk '/^NoNewPrivs|^CapEff/ { printf "%s ", $2 }')" "0000000000000000 1 "
if [ -x /usr/bin/systemd-analyze ]; then
  check "the unit is right" systemd-analyze verify heptad.service
  echo "systemd-analyze security: $(systemd-analyze security --offline=true /usr/lib/systemd/system/heptad.service 2>/dev/null | sed -n 's/^.*\(Overall.*\)/\1/p')"
fi

section "users"
made=$(heptctl generate "penguin" --seed 42 --steps 80 --json)
check "root generates" equal "$(jq -r .status <<<"$made")" completed
whole="completed $(jq -r '.results.files[0].sha256' <<<"$made")"
check "the image is in the state folder" equal "$(dirname "$(jq -r '.results.files[0].path' <<<"$made")" | cut -d/ -f1-5)" /var/lib/heptad/images
check "alice looks" equal "$(as alice heptctl status --json | jq -r .state)" ready
check "alice changes nothing" exits 4 as alice heptctl generate x
check "alice generates over HTTP" equal \
  "$(as alice curl -s -m 60 "http://127.0.0.1:7780/api/processing/workflows/execute" -d "$request" | jq -r .session_id | xargs heptctl wait --json | jq -r '"\(.status) \(.results.files[0].sha256)"')" "$whole"
check "bob does not reach the socket" bash -c "! runuser -u bob -- heptctl status"

section "status"
check "it runs: 0" exits 0 service heptad status
check "without its pid file too: the lock decides" bash -c 'mv /run/heptad/heptad.pid . && service heptad status && cp -p heptad.pid /run/heptad/'
check "nobody in particular cannot know: 4" exits 4 as bob /etc/init.d/heptad status
check "only root starts: 4" exits 4 as bob /etc/init.d/heptad stop
check "no such verb: 2" exits 2 service heptad nonsense
pid=$(supervisor)
check "a second start is no error" exits 0 service heptad start
check "and starts nothing" equal "$(supervisor)" "$pid"

section "reload"
cp -p /etc/heptad/heptad.conf good.conf
printf '[http]\nport = many\n' >>/etc/heptad/heptad.conf
check "a bad file is refused by the init script" bash -c 'service heptad reload >said 2>&1; [ $? -eq 6 ]'
check "which says where" grep -q 'heptad.conf:[0-9]*: http.port: "many" is not an integer' said
heptad --state /var/lib/heptad --reload 2>/dev/null
for _ in $(seq 50); do grep -q config.refused /var/log/heptad/heptad.log && break; sleep 0.1; done
check "and by the daemon" grep -q 'config.refused.*the old one stays' /var/log/heptad/heptad.log
check "the old one stays" equal "$(heptctl call config.get --json | jq -c '[.. | ."http.port"? // empty]')" "[7780]"
check "a start with it is refused: 6" bash -c 'service heptad stop && { service heptad start; [ $? -eq 6 ]; }'
cp -p good.conf /etc/heptad/heptad.conf
check "it starts with the good one" service heptad start
printf '[log]\nlevel = debug\n' >>/etc/heptad/heptad.conf
check "a good file is taken" exits 0 service heptad reload
for _ in $(seq 50); do grep -q 'config.changed key=log.level' /var/log/heptad/heptad.log && break; sleep 0.1; done
check "it is in force" grep -q 'config.changed key=log.level from="info" to="debug"' /var/log/heptad/heptad.log
if command -v logrotate >/dev/null; then
  check "the log is rotated" logrotate --state /package_test/rotated --force /etc/logrotate.d/heptad
  for _ in $(seq 50); do grep -q config.reloaded /var/log/heptad/heptad.log && break; sleep 0.1; done
  check "and opened again" grep -q config.reloaded /var/log/heptad/heptad.log
  check "the new one is the daemon's" equal "$(about /var/log/heptad/heptad.log)" "heptad:heptad 640"
fi

section "the supervisor is killed"
check "ready" wait_ready
check "a session denoises" denoise
kill -KILL "$(supervisor)"
check "dead, with its pid file: 1" exits 1 service heptad status
check "the init script starts it" service heptad start
check "the session goes on to the same bytes" equal "$(result "$session")" "$whole"
check "a session denoises" denoise
at=$(step_of "$session") killed=$(date +%s%N)
kill -KILL "$(supervisor)"
check "the init script starts it" service heptad start
check "it denoises on" wait_beyond "$session" "$at"
echo "from SIGKILL of the supervisor, through the init script, to a step beyond: $((($(date +%s%N) - killed) / 1000000)) ms"
check "the same bytes again" equal "$(result "$session")" "$whole"

section "stop"
check "stop" exits 0 service heptad stop
check "it does not run: 3" exits 3 service heptad status
check "no process" equal "$(processes)" ""
check "no segment: nothing was under way" equal "$(segments)" ""
check "a stop of what does not run is no error" exits 0 service heptad stop
check "a reload of it is: 7" exits 7 service heptad reload
# the user heptad holds the lock and names a process of root in it: root must not end that for him
sleep 600 &
victim=$!
runuser -u heptad -- python3 - $victim "$(cut -d' ' -f22 /proc/$victim/stat)" <<'END' &
import fcntl, os, struct, sys, time
fd = os.open("/var/lib/heptad/heptad.lock", os.O_RDWR)
os.ftruncate(fd, 0)
os.write(fd, f"heptad {sys.argv[1]} {sys.argv[2]}\n".encode())
fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)) # F_OFD_SETLK
time.sleep(600)
END
liar=$!
for _ in $(seq 50); do [ -n "$(supervisor)" ] && break; sleep 0.1; done
check "the lock names a process of root" equal "$(supervisor)" "$victim"
check "which a stop does not end" exits 1 service heptad stop
check "it lives" kill -0 $victim
kill $victim
pkill -u heptad python3
wait $victim $liar 2>/dev/null || true
check "restart starts it" exits 0 service heptad restart
pid=$(supervisor)
check "restart restarts it" service heptad restart
check "as another process" test "$(supervisor)" != "$pid"

section "upgrade"
check "ready" wait_ready
check "a session denoises" denoise
check "the next version installs" install_package second.deb
check "it is installed" equal "$(dpkg-query -W -f='${Version} ${db:Status-Status}' heptad)" "$(dpkg-deb -f second.deb Version) installed"
check "the stop was orderly" grep -q daemon.stopped /var/log/heptad/heptad.log
check "the session goes on to the same bytes" equal "$(result "$session")" "$whole"
check "what the operator wrote is kept" grep -qx 'level = debug' /etc/heptad/heptad.conf

section "remove, and install again"
check "ready" wait_ready
check "a session denoises" denoise
check "remove" dpkg --force-unsafe-io -r heptad
check "no process" equal "$(processes)" ""
check "no segment" equal "$(segments)" ""
check "no run folder" test ! -e /run/heptad
check "the state is kept" test -s /var/lib/heptad/heptad.db
check "the init script says that it is not there: 5" exits 5 /etc/init.d/heptad start
check "install again" install_package second.deb
check "ready" wait_ready
check "the session goes on to the same bytes" equal "$(result "$session")" "$whole"

section "purge"
check "purge" dpkg --force-unsafe-io -P heptad
check "no user, no group" bash -c '! getent passwd heptad && ! getent group heptad'
check "no process" equal "$(pgrep heptad || true)" ""

section "where there is no systemd-sysusers, adduser makes the user"
mount --bind /dev/null /usr/bin/systemd-sysusers # which is no program
check "it installs" install_package first.deb
check "ready" wait_ready
check "a user of the system with a group of its own" equal "$(getent passwd heptad | cut -d: -f6-7) $(id -gn heptad)" "/var/lib/heptad:/usr/sbin/nologin heptad"
check "purge" dpkg --force-unsafe-io -P heptad
umount /usr/bin/systemd-sysusers
userdel alice
userdel bob
section "$checks checks passed"
