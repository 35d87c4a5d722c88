#!/usr/bin/env bash
# The Debian package as an administrator meets it: made by cpack, seen by lintian, then installed, started, upgraded and purged
# in a root of its own without systemd. package_root.sh is what happens in there; what is left of it afterwards is looked at
# from here. Skipped where that cannot be (no root, no namespaces).
set -euo pipefail
source "${HEP_ROOT:?source tree}/tests/e2e/package_lib.sh"

# What may differ once the package is purged: dpkg's own records and caches, backups of the files of users and groups.
known='^/(var/lib/dpkg/|var/log/(dpkg\.log|alternatives\.log|apt/)|var/cache/|var/backups/|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|etc/\.pwd\.lock$|var/lib/systemd/deb-systemd-helper|package_test/)'

if [ "${1:-}" = --in-namespaces ]; then
  enter_root "$2"
  # what init has written on a machine that has booted: runlevel 2, or invoke-rc.d starts nothing (struct utmp, RUN_LVL)
  python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("=hxxi32s4s32s", 1, ord("N") * 256 + ord("2"), b"~", b"~~", b"runlevel").ljust(384, b"\0"))' >/run/utmp
  bash /package_test/package_root.sh
  source /package_test/package_checks.sh
  nothing_left
  files=$(cd "/package_test/host$2/space/upper" && find . ! -type d ! -type c -printf '/%P\n' | grep -Ev "$known" || true)
  [ -z "$files" ] || die "files are left: $files"
  echo "nothing is left"
  exit
fi

make_package
if command -v lintian >/dev/null; then
  status=0
  LC_ALL=C lintian --fail-on error,warning --tag-display-limit 0 "$work/first.deb" >"$work/lintian" 2>&1 || status=$?
  grep -v 'running with root privileges' "$work/lintian" || true
  [ $status -eq 0 ] || die "lintian"
  echo "lintian: no error, no warning"
else
  echo "lintian is not installed: not asked"
fi
# the next version: the same programs under a higher number
dpkg-deb -R "$work/first.deb" "$work/tree"
sed -i 's/^Version: .*/&+next/' "$work/tree/DEBIAN/control"
dpkg-deb -Znone -b "$work/tree" "$work/second.deb" >/dev/null
rm -rf "$work/tree"
"${namespaces[@]}" bash "$0" --in-namespaces "$work"
