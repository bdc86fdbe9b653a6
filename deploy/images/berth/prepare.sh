#!/bin/bash
# Puts the executable, without its debugging symbols, into the build context.
#   prepare.sh inputs             says what, besides this folder, the image is made of
#   prepare.sh context DIR        BIN_DIR is where cargo put the executable
set -euo pipefail
executable=$BIN_DIR/berth
[ -f "$executable" ] || { echo "$executable is missing: run make build" >&2; exit 1; }
case $1 in
inputs) sha256sum <"$executable" ;;
context) strip -o "$2/berth" "$executable" ;;
esac
