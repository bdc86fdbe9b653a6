-- What the signer may never forget. The role that serves owns none of this; it
-- gets what it needs from `berth-signer migrate`.

-- Which database this is: a key loads only for the one that its record names.
create table identity (
    singleton   boolean     primary key default true
                constraint identity_is_one check (singleton),
    database_id uuid        not null default gen_random_uuid(),
    create_time timestamptz not null default now()
);
insert into identity default values;

-- The chains, as the catalogue pins them. Forks follow; nothing else changes.
create table chain (
    name                    text        primary key,
    genesis_validators_root bytea       not null constraint chain_root_is_32_bytes
                                        check (length(genesis_validators_root) = 32),
    genesis_time            bigint      not null,
    seconds_per_slot        integer     not null constraint chain_slot_has_a_length
                                        check (seconds_per_slot > 0),
    preset                  text        not null constraint chain_preset_known
                                        check (preset in ('mainnet', 'minimal')),
    -- [{"name": "phase0", "epoch": 0, "version": "0x00000000"}, …], oldest first.
    forks                   jsonb       not null,
    create_time             timestamptz not null default now()
);

-- The fence of each node, for validators that join it later.
create table node (
    id         uuid    primary key,
    account_id uuid    not null,
    fence      bigint  not null default 0 constraint node_fence_is_a_count check (fence >= 0),
    granted    boolean not null default false
);

-- One row decides about one key: fence, grant and watermarks together.
create table validator (
    public_key       bytea       primary key constraint validator_key_is_48_bytes
                                 check (length(public_key) = 48),
    account_id       uuid        not null,
    chain            text        not null references chain (name),
    state            text        not null constraint validator_state_known
                                 check (state in ('quarantined', 'active', 'disabled', 'removed')),
    status_reason    text        not null default '',
    node_id          uuid        references node,
    fence            bigint      not null default 0,
    granted          boolean     not null default false,
    fee_recipient    bytea       constraint validator_fee_recipient_is_20_bytes
                                 check (length(fee_recipient) = 20),
    gas_limit        bigint      not null default 0,
    -- The watermarks: the highest that was signed or imported, and the root
    -- that this signer recorded there; an import leaves no root.
    block_slot       bigint,
    block_root       bytea,
    source_epoch     bigint,
    target_epoch     bigint,
    attestation_root bytea,
    -- The request that brought the key; none until the key is in Vault.
    request_id       uuid,
    version          bigint      not null default 1,
    create_time      timestamptz not null default now(),
    constraint validator_watermarks_are_pairs check ((source_epoch is null) = (target_epoch is null)),
    constraint validator_block_root_has_a_slot check (block_root is null or block_slot is not null),
    constraint validator_attestation_root_has_epochs
        check (attestation_root is null or target_epoch is not null),
    constraint validator_granted_has_a_node check (not granted or node_id is not null)
);
create index validator_of_account on validator (account_id, public_key);
create index validator_of_node on validator (node_id, public_key);
create index validator_of_request on validator (account_id, request_id);

create function fence_only_grows() returns trigger language plpgsql as $$
begin
    raise exception 'a fence only grows'
        using errcode = 'check_violation', constraint = 'fence_only_grows';
end $$;

create trigger node_fence_only_grows before update on node
    for each row when (new.fence < old.fence) execute function fence_only_grows();

create function watermark_only_grows() returns trigger language plpgsql as $$
begin
    raise exception 'a watermark only grows'
        using errcode = 'check_violation', constraint = 'watermark_only_grows';
end $$;

create trigger validator_watermark_only_grows before update on validator
    for each row when (
        (old.block_slot is not null and (new.block_slot is null or new.block_slot < old.block_slot))
        or (old.target_epoch is not null and (new.target_epoch is null
            or new.target_epoch < old.target_epoch or new.source_epoch < old.source_epoch))
        -- Another root at the same watermark is the double signing itself.
        or (new.block_slot = old.block_slot and new.block_root is not null
            and new.block_root is distinct from old.block_root)
        or (new.target_epoch = old.target_epoch and new.attestation_root is not null
            and new.attestation_root is distinct from old.attestation_root)
    ) execute function watermark_only_grows();

-- A validator that goes to another node starts from that node's fence, which
-- may be lower; within one node it only grows.
create trigger validator_fence_only_grows before update on validator
    for each row when (new.node_id = old.node_id and new.fence < old.fence)
    execute function fence_only_grows();

-- Replicas keep who is asked for what in memory; this tells them that it changed.
-- Watermarks, fences and grants are not among it: they stand here alone.
create function validators_changed() returns trigger language plpgsql as $$
begin
    perform pg_notify('berth_validators', '');
    return null;
