#!/bin/bash
# Puts the agent, without its debugging symbols, into the build context.
#   prepare.sh inputs             says what, besides this folder, the image is made of
#   prepare.sh context DIR        BIN_DIR is where cargo put the agent
set -euo pipefail
agent=$BIN_DIR/berth-agent
[ -f "$agent" ] || { echo "$agent is missing: run cargo build -p berth-agent" >&2; exit 1; }
case $1 in
inputs) sha256sum <"$agent" ;;
context) strip -o "$2/berth-agent" "$agent" ;;
esac
