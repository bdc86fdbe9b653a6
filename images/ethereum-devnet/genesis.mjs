// Makes the first state of the devnet, without a network and without any secret but the interop keys, which the
// whole world knows: NETWORK validators with those keys, then one for each PUBKEY:CREDENTIALS that is given, all
// active from the start with 32 ETH. Writes genesis.ssz, and says in JSON what it made.
//   genesis OUT_FILE GENESIS_TIME NETWORK [PUBKEY[:CREDENTIALS] …]
// CREDENTIALS are withdrawal credentials, 32 bytes in hex; without them nothing can be withdrawn.
// The same arguments give the same bytes.
import { createHash } from "node:crypto";
import fs from "node:fs";
import bls from "@chainsafe/bls";
import { CoordType } from "@chainsafe/bls/types";
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
const bytes = (what, text, length) => {
  const plain = text.replace(/^0x/, "");
  if (!/^[0-9a-f]*$/i.test(plain) || plain.length !== 2 * length) fail(`${what} is not ${length} bytes in hex: ${text}`);
  return new Uint8Array(Buffer.from(plain, "hex"));
};
const number = (what, text) => /^[0-9]{1,15}$/.test(text ?? "") ? Number(text) : fail(`${what} is not a number: ${text}`);

const [, , out, timeText, networkText, ...leased] = process.argv;
if (!out) fail("needs OUT_FILE GENESIS_TIME NETWORK [PUBKEY[:CREDENTIALS] …]");
if (ACTIVE_PRESET !== "minimal") fail("set LODESTAR_PRESET=minimal");
const genesisTime = number("GENESIS_TIME", timeText), network = number("NETWORK", networkText);
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

function validators() {
  const list = Array.from({ length: network }, (_, i) => {
    const pubkey = interopSecretKey(i).toPublicKey().toBytes();
    const credentials = createHash("sha256").update(pubkey).digest();
    credentials[0] = 0;
    return { pubkey, credentials };
  });
  for (const argument of leased) {
    const [pubkey, credentials = "00".repeat(32)] = argument.split(":");
    list.push({ pubkey: bytes("a public key", pubkey, 48), credentials: bytes("withdrawal credentials", credentials, 32) });
  }
  const seen = new Set();
  for (const { pubkey } of list) {
    try {
      bls.PublicKey.fromBytes(pubkey, CoordType.affine, true); // on the curve and in the subgroup
    } catch {
      fail(`not a public key: ${hex(pubkey)}`);
    }
    if (seen.size === seen.add(hex(pubkey)).size) fail(`twice: ${hex(pubkey)}`);
  }
  return list;
}

const config = createIChainForkConfig({ ...minimalChainConfig, ...chainConfigFromJson(loadYaml(read("config.yaml"))) });
const types = config.getForkTypes(GENESIS_SLOT);
const entropy = new Uint8Array(32).fill(0x42);
const all = validators();
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
fs.writeFileSync(out, state.serialize());
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
