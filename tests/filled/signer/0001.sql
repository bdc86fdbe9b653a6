insert into chain (name, genesis_validators_root, genesis_time, seconds_per_slot, preset, forks) values
    ('devnet', decode(repeat('00', 32), 'hex'), 0, 12, 'minimal',
     '[{"name": "phase0", "epoch": 0, "version": "0x00000001"}]');

insert into node (id, account_id, fence, granted) values
    ('0198c0de-0000-7000-8000-000000000001', '0198c0de-0000-7000-8000-00000000000a', 1, true);

insert into validator (public_key, account_id, chain, state, node_id, fence, granted, block_slot,
                       block_root, request_id) values
    (decode(repeat('01', 48), 'hex'), '0198c0de-0000-7000-8000-00000000000a', 'devnet', 'active',
     '0198c0de-0000-7000-8000-000000000001', 1, true, 7, decode(repeat('07', 32), 'hex'),
     '0198c0de-0000-7000-8000-000000000002'),
    (decode(repeat('02', 48), 'hex'), '0198c0de-0000-7000-8000-00000000000a', 'devnet', 'disabled',
     null, 0, false, null, null, '0198c0de-0000-7000-8000-000000000002');

insert into signature (public_key, node_id, fence, kind, slot, signing_root) values
    (decode(repeat('01', 48), 'hex'), '0198c0de-0000-7000-8000-000000000001', 1, 'block', 7,
     decode(repeat('07', 32), 'hex'));

insert into seal (sequence, hash, begins) values (0, decode(repeat('05', 32), 'hex'), true);
