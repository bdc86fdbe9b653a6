#!/bin/sh
# Runs in a container of the chain's image, without a network: makes the homes and the genesis of COUNT validators
# under /net. All keys are made here and never leave the machine.
#   genesis.sh CHAIN_ID COUNT
set -eu
chain=$1 count=$2
quiet() { "$@" >/tmp/said 2>&1 || { cat /tmp/said >&2; exit 1; }; }
d() { injectived --home "/net/v$i" "$@"; }

i=1
while [ "$i" -le "$count" ]; do
  quiet d init "v$i" --chain-id "$chain"
  quiet d keys add validator --keyring-backend test
  i=$((i + 1))
done

genesis=/net/v1/config/genesis.json
# The staking token is called inj, and a validator that is away for long is not jailed.
sed -i -e 's/"stake"/"inj"/g' -e 's/"signed_blocks_window": "100"/"signed_blocks_window": "2000"/' $genesis
grep -q '"signed_blocks_window": "2000"' $genesis
i=1
while [ "$i" -le "$count" ]; do
  address=$(d keys show validator --address --keyring-backend test 2>/dev/null | tail -n 1)
  quiet injectived --home /net/v1 genesis add-genesis-account "$address" 1000000000000000000000000inj --chain-id "$chain"
  i=$((i + 1))
done
mkdir -p /net/v1/config/gentx
i=1
while [ "$i" -le "$count" ]; do
  [ "$i" = 1 ] || cp $genesis "/net/v$i/config/genesis.json"
  # Without --ip it would ask the internet for its address.
  quiet d genesis gentx validator 1000000000000000000000inj --chain-id "$chain" --keyring-backend test --ip 127.0.0.1
  [ "$i" = 1 ] || cp "/net/v$i"/config/gentx/*.json /net/v1/config/gentx/
  i=$((i + 1))
done
quiet injectived --home /net/v1 genesis collect-gentxs
quiet injectived --home /net/v1 genesis validate

peers=
i=1
while [ "$i" -le "$count" ]; do
  d comet show-node-id 2>/dev/null | tail -n 1 >"/net/v$i/node-id"
  peers="$peers${peers:+,}$(cat "/net/v$i/node-id")@v$i:26656"
  [ "$i" = 1 ] || cp $genesis "/net/v$i/config/genesis.json"
  i=$((i + 1))
done
i=1
while [ "$i" -le "$count" ]; do
  sed -i \
    -e "s|^persistent_peers = .*|persistent_peers = \"$peers\"|" \
    -e 's|^laddr = "tcp://127.0.0.1:26657"|laddr = "tcp://0.0.0.0:26657"|' \
    -e 's|^prometheus = false|prometheus = true|' \
    -e 's|^addr_book_strict = true|addr_book_strict = false|' \
    -e 's|^allow_duplicate_ip = false|allow_duplicate_ip = true|' \
    -e 's|^pex = true|pex = false|' \
    -e 's|^pprof_laddr = .*|pprof_laddr = ""|' \
    "/net/v$i/config/config.toml"
  i=$((i + 1))
done
