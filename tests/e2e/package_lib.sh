# shellcheck shell=bash
# Shared by package.sh and package_systemd.sh: makes the package, and a copy of this machine's root (an overlay in memory, in
# namespaces of its own) where it can be installed, so that the machine stays as it is. Sourced; expects HEP_BUILD and HEP_ROOT.
build=${HEP_BUILD:?build folder}
here=${HEP_ROOT:?source tree}/tests/e2e
namespaces=(unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child)

die() { echo "FAILED: $*" >&2; exit 1; }
skip() { echo "skipped: $*"; exit 77; }

# ---- outside -----------------------------------------------------------------------------------------------------------
# Sets work, a folder with first.deb in it; skips where the rest would not work.
make_package() {
  [ "$(id -u)" -eq 0 ] || skip "only root can install packages in a root of its own"
  command -v dpkg-shlibdeps >/dev/null || skip "dpkg-dev is not installed"
  "${namespaces[@]}" true 2>/dev/null || skip "this sandbox does not let us unshare mount, pid, uts, ipc, net and cgroup"
  getent passwd heptad >/dev/null && skip "this machine has a user heptad: the package would not be new in a copy of it"
  work=$(mktemp -d /tmp/heptad-package-XXXXXX)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/space"
  "${namespaces[@]}" bash -c 'source "$1/package_lib.sh"; mount_root "$2"' _ "$here" "$work" 2>"$work/refused" ||
    skip "this sandbox does not let us mount an overlay over /: $(cat "$work/refused")"
  (cd "$build" && cpack -G DEB -B "$work/made" >"$work/cpack.log" 2>&1) || { cat "$work/cpack.log" >&2; die "cpack"; }
  mv "$work"/made/heptad_*.deb "$work/first.deb"
  [ -n "$(find "$work/made" -name '*.ddeb')" ] || die "there is no package of debug symbols"
  echo "made: $(dpkg-deb -f "$work/first.deb" Package Version Architecture | paste -sd' '), $(stat -c %s "$work/first.deb") bytes"
  rm -rf "$work/made"
}

# ---- in the namespaces -------------------------------------------------------------------------------------------------
mount_root() { # WORK: a file system that knows whiteouts above, this root below
  mount --make-rprivate /
  mount -t tmpfs -o mode=0755 space "$1/space"
  mkdir "$1/space/"{upper,work,root}
  mount -t overlay -o "lowerdir=/,upperdir=$1/space/upper,workdir=$1/space/work" overlay "$1/space/root"
}

# The copy, with folders of its own in memory, becomes the root of the first process: a chroot would be seen as one. What was
# / is /package_test/host then, and the folder of the packages /package_test.
enter_root() { # WORK
  local copy=$1/space/root
  mount_root "$1"
  mount -t proc proc "$copy/proc"
  mount --rbind /sys "$copy/sys"
  mount --rbind /dev "$copy/dev"
  for folder in dev/shm run tmp; do mount -t tmpfs -o "mode=$([ $folder = run ] && echo 0755 || echo 1777)" tmpfs "$copy/$folder"; done
  ip link set lo up
  hostname heptad-package
  rm -f "$copy/usr/sbin/policy-rc.d" "$copy/.dockerenv" # of images of containers: they forbid to start services
  mkdir -p "$copy/package_test/host"
  cp "$1"/*.deb "$here"/package*.sh "$copy/package_test/"
  getent passwd | sort >"$copy/package_test/passwd" && getent group | sort >"$copy/package_test/group"
  cd "$copy" || die "cd $copy"
  pivot_root . package_test/host
}
