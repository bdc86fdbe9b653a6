#!/bin/bash
# Puts root.tar into the build context: the smallest system that debootstrap makes, with certificate authorities.
#   prepare.sh inputs             says what, besides this folder, the image is made of
#   prepare.sh context DIR        CACHE_DIR keeps the file for the next time
# The mirror is the one that apt uses on this computer.
set -euo pipefail
. /etc/os-release
suite=${VERSION_CODENAME:?this system does not say its release in /etc/os-release}
architecture=$(dpkg --print-architecture)
if [ "$1" = inputs ]; then
  echo "$suite $architecture"
  exit
fi

context=$2
cached=$CACHE_DIR/base-$suite-$architecture-$(sha256sum "$0" | cut -c1-12).tar
if [ ! -f "$cached" ]; then
  command -v debootstrap >/dev/null || { echo "debootstrap is missing: install the package debootstrap" >&2; exit 1; }
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v suite="$suite" '$2 == suite && $3 == "main" { print $1; exit }')
  [ -n "$mirror" ] || { echo "apt has no source with $suite main: run apt-get update" >&2; exit 1; }
  work=$(mktemp -d "$CACHE_DIR/base.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # A mount namespace of its own: what debootstrap mounts goes with it, even if it is killed.
  unshare --mount --propagation private \
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/root" "$mirror" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; exit 1; }
  tar -C "$work/root" -cf "$work/root.tar" --sort=name --numeric-owner \
    --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' --exclude='./tmp/*' --exclude='./var/log/*' \
    --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' \
    --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' --exclude='./usr/share/info/*' .
  mv "$work/root.tar" "$cached"
fi
ln "$cached" "$context/root.tar" 2>/dev/null || cp "$cached" "$context/root.tar"
