"""Signing requests on random objects, with the signing roots that the executable
specification computes: one JSON object a line, the pinned chain in the first.

usage: roots.py PRESET CASES SEED

Needs Python 3.11 and, without their dependencies, two packages in pure Python:
eth-consensus-specs and eth-remerkleable (requirements.txt).
"""

import importlib
import json
import sys
from random import Random
from types import ModuleType
from unittest.mock import MagicMock


def stand_in(name, **members):
    """Stands in for a native module that roots do not need."""
    module = ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module


class Cache(dict):
    def __init__(self, size):
        super().__init__()


stand_in("ckzg")
stand_in("lru", LRU=Cache)
stand_in("frozendict", frozendict=dict)
sys.modules["py_arkworks_bls12381"] = MagicMock()

from eth_consensus_specs.debug.random_value import RandomizationMode as Mode  # noqa: E402
from eth_consensus_specs.debug.random_value import get_random_ssz_object
from eth_consensus_specs.utils.ssz import ssz_typing as ssz
from eth_consensus_specs.utils.ssz.ssz_impl import hash_tree_root, serialize

FORKS = ["phase0", "altair", "bellatrix", "capella", "deneb", "electra", "fulu"]
SPAN = 100  # epochs that a fork lasts on this made-up chain
DOMAIN_APPLICATION_BUILDER = b"\x00\x00\x00\x01"
MODES = [Mode.mode_random] * 6 + [Mode.mode_zero, Mode.mode_max, Mode.mode_nil_count, Mode.mode_one_count]


def hexed(value):
    return "0x" + bytes(value).hex()


def encode(value):
    """Beacon-API JSON: integers quoted, bytes and bits in hex."""
    if isinstance(value, ssz.Boolean):
        return bool(value)
    if isinstance(value, ssz.Uint):
        return str(int(value))
    if isinstance(value, (ssz.BitList, ssz.BitVector)):
        return hexed(serialize(value))
    if isinstance(value, (ssz.List, ssz.Vector)):
        return [encode(item) for item in value]
    if isinstance(value, bytes):
        return hexed(value)
    return {name: encode(getattr(value, name)) for name in value.fields()}


class Chain:
    def __init__(self, preset, rng):
        self.specs = {f: importlib.import_module(f"eth_consensus_specs.{f}.{preset}") for f in FORKS}
        config = self.specs["fulu"].config
        names = ["GENESIS"] + [f.upper() for f in FORKS[1:]]
        self.versions = [bytes(getattr(config, f"{n}_FORK_VERSION")) for n in names]
        self.root = rng.randbytes(32)
        self.preset = preset

    def pinned(self):
        forks = [
            {"name": f, "version": hexed(v), "epoch": SPAN * i}
            for i, (f, v) in enumerate(zip(FORKS, self.versions))
        ]
        return {"preset": self.preset, "genesis_validators_root": hexed(self.root), "forks": forks}


