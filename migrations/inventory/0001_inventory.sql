-- Who lends machines.
create table supplier (
    id          uuid        primary key,
    account_id  uuid        not null,
    name        text        not null,
    version     bigint      not null default 1,
    create_time timestamptz not null default now(),
    constraint supplier_name_taken unique (account_id, name)
);

-- Serves ListSuppliers: newest first within an account.
create index supplier_account_newest on supplier (account_id, id desc);

-- One row a machine; retired ones stay, because old leases name them.
create table machine (
    id              uuid        primary key,
    account_id      uuid        not null,
    supplier_id     uuid        not null references supplier,
    name            text        not null,
    address         text        not null,
    login           text        not null,
    host_key        text        not null,
    claim           jsonb       not null,
    region          text        not null,
    state           text        not null,
    status_reason   text        not null default '',
    -- A person keeps it out of placement, whatever else it does.
    cordoned        boolean     not null default false,
    -- Somebody used it since it was wiped.
    dirty           boolean     not null default false,
    -- Something was wrong while it was in use: FAULTY once its lease is over.
    suspect         boolean     not null default false,
    -- Number of the latest verification or wipe.
    attempt         bigint      not null default 0,
    -- When that began, or last failed for a passing reason.
    work_time       timestamptz not null default now(),
    lease_id        uuid,
    facts           jsonb,
    verify_time     timestamptz,
    version         bigint      not null default 1,
    create_time     timestamptz not null default now(),
    -- What the facts offer to work; null until measured.
    cpu_cores       bigint,
    memory_bytes    bigint,
    disk_bytes      bigint,
    read_iops       bigint,
    write_iops      bigint,
    cpu_flags       text[],
    smt             boolean,
    gpu_count       bigint,
    gpu_memory      bigint,
    gpu_driver      bigint[],
    -- The open offer, kept beside the hardware so that one index leads to the
    -- cheapest machine that fits.
    ask_offer_id    uuid,
    ask_currency    text,
    ask_micros      bigint,
    ask_min_seconds bigint,
    ask_max_seconds bigint,
    constraint machine_state_known check (state in (
        'enrolling', 'verifying', 'available', 'cordoned', 'reserved', 'leased', 'wiping',
        'faulty', 'retired')),
    constraint machine_held_by_a_lease
        check ((state in ('reserved', 'leased')) = (lease_id is not null)),
    constraint machine_free_is_wiped
        check (not dirty or state not in ('available', 'cordoned', 'reserved')),
    constraint machine_used_is_dirty check (state <> 'leased' or dirty),
    constraint machine_available_is_measured check (state <> 'available' or facts is not null),
    constraint machine_retired_asks_nothing check (state <> 'retired' or ask_offer_id is null)
);

-- A retired machine gives its name and its address free.
create unique index machine_name_taken on machine (supplier_id, name) where state <> 'retired';
create unique index machine_address_taken on machine (supplier_id, address)
    where state <> 'retired';

-- A lease holds one machine.
create unique index machine_lease on machine (lease_id) where lease_id is not null;

-- Serves ListMachines and names instead of identifiers.
create index machine_account_newest on machine (account_id, id desc);
create index machine_account_name on machine (account_id, name) where state <> 'retired';

-- Serves ListMachineWork.
create index machine_work on machine (work_time) where state in ('verifying', 'wiping');

-- Serves ReserveMachine: free machines on offer, cheapest first. Those with
-- GPUs have an index of their own, being few among many.
create index machine_free on machine (ask_currency, ask_micros, id)
    where state = 'available' and ask_offer_id is not null;
create index machine_free_gpu on machine (ask_currency, ask_micros, id)
    where state = 'available' and ask_offer_id is not null and gpu_count > 0;

-- A machine at a price and terms.
create table offer (
    id           uuid        primary key,
    account_id   uuid        not null,
    machine_id   uuid        not null references machine,
    currency     text        not null,
    price_micros bigint      not null constraint offer_costs_something check (price_micros > 0),
    min_seconds  bigint,
    max_seconds  bigint,
    state        text        not null
                 constraint offer_state_known check (state in ('open', 'closed')),
    version      bigint      not null default 1,
    create_time  timestamptz not null default now(),
    constraint offer_terms_ordered check (min_seconds <= max_seconds)
);

-- A machine has one price at a time.
create unique index offer_machine_open on offer (machine_id) where state = 'open';

-- Serves ListOffers.
create index offer_cheapest on offer (currency, price_micros, id) where state = 'open';

-- What each lease got, kept after it is over: a repeated or late reservation
-- for the same lease gets the same machine, or none once it was released.
create table reservation (
    lease_id     uuid        constraint reservation_lease primary key,
    machine_id   uuid        references machine,
    offer_id     uuid        references offer,
    currency     text,
    price_micros bigint,
    max_seconds  bigint,
    released     boolean     not null default false,
    create_time  timestamptz not null default now(),
    constraint reservation_holds_or_is_over check (released or machine_id is not null)
);

-- Requests that were done; see berth_runtime::once.
create table request (
    account_id  uuid        not null,
    request_id  uuid        not null,
    body_hash   bytea       not null,
    resource_id text,
    create_time timestamptz not null default now(),
    primary key (account_id, request_id)
);
