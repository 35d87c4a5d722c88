#!/usr/bin/env bash
# The first and the last thing that ctest runs: notes the time, then names what the tests between have left in /dev/shm, in
# /tmp, or running.
#   leftovers.sh begin|check BUILD_FOLDER
set -euo pipefail
build=$2
stamp=$build/tests/begin.stamp

# What another run has in use at this moment is not left behind: prints those of the lines that no process names or maps.
unused() {
  local path
  while IFS= read -r path; do
    grep -qsaF -f <(printf '%s\n' "$path") /proc/[0-9]*/cmdline /proc/[0-9]*/maps /proc/[0-9]*/net/unix && continue
    printf '%s\n' "$path"
  done
}
case "$1" in
  begin) mkdir -p "${stamp%/*}" && touch "$stamp" ;;
  check)
    failed=0
    complain() { [ -z "$2" ] || { printf '%s\n%s\n' "$1:" "$2"; failed=1; }; }
    running=$(find /proc -mindepth 2 -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$build/*" -printf '%h %l\n' 2>/dev/null || true)
    complain "still running" "$running"
    complain "segments" "$(find /dev/shm -maxdepth 1 -name 'hep.*' -newer "$stamp" -user "$(id -un)" 2>/dev/null | unused)"
    complain "files" "$(find /tmp -maxdepth 1 -name 'hep*-*' -newer "$stamp" -user "$(id -un)" | unused)"
    exit $failed ;;
  *) sed -n '2,4p' "$0" >&2; exit 125 ;;
esac