class Cases:
    """The requests of one fork."""

    def __init__(self, chain, index, rng):
        self.chain, self.index, self.rng = chain, index, rng
        self.fork = FORKS[index]
        self.spec = chain.specs[self.fork]
        last = FORKS[-1] == self.fork
        self.epoch = rng.randint(SPAN * index, 2**40 if last else SPAN * (index + 1) - 1)
        per_epoch = int(self.spec.SLOTS_PER_EPOCH)
        self.slot = self.epoch * per_epoch + rng.randrange(per_epoch)

    def random(self, kind):
        mode = self.rng.choice(MODES)
        # Long lists only now and then: a full electra bit list has 131072 bits.
        longest = self.rng.choice([4, 4, 4, 70, 3000])
        return get_random_ssz_object(self.rng, kind, 64, longest, mode, False)

    def request(self, kind, payload, body, message, domain, version=None, fork_info=True, root=None):
        spec, chain = self.spec, self.chain
        version = chain.versions[self.index] if version is None else version
        root = chain.root if root is None else root
        domain = spec.compute_domain(spec.DomainType(domain), spec.Version(version), spec.Root(root))
        out = {"now_slot": self.slot, "type": kind, payload: body, "signingRoot": hexed(spec.compute_signing_root(message, domain))}
        if fork_info:
            out["fork_info"] = {
                "fork": {
                    "previous_version": hexed(chain.versions[max(self.index - 1, 0)]),
                    "current_version": hexed(chain.versions[self.index]),
                    "epoch": str(self.rng.choice([self.epoch, SPAN * self.index])),
                },
                "genesis_validators_root": hexed(chain.root),
            }
        return out

    def phase0(self):
        spec = self.spec
        data = self.random(spec.AttestationData)
        data.slot, data.target.epoch = self.slot, self.epoch
        data.source.epoch = self.rng.randint(0, max(self.epoch - 1, 0))
        yield self.request("ATTESTATION", "attestation", encode(data), data, spec.DOMAIN_BEACON_ATTESTER)

        slot, epoch = spec.Slot(self.slot), spec.Epoch(self.epoch)
        yield self.request("AGGREGATION_SLOT", "aggregation_slot", {"slot": str(slot)}, slot, spec.DOMAIN_SELECTION_PROOF)
        yield self.request("RANDAO_REVEAL", "randao_reveal", {"epoch": str(epoch)}, epoch, spec.DOMAIN_RANDAO)

        both = self.random(spec.AggregateAndProof)
        both.aggregate.data.slot = self.slot
        if self.rng.randrange(10) == 0:
            # As long as it may be: the last leaf of the tree.
            bits = type(both.aggregate.aggregation_bits)
            both.aggregate.aggregation_bits = bits(self.rng.randrange(2) for _ in range(bits.limit()))
        body = encode(both)
        yield self.request("AGGREGATE_AND_PROOF", "aggregate_and_proof", body, both, spec.DOMAIN_AGGREGATE_AND_PROOF)
        wrapped = {"version": self.fork.upper(), "data": body}
        yield self.request("AGGREGATE_AND_PROOF_V2", "aggregate_and_proof", wrapped, both, spec.DOMAIN_AGGREGATE_AND_PROOF)

        block = self.random(spec.BeaconBlock)
        block.slot = self.slot
        version = {"version": self.fork.upper()}
        if self.index < 2:
            body = version | {"block": encode(block)}
        else:
            header = spec.BeaconBlockHeader(
                slot=block.slot,
                proposer_index=block.proposer_index,
                parent_root=block.parent_root,
                state_root=block.state_root,
                body_root=hash_tree_root(block.body),
            )
            body = version | {"block_header": encode(header)}
        yield self.request("BLOCK_V2", "beacon_block", body, block, spec.DOMAIN_BEACON_PROPOSER)

        leave = self.random(spec.VoluntaryExit)
        leave.epoch = self.rng.choice([self.epoch, self.rng.randint(0, self.epoch)])
        if self.index > FORKS.index("capella"):  # EIP-7044
            version = self.chain.versions[FORKS.index("capella")]
        else:  # of the fork of the head or the one before
            version = self.chain.versions[self.index - (leave.epoch < SPAN * self.index)]
        yield self.request("VOLUNTARY_EXIT", "voluntary_exit", encode(leave), leave, spec.DOMAIN_VOLUNTARY_EXIT, version)

        genesis = self.chain.versions[0]
        deposit = self.random(spec.DepositMessage)
        body = encode(deposit) | {"genesis_fork_version": hexed(genesis)}
        yield self.request("DEPOSIT", "deposit", body, deposit, spec.DOMAIN_DEPOSIT, genesis, False, bytes(32))

    def altair(self):
        spec = self.spec
        root = self.random(spec.Root)
        body = {"beacon_block_root": hexed(root), "slot": str(self.slot)}
        yield self.request("SYNC_COMMITTEE_MESSAGE", "sync_committee_message", body, root, spec.DOMAIN_SYNC_COMMITTEE)

        data = self.random(spec.SyncAggregatorSelectionData)
        data.slot = self.slot
        domain = spec.DOMAIN_SYNC_COMMITTEE_SELECTION_PROOF
        yield self.request("SYNC_COMMITTEE_SELECTION_PROOF", "sync_aggregator_selection_data", encode(data), data, domain)

        both = self.random(spec.ContributionAndProof)
        both.contribution.slot = self.slot
        domain = spec.DOMAIN_CONTRIBUTION_AND_PROOF
        yield self.request("SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF", "contribution_and_proof", encode(both), both, domain)

    def bellatrix(self):
        spec = self.spec

        class ValidatorRegistration(ssz.Container):  # of the builder specification
            fee_recipient: ssz.Bytes20
            gas_limit: ssz.Uint64
            timestamp: ssz.Uint64
            pubkey: ssz.Bytes48

        it = self.random(ValidatorRegistration)
        genesis = self.chain.versions[0]
        yield self.request(
            "VALIDATOR_REGISTRATION", "validator_registration", encode(it), it,
            DOMAIN_APPLICATION_BUILDER, genesis, False, bytes(32),
        )

    def all(self):
        yield from self.phase0()
        for since, more in enumerate([self.altair, self.bellatrix], start=1):
            if self.index >= since:
                yield from more()


def main(preset, cases, seed):
    rng = Random(f"{preset} {seed}")
    chain = Chain(preset, rng)
    print(json.dumps(chain.pinned()))
    for _ in range(int(cases)):
        for index in range(len(FORKS)):
            for request in Cases(chain, index, rng).all():
                print(json.dumps(request))


main(*sys.argv[1:])
