// Makes the first state of the devnet, without a network: NETWORK validators with the interop keys, which the whole
// world knows, and LEASED ones with keys that nobody has, all active from the start with 32 ETH. Writes into DIR
//   genesis.ssz
//   keys/keystore-N.json     the leased keys as EIP-2335 keystores, all with the password in password.txt
//   keys/secrets.txt         the same in plain hex, a line a key, to look for where they must not be
//   genesis DIR GENESIS_TIME NETWORK LEASED
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import bls from "@chainsafe/bls";
import { Keystore } from "@chainsafe/bls-keystore";
import { chainConfigFromJson, createIChainForkConfig } from "@lodestar/config";
import { minimalChainConfig } from "@lodestar/config/presets";
import { ACTIVE_PRESET, FAR_FUTURE_EPOCH, GENESIS_EPOCH, GENESIS_SLOT, MAX_EFFECTIVE_BALANCE } from "@lodestar/params";
import {
  createCachedBeaconState, createEmptyEpochContextImmutableData, getGenesisBeaconState, getNextSyncCommittee,
  getTemporaryBlockHeader, interopSecretKey,
} from "@lodestar/state-transition";
import { ssz } from "@lodestar/types";
import { loadYaml } from "@lodestar/utils";
import { createBlockchain } from "../ethereumjs/node_modules/@ethereumjs/blockchain/dist/esm/index.js";
import { createCommonFromGethGenesis, parseGethGenesisState } from "../ethereumjs/node_modules/@ethereumjs/common/dist/esm/index.js";

const hex = (bytes) => `0x${Buffer.from(bytes).toString("hex")}`;
const fail = (why) => { console.error(`genesis: ${why}`); process.exit(2); };
const number = (what, text) => /^[0-9]{1,15}$/.test(text ?? "") ? Number(text) : fail(`${what} is not a number: ${text}`);

const [, , dir, timeText, networkText, leasedText] = process.argv;
if (!dir) fail("needs DIR GENESIS_TIME NETWORK LEASED");
if (ACTIVE_PRESET !== "minimal") fail("set LODESTAR_PRESET=minimal");
const genesisTime = number("GENESIS_TIME", timeText);
const network = number("NETWORK", networkText), leased = number("LEASED", leasedText);
const read = (name) => fs.readFileSync(new URL(`../${name}`, import.meta.url), "utf8");

// The execution layer's first block is computed, so nothing has to run for it.
async function executionHeader(genesisType) {
  const genesis = JSON.parse(read("genesis.json"));
  const common = createCommonFromGethGenesis(genesis, { chain: "devnet" });
  const chain = await createBlockchain({ common, genesisState: parseGethGenesisState(genesis) });
  const { header } = chain.genesisBlock;
  const view = genesisType.defaultViewDU();
  view.parentHash = header.parentHash;
  view.feeRecipient = header.coinbase.bytes;
  view.stateRoot = header.stateRoot;
  view.receiptsRoot = header.receiptTrie;
  view.logsBloom = header.logsBloom;
  view.prevRandao = header.mixHash;
  view.blockNumber = Number(header.number);
  view.gasLimit = Number(header.gasLimit);
  view.gasUsed = Number(header.gasUsed);
  view.timestamp = Number(header.timestamp);
  view.extraData = header.extraData;
  view.baseFeePerGas = header.baseFeePerGas;
  view.blockHash = header.hash();
  return view;
}

// New keys, and keystores of them.
async function leasedKeys() {
  const keys = Array.from({ length: leased }, () => bls.SecretKey.fromKeygen(randomBytes(32)));
  const password = randomBytes(16).toString("hex");
  fs.mkdirSync(`${dir}/keys`, { mode: 0o700 });
  fs.writeFileSync(`${dir}/keys/password.txt`, password, { mode: 0o600 });
  fs.writeFileSync(`${dir}/keys/secrets.txt`, keys.map((key) => `${hex(key.toBytes()).slice(2)}\n`).join(""), { mode: 0o600 });
  for (const [i, key] of keys.entries()) {
    const keystore = await Keystore.create(password, key.toBytes(), key.toPublicKey().toBytes(), `m/12381/3600/${i}/0/0`);
    fs.writeFileSync(`${dir}/keys/keystore-${i}.json`, keystore.stringify(), { mode: 0o600 });
  }
  return keys;
}

