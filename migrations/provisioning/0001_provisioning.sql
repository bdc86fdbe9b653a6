-- The catalogue. A revision never changes, but for digests that a pin adds to
-- its text; nodes keep the revision that they were launched with.
create table chain (
    id          text        primary key,
    revision    bigint      not null,
    version     bigint      not null default 1,
    create_time timestamptz not null default now()
);

create table chain_revision (
    chain_id    text        not null references chain,
    revision    bigint      not null,
    chain_toml  text        not null,
    create_time timestamptz not null default now(),
    primary key (chain_id, revision)
);

alter table chain add constraint chain_has_its_revision
    foreign key (id, revision) references chain_revision (chain_id, revision)
    deferrable initially deferred;

-- What a revision names beside its text, such as a genesis.
create table chain_file (
    chain_id text   not null,
    revision bigint not null,
    name     text   not null,
    contents bytea  not null,
    primary key (chain_id, revision, name),
    foreign key (chain_id, revision) references chain_revision
);

create table node (
    id                 uuid        primary key,
    account_id         uuid        not null,
    name               text        not null,
    chain_id           text        not null,
    chain_revision     bigint      not null,
    role               text        not null
                       constraint node_role_known
                       check (role in ('validator', 'full', 'archive', 'sentry', 'bridge',
                                       'prover', 'light')),
    -- Where the machine comes from.
    source_lease_id    uuid,
    source_offer_id    uuid,
    max_price_currency text,
    max_price_micros   bigint,
    term_seconds       bigint      not null,
    settings           jsonb       not null default '{}',
    state              text        not null
                       constraint node_state_known
                       check (state in ('pending', 'placing', 'launching', 'running', 'degraded',
                                        'stopping', 'stopped', 'retiring', 'retired', 'failed')),
    status_reason      text        not null default '',
    health             text        not null default 'unknown'
                       constraint node_health_known
                       check (health in ('unknown', 'healthy', 'syncing', 'degraded', 'down')),
    health_reason      text        not null default '',
    components         jsonb       not null default '[]',
    -- The lease in use; whether the next was asked for and not learnt of yet;
    -- how many were made for the node before.
    lease_id           uuid,
    lease_asked        boolean     not null default false,
    lease_number       integer     not null default 0,
    last_event         bigint      not null default 0,
    version            bigint      not null default 1,
    create_time        timestamptz not null default now(),
    constraint node_has_one_source
        check (num_nonnulls(source_lease_id, source_offer_id, max_price_micros) = 1),
    constraint node_price_has_a_currency
        check ((max_price_micros is null) = (max_price_currency is null)),
    foreign key (chain_id, chain_revision) references chain_revision (chain_id, revision)
);

create unique index node_name_taken on node (account_id, name) where state <> 'retired';
create index node_newest on node (account_id, id desc);

create table placement (
    id           uuid        primary key,
    node_id      uuid        not null references node,
    machine_id   uuid        not null,
    lease_id     uuid        not null,
    fence        bigint      not null constraint placement_fence_is_positive check (fence > 0),
    state        text        not null
                 constraint placement_state_known
                 check (state in ('current', 'fenced', 'wiped', 'abandoned')),
    -- What it takes of the machine.
    cpu_millis   bigint      not null,
    memory_bytes bigint      not null,
    gpus         integer     not null,
    ports        text[]      not null,
    -- Added to the numbers of its ports, so that nodes can share a machine.
    port_offset  integer     not null,
    -- When all of it stood on the machine, and when it was fenced.
    deploy_time  timestamptz,
    fence_time   timestamptz,
    create_time  timestamptz not null default now(),
    constraint placement_fence_is_its_own unique (node_id, fence)
);

-- The invariant the product stands on: one place where a node may act.
create unique index placement_one_current on placement (node_id) where state = 'current';
create index placement_on_machine on placement (machine_id) where state in ('current', 'fenced');

create function placement_keeps_its_fence() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        -- Two placers wait for each other here, so that the second sees the first.
        perform 1 from node where id = new.node_id for update;
        if exists (select 1 from placement where node_id = new.node_id and fence >= new.fence) then
            raise exception 'a fence only grows'
                using errcode = 'check_violation', constraint = 'placement_fence_grows';
        end if;
    elsif (new.id, new.node_id, new.machine_id, new.fence)
            is distinct from (old.id, old.node_id, old.machine_id, old.fence)
          or (old.state <> 'current' and new.state = 'current') then
        raise exception 'a placement never moves and never comes back'
            using errcode = 'check_violation', constraint = 'placement_is_final';
    end if;
    return new;
end $$;

create trigger placement_keeps_its_fence before insert or update on placement
    for each row execute function placement_keeps_its_fence();

create function placement_stays() returns trigger language plpgsql as $$
begin
    raise exception 'a placement is never forgotten, or its fence could come back'
        using errcode = 'check_violation', constraint = 'placement_stays';
end $$;

create trigger placement_stays before delete on placement
    for each row execute function placement_stays();

-- What happened to a node, in order; the newest are kept.
create table node_event (
    node_id     uuid        not null references node,
    sequence    bigint      not null,
    create_time timestamptz not null default now(),
    step        text        not null,
    message     text        not null,
    percent     integer     not null constraint node_event_percent_known
                            check (percent between -1 and 100),
    state       text        not null,
    primary key (node_id, sequence)
);

-- Requests seen; see berth_runtime::once.
create table request (
    account_id  uuid        not null,
    request_id  uuid        not null,
    body_hash   bytea       not null,
    resource_id text,
    create_time timestamptz not null default now(),
    primary key (account_id, request_id)
);

-- Slow work; see berth_runtime::reconcile.
create table work (
    kind          text        not null,
    object_id     uuid        not null,
    not_before    timestamptz not null default now(),
    attempts      integer     not null default 0,
    wakes         bigint      not null default 0,
    claimed_by    uuid,
    claimed_until timestamptz,
    claim_fence   bigint      not null default 0,
    outcome       text,
    reason        text,
    primary key (kind, object_id)
);
create index work_due on work (not_before);
create sequence work_claim;
