# shellcheck shell=bash
# What is asked of an installed package, by package_root.sh and by package_systemd.sh. Sourced, in the root that package_lib.sh
# has made.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
unset HEPTAD_STATE XDG_STATE_HOME
cd /package_test || exit 1
checks=0
began=$SECONDS

die() { echo "FAILED: $*" >&2; tail -30 /var/log/heptad/heptad.log >&2 2>/dev/null || true; exit 1; }
section() { echo "$((SECONDS - began)) s: $*"; }
check() { # "what is true" command…
  local what=$1
  shift
  if "$@" >check.out 2>&1; then checks=$((checks + 1)); else cat check.out >&2; die "$what"; fi
}
equal() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
exits() { # STATUS command…
  local wanted=$1 status=0
  shift
  "$@" || status=$?
  equal "exit status $status" "exit status $wanted"
}

# Before ctest would end a test that hangs, without a word: says where it stands.
(
  exec >&2
  sleep 240
  echo "FAILED: it hangs"
  timeout 10 heptctl status || true
  timeout 10 heptctl sessions || true
  ps -e -o pid,ppid,stat,etime,wchan:20,args | grep -v '\]$'
  tail -40 /var/log/heptad/heptad.log
  kill -KILL $$
) &
disown

install_package() { dpkg --force-unsafe-io -i "$1"; }
wait_ready() {
  for _ in $(seq 300); do
    [ "$(heptctl status --json 2>/dev/null | jq -r .state)" = ready ] && return 0
    sleep 0.1
  done
  heptctl status
  return 1
}
request='{"workflow_id":"txt2img","configuration":{"prompt":"penguin","seed":42,"num_inference_steps":80}}'
step_of() { heptctl session "$1" --json 2>/dev/null | jq -r '.denoising_step // 0'; }
has_ended() { heptctl session "$1" --json 2>/dev/null | jq -e '.status != "running" and .status != "queued"' >/dev/null; }
is_beyond() { [ "$(step_of "$1")" -gt "$2" ] 2>/dev/null || has_ended "$1"; } # SESSION N: it has done more steps, or has ended
# Sets session: one that has done a few steps and is not at its end. On a busy machine it can have ended before it was looked
# at: then another one.
denoise() {
  for _ in $(seq 20); do
    session=$(heptctl call workflow.execute "$request" --json | jq -r .session_id)
    until is_beyond "$session" 4; do sleep 0.01; done
    has_ended "$session" || return 0
  done
  return 1
}
wait_beyond() { # SESSION N
  for _ in $(seq 1000); do
    is_beyond "$1" "$2" && return 0
    sleep 0.01
  done
  heptctl session "$1"
  return 1
}
result() { # SESSION: what became of it
  timeout 100 heptctl wait "$1" --json | jq -r '"\(.status) \(.results.files[0].sha256)"' || heptctl session "$1"
}

# What a purge must not have left.
nothing_left() {
  local files
  files=$(find /dev/shm /run/heptad /var/lib/heptad /var/log/heptad /etc/heptad /etc/*/*heptad* /usr/{bin,sbin}/hept* 2>/dev/null | grep -vx /dev/shm || true)
  [ -z "$files" ] || die "left: $files"
  getent passwd | sort | diff /package_test/passwd - || die "users are not as before"
  getent group | sort | diff /package_test/group - || die "groups are not as before"
  pgrep -a heptad && die "processes are left"
  return 0
}
