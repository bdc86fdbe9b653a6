-- The last upgrade of a node that was asked for.
create table node_upgrade (
    node_id       uuid        primary key references node,
    chain_id      text        not null,
    from_revision bigint      not null,
    to_revision   bigint      not null,
    -- As people know them.
    from_version  text        not null,
    to_version    text        not null,
    from_settings jsonb       not null,
    to_settings   jsonb       not null,
    -- Whether the old version can read what the new one leaves.
    reversible    boolean     not null,
    state         text        not null
                  constraint node_upgrade_state_known
                  check (state in ('pulling', 'checking', 'rolling_back', 'done', 'rolled_back',
                                   'given_up', 'failed')),
    reason        text        not null default '',
    -- What is known of the health of what was started.
    deadline      timestamptz not null,
    look_time     timestamptz not null,
    steady_time   timestamptz,
    restarts      bigint      not null default 0,
    height        bigint,
    create_time   timestamptz not null,
    foreign key (chain_id, from_revision) references chain_revision (chain_id, revision),
    foreign key (chain_id, to_revision) references chain_revision (chain_id, revision)
);

-- The version of a revision, as its text says: a line of its own before the
-- first table, which the parser wants there.
alter table chain_revision add column version text not null generated always as (
    coalesce(substring(chain_toml from '(?n)^\s*["'']?version["'']?\s*=\s*["'']+([^"'']*)["'']'), '')
) stored;
create index chain_revision_version on chain_revision (chain_id, version, revision);
