#!/usr/bin/env bash
# The Debian package as an administrator meets it: made by cpack, then installed, started, upgraded and purged in a copy of
# this machine's root (an overlay in memory, in namespaces of its own, without systemd), so that the machine stays as it is.
# package_root.sh is what happens in there; what is left of it afterwards is looked at from here. Needs root; else skipped.
set -euo pipefail
build=${HEP_BUILD:?build folder}
root=${HEP_ROOT:?source tree}
here=$root/tests/e2e

die() { echo "FAILED: $*" >&2; exit 1; }
skip() { echo "skipped: $*"; exit 77; }

# ---- in the namespaces -------------------------------------------------------------------------------------------------
# What may differ once the package is purged: dpkg's own records and caches, backups of the files of users and groups.
known='^/(var/lib/dpkg/|var/log/(dpkg\.log|alternatives\.log|apt/)|var/cache/|var/backups/|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|etc/\.pwd\.lock$|var/lib/systemd/deb-systemd-helper|package_test/)'

enter_root() { # WORK
  local work=$1 copy=$1/space/root
  mount --make-rprivate /
  mount -t tmpfs -o mode=0755 space "$work/space"
  mkdir "$work/space/"{upper,work,root}
  mount -t overlay -o "lowerdir=/,upperdir=$work/space/upper,workdir=$work/space/work" overlay "$copy" || return 77
  mount -t proc proc "$copy/proc"
  mount --rbind /sys "$copy/sys"
  mount --rbind /dev "$copy/dev"
  for folder in dev/shm run tmp; do mount -t tmpfs -o "mode=$([ $folder = run ] && echo 0755 || echo 1777)" tmpfs "$copy/$folder"; done
  ip link set lo up
  hostname heptad-package
  rm -f "$copy/usr/sbin/policy-rc.d" # of images of containers: it forbids to start services
  # what init has written on a machine that has booted: runlevel 2, or invoke-rc.d starts nothing (struct utmp, RUN_LVL)
  python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("=hxxi32s4s32s332x", 1, ord("N") * 256 + ord("2"), b"~", b"~~", b"runlevel")[:384].ljust(384, b"\0"))' >"$copy/run/utmp"
  mkdir -p "$copy/package_test/host"
  cp "$work"/*.deb "$here/package_root.sh" "$copy/package_test/"
  getent passwd | sort >"$work/passwd" && getent group | sort >"$work/group"
  cd "$copy"
  pivot_root . package_test/host # the first process is in it too: else everybody would see that this is a chroot
  bash /package_test/package_root.sh
  left_over "/package_test/host$work"
}

left_over() { # WORK
  local files
  files=$(cd "$1/space/upper" && find . ! -type d ! -type c -printf '/%P\n' | grep -Ev "$known" || true)
  [ -z "$files" ] || die "files are left: $files"
  files=$(find /dev/shm /run/heptad /var/lib/heptad /var/log/heptad /etc/heptad 2>/dev/null | grep -vx /dev/shm || true)
  [ -z "$files" ] || die "left: $files"
  getent passwd | sort | diff "$1/passwd" - || die "users are not as before"
  getent group | sort | diff "$1/group" - || die "groups are not as before"
  pgrep -a heptad && die "processes are left"
  echo "nothing is left"
}

if [ "${1:-}" = --in-namespaces ]; then
  enter_root "$2"
  exit
fi

# ---- outside -----------------------------------------------------------------------------------------------------------
[ "$(id -u)" -eq 0 ] || skip "only root can install packages in a root of its own"
command -v dpkg-shlibdeps >/dev/null || skip "dpkg-dev is not installed"
namespaces=(unshare --mount --pid --uts --ipc --net --fork --kill-child)
"${namespaces[@]}" true 2>/dev/null || skip "this sandbox does not let us unshare mount, pid, uts, ipc and net"
getent passwd heptad >/dev/null && skip "this machine has a user heptad: the package would not be new in a copy of it"

work=$(mktemp -d /tmp/heptad-package-XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/space" "$work/second"
# one file system for the copy that knows whiteouts, and one below it that overlayfs takes
"${namespaces[@]}" bash -c 'mount --make-rprivate / && mount -t tmpfs space "$1/space" && mkdir "$1"/space/{u,w,r} &&
  mount -t overlay -o "lowerdir=/,upperdir=$1/space/u,workdir=$1/space/w" overlay "$1/space/r"' _ "$work" 2>/dev/null ||
  skip "this sandbox does not let us mount an overlay over /"

(cd "$build" && cpack -G DEB -B "$work/made" >"$work/cpack.log" 2>&1) || { cat "$work/cpack.log" >&2; die "cpack"; }
cp "$work"/made/heptad_*.deb "$work/"
first=$(echo "$work"/heptad_*.deb)
echo "made: $(basename "$first"), $(stat -c %s "$first") bytes, $(ls "$work"/made/*.ddeb | xargs -n 1 basename)"
if command -v lintian >/dev/null; then
  LC_ALL=C lintian --fail-on error,warning --tag-display-limit 0 "$first" 2>&1 | grep -v 'running with root privileges' || true
  [ "${PIPESTATUS[0]}" -eq 0 ] || die "lintian"
  echo "lintian: no error, no warning"
else
  echo "lintian is not installed: not asked"
fi
# the next version: the same programs under a higher number
dpkg-deb -R "$first" "$work/second/tree"
sed -i 's/^Version: .*/&+next/' "$work/second/tree/DEBIAN/control"
dpkg-deb -Znone -b "$work/second/tree" "$work/second.deb" >/dev/null
rm -rf "$work/second" "$work/made"
mv "$first" "$work/first.deb"

HEP_BUILD=$build HEP_ROOT=$root "${namespaces[@]}" bash "$0" --in-namespaces "$work"