end $$;

create trigger chain_changed after insert or update on chain
    for each row execute function validators_changed();
create trigger validator_came after insert on validator
    for each row execute function validators_changed();
create trigger validator_changed after update on validator
    for each row when (
        (old.state, old.node_id, old.account_id, old.fee_recipient, old.gas_limit)
        is distinct from
        (new.state, new.node_id, new.account_id, new.fee_recipient, new.gas_limit)
    ) execute function validators_changed();

create function never_forgotten() returns trigger language plpgsql as $$
begin
    raise exception 'what was signed is never forgotten or changed'
        using errcode = 'check_violation', constraint = 'never_forgotten';
end $$;

create trigger validator_stays_itself before update on validator
    for each row when (new.public_key <> old.public_key or new.account_id <> old.account_id
                       or new.chain <> old.chain)
    execute function never_forgotten();
create trigger validator_stays before delete on validator
    for each row execute function never_forgotten();
create trigger validator_is_not_truncated before truncate on validator
    execute function never_forgotten();
create trigger node_stays before delete on node
    for each row execute function never_forgotten();
create trigger node_is_not_truncated before truncate on node
    execute function never_forgotten();

-- What was signed, for audit and export; nobody asks it for permission.
create table signature (
    id           bigint      not null generated always as identity,
    create_time  timestamptz not null default now(),
    transaction  xid8        not null default pg_current_xact_id(),
    public_key   bytea       not null,
    node_id      uuid        not null,
    fence        bigint      not null,
    kind         text        not null constraint signature_kind_known
                             check (kind in ('block', 'attestation')),
    slot         bigint,
    source_epoch bigint,
    target_epoch bigint,
    signing_root bytea       not null,
    primary key (create_time, id)
) partition by range (create_time);
create table signature_rest partition of signature default;
create index signature_of_validator on signature (public_key, id);
create index signature_by_transaction on signature (transaction);

create trigger signature_stays before update or delete on signature
    for each row execute function never_forgotten();
create trigger signature_is_not_truncated before truncate on signature
    execute function never_forgotten();
create trigger signature_rest_is_not_truncated before truncate on signature_rest
    execute function never_forgotten();

-- Makes a partition for each of so many months from this one on. A month of
-- which the default partition holds something stays there.
create function signature_months(months integer) returns void language plpgsql as $$
declare
    month date;
    name  text;
begin
    for month in select date_trunc('month', now() at time zone 'utc')::date
                        + make_interval(months => n) from generate_series(0, months - 1) n
    loop
        name := format('signature_%s', to_char(month, 'YYYYMM'));
        continue when to_regclass(name) is not null or exists (
            select from signature_rest
            where create_time >= month::timestamp at time zone 'utc'
              and create_time < (month + interval '1 month') at time zone 'utc');
        execute format('create table %I partition of signature for values from (%L) to (%L)',
                       name, month::timestamp at time zone 'utc',
                       (month + interval '1 month') at time zone 'utc');
        execute format('create trigger %I before truncate on %I execute function never_forgotten()',
                       name || '_is_not_truncated', name);
    end loop;
end $$;

-- What was sealed into the anchor outside this database, in order. The hash
-- covers the seal before and every signature between the two.
create table seal (
    sequence    bigint      primary key,
    -- Every signature of a transaction before this one is sealed.
    until       xid8        not null default pg_snapshot_xmin(pg_current_snapshot()),
    hash        bytea       not null constraint seal_hash_is_32_bytes check (length(hash) = 32),
    -- A new chain begins here: the hash is drawn and covers nothing.
    begins      boolean     not null default false,
    create_time timestamptz not null default now()
);

-- The hash of a seal, from the one before it.
create function sealed(before bytea, since xid8, until xid8) returns bytea language sql stable as $$
    select sha256(before || coalesce(string_agg(sha256(convert_to(concat_ws(' ',
               id, encode(public_key, 'hex'), node_id, fence, kind, coalesce(slot::text, '-'),
               coalesce(source_epoch::text, '-'), coalesce(target_epoch::text, '-'),
               encode(signing_root, 'hex')), 'UTF8')), '' order by transaction, id), ''))
    from signature where transaction >= since and transaction < until
$$;

-- Requests seen; see berth_runtime::once.
create table request (
    account_id  uuid        not null,
    request_id  uuid        not null,
    body_hash   bytea       not null,
    resource_id text,
    create_time timestamptz not null default now(),
    primary key (account_id, request_id)
);
