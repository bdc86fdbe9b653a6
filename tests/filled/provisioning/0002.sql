insert into node (id, account_id, name, chain_id, chain_revision, role, source_lease_id,
                  term_seconds, state, validators) values
    ('0198c0de-0000-7000-8000-000000000002', '0198c0de-0000-7000-8000-00000000000a', 'v1',
     'cosmos-devnet', 1, 'validator', '0198c0de-0000-7000-8000-000000000004', 86400, 'running',
     '{0x11}');