// Nothing of theirs can be withdrawn.
async function validators() {
  const keys = Array.from({ length: network }, (_, i) => interopSecretKey(i)).concat(await leasedKeys());
  return keys.map((key) => {
    const pubkey = key.toPublicKey().toBytes();
    const credentials = createHash("sha256").update(pubkey).digest();
    credentials[0] = 0;
    return { pubkey, credentials };
  });
}

const config = createIChainForkConfig({ ...minimalChainConfig, ...chainConfigFromJson(loadYaml(read("config.yaml"))) });
const types = config.getForkTypes(GENESIS_SLOT);
const entropy = new Uint8Array(32).fill(0x42);
const all = await validators();
if (all.length < 8) fail("needs at least 8 validators, one a slot of an epoch");

// All deposits count as made, so that blocks bring none.
const eth1Data = { depositRoot: new Uint8Array(32), depositCount: all.length, blockHash: entropy };
const bare = getGenesisBeaconState(config, eth1Data, getTemporaryBlockHeader(config, types.BeaconBlock.defaultValue()));
const immutable = createEmptyEpochContextImmutableData(config, { genesisValidatorsRoot: new Uint8Array(32) });
const state = createCachedBeaconState(bare, immutable, { skipSyncCommitteeCache: true });
state.genesisTime = genesisTime;
state.eth1DepositIndex = all.length;
for (const { pubkey, credentials } of all) {
  state.validators.push(ssz.phase0.Validator.toViewDU({
    pubkey,
    withdrawalCredentials: credentials,
    effectiveBalance: MAX_EFFECTIVE_BALANCE,
    slashed: false,
    activationEligibilityEpoch: GENESIS_EPOCH,
    activationEpoch: GENESIS_EPOCH,
    exitEpoch: FAR_FUTURE_EPOCH,
    withdrawableEpoch: FAR_FUTURE_EPOCH,
  }));
  state.balances.push(MAX_EFFECTIVE_BALANCE);
  state.inactivityScores.push(0);
  state.previousEpochParticipation.push(0);
  state.currentEpochParticipation.push(0);
}
state.genesisValidatorsRoot = state.validators.hashTreeRoot();
state.commit();
const increments = new Uint8Array(all.length).fill(32);
const { syncCommittee } = getNextSyncCommittee(state, all.map((_, i) => i), increments);
state.currentSyncCommittee = ssz.altair.SyncCommittee.toViewDU(syncCommittee);
state.nextSyncCommittee = ssz.altair.SyncCommittee.toViewDU(syncCommittee);
const fork = config.getForkName(GENESIS_SLOT);
const version = config.getForkVersion(GENESIS_SLOT);
state.fork = ssz.phase0.Fork.toViewDU({ previousVersion: version, currentVersion: version, epoch: GENESIS_EPOCH });
const header = await executionHeader(ssz.allForksExecution[fork].ExecutionPayloadHeader);
state.latestExecutionPayloadHeader = header;
state.commit();
fs.writeFileSync(`${dir}/genesis.ssz`, state.serialize());
console.log(JSON.stringify({
  fork,
  fork_version: hex(version),
  genesis_fork_version: hex(config.GENESIS_FORK_VERSION),
  genesis_time: genesisTime,
  genesis_validators_root: hex(state.genesisValidatorsRoot),
  genesis_state_root: hex(state.hashTreeRoot()),
  execution_genesis_hash: hex(header.blockHash),
  seconds_per_slot: config.SECONDS_PER_SLOT,
  validators: all.map(({ pubkey }) => hex(pubkey)),
}));
process.exit(0);
