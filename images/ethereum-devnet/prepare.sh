#!/bin/bash
# Puts Node, Lodestar and EthereumJS into the build context, from npm, as the two lock files pin them by hash.
#   prepare.sh inputs             says what, besides this folder, the image is made of
#   prepare.sh context DIR        CACHE_DIR keeps the packages for the next time
# Nothing is compiled and no package runs a script of its own.
set -euo pipefail
case $(uname -m) in
x86_64) cpu=x64 ;;
aarch64) cpu=arm64 ;;
*) echo "lodestar-lock.json pins Node for x86_64 and aarch64 only" >&2 && exit 1 ;;
esac
if [ "$1" = inputs ]; then
  echo "$cpu"
  exit
fi
context=$2
for need in npm:npm strip:binutils; do
  command -v "${need%:*}" >/dev/null || { echo "${need%:*} is missing: install the package ${need#*:}" >&2; exit 1; }
done

cat "$context/NOTICE" >&2
app=$context/app
for program in lodestar ethereumjs; do
  mkdir -p "$app/$program"
  mv "$context/$program.json" "$app/$program/package.json"
  mv "$context/$program-lock.json" "$app/$program/package-lock.json"
  npm ci --prefix "$app/$program" --cache "$CACHE_DIR/npm" --prefer-offline \
    --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
done
mv "$context"/{steady.mjs,genesis.json,config.yaml} "$app"
mv "$context/genesis.mjs" "$app/lodestar" # where it finds Lodestar's packages
strip -o "$context/node" "$app/lodestar/node_modules/node-linux-$cpu/bin/node"
program() { printf '#!/bin/sh\nexec node %s "$@"\n' "$2" >"$context/$1" && chmod 755 "$context/$1"; }
program lodestar '--import /opt/ethereum/steady.mjs /opt/ethereum/lodestar/node_modules/@chainsafe/lodestar/lib/index.js'
program ethereumjs /opt/ethereum/ethereumjs/node_modules/@ethereumjs/client/dist/esm/bin/cli.js
program genesis /opt/ethereum/lodestar/genesis.mjs

# What is not needed to run: 550 MB become 115.
cd "$app"
rm -rf {lodestar,ethereumjs}/node_modules/{.bin,node-linux-*,node-gyp,protobufjs/cli}
find . -type f -regextype posix-extended \
  -regex '.*\.(map|md|markdown|[mc]?ts|flow|c|cc|cpp|h|hpp|S|s|asm|gyp|gypi|tsbuildinfo)' -delete
find . -path '*/prebuilds/*' -prune -type d ! -name "linux-$cpu" -exec rm -rf {} +
find . -path "*/prebuilds/*musl*" -delete
find lodestar/node_modules/@chainsafe/blst/prebuild -type f ! -name "linux-$cpu-127-binding.node" -delete # 127: Node 22
find . -type d -empty -delete
