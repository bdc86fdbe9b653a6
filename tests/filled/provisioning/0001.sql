insert into chain (id, revision) values ('cosmos-devnet', 1);
insert into chain_revision (chain_id, revision, chain_toml) values ('cosmos-devnet', 1, '');

insert into node (id, account_id, name, chain_id, chain_revision, role, source_lease_id,
                  term_seconds, state) values
    ('0198c0de-0000-7000-8000-000000000001', '0198c0de-0000-7000-8000-00000000000a', 'n1',
     'cosmos-devnet', 1, 'full', '0198c0de-0000-7000-8000-000000000003', 86400, 'running');
