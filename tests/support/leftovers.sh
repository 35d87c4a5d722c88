#!/usr/bin/env bash
# The first and the last thing that ctest runs: notes the time, then names what the tests between have left in /dev/shm, in
# /tmp, or running.
#   leftovers.sh begin|check BUILD_FOLDER
set -euo pipefail
build=$2
stamp=$build/tests/begin.stamp

case "$1" in
  begin) mkdir -p "${stamp%/*}" && touch "$stamp" ;;
  check)
    failed=0
    complain() { [ -z "$2" ] || { printf '%s\n%s\n' "$1:" "$2"; failed=1; }; }
    running=$(find /proc -mindepth 2 -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$build/*" -printf '%h %l\n' 2>/dev/null || true)
    complain "still running" "$running"
    complain "segments" "$(find /dev/shm -maxdepth 1 -name 'hep.*' -newer "$stamp" -user "$(id -un)" 2>/dev/null || true)"
    complain "files" "$(find /tmp -maxdepth 1 -name 'hep*-*' -newer "$stamp" -user "$(id -un)")"
    exit $failed ;;
  *) sed -n '2,4p' "$0" >&2; exit 125 ;;
esac
