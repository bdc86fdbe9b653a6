-- Which validators a node has, and on which chain.
alter table target add column chain text not null default '';
alter table target add column public_keys text[] not null default '{}';

-- Chains that an endpoint of the operator looks at.
create table chain (
    id              uuid   primary key default gen_random_uuid(),
    name            text   not null constraint chain_known_once unique,
    -- When its epochs are, as the signer pins it; 0 until that is known.
    genesis_time    bigint not null default 0,
    slot_s          bigint not null default 0,
    slots_per_epoch bigint not null default 0,
    -- The newest epoch whose votes were looked at.
    epoch           bigint,
    -- Why nothing is learned, if so.
    problem         text   not null default ''
);

-- Validators as they were seen.
create table observed (
    chain        text        not null references chain (name),
    public_key   text        not null,
    index        bigint,
    status       text        not null,
    slashed      boolean     not null,
    balance      bigint      not null,
    epoch        bigint      not null,
    seen_epoch   bigint,
    silent_first bigint,
    silent_last  bigint,
    observe_time timestamptz not null,
    primary key (chain, public_key),
    constraint observed_silence_is_a_span check
        ((silent_first is null) = (silent_last is null) and silent_first <= silent_last)
);
