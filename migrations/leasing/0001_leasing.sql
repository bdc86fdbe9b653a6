-- One row a lease; closed ones stay, because the ledger names them.
create table lease (
    id             uuid        primary key,
    account_id     uuid        not null,
    -- What the account asked for.
    wanted_offer   uuid,
    requirements   jsonb,
    max_currency   text,
    max_micros     bigint,
    term_seconds   bigint      not null,
    display_name   text        not null,
    -- What became of it.
    state          text        not null,
    status_reason  text        not null default '',
    close_reason   text,
    -- What inventory gave for it.
    machine_id     uuid,
    offer_id       uuid,
    currency       text,
    price_micros   bigint,
    max_seconds    bigint,
    -- Its time and what it cost up to `charged_until`.
    start_time     timestamptz,
    expire_time    timestamptz,
    end_time       timestamptz,
    charged_until  timestamptz,
    cost_micros    bigint      not null default 0,
    -- What the account must have for it before it starts.
    deposit_micros bigint      not null default 0,
    -- Since when the account owes money.
    unpaid_since   timestamptz,
    version        bigint      not null default 1,
    create_time    timestamptz not null default now(),
    constraint lease_state_known check (state in ('pending', 'active', 'ending', 'closed')),
    constraint lease_close_reason_known check (close_reason in (
        'owner', 'expired', 'insufficient_funds', 'supplier', 'machine_lost', 'no_capacity')),
    constraint lease_ends_for_a_reason
        check ((state in ('ending', 'closed')) = (close_reason is not null)),
    constraint lease_active_has_a_machine check (state <> 'active' or (
        machine_id is not null and offer_id is not null and currency is not null
        and price_micros is not null and start_time is not null and expire_time is not null
        and charged_until is not null)),
    constraint lease_wants_something
        check (wanted_offer is not null or max_micros is not null and max_currency is not null),
    constraint lease_charged_while_it_runs check (charged_until >= start_time)
);

-- A machine has one lease that is not over.
create unique index lease_machine_busy on lease (machine_id) where state <> 'closed';

-- Serves ListLeases: newest first within an account.
create index lease_account_newest on lease (account_id, id desc);

-- Serves what an account's running leases cost.
create index lease_account_active on lease (account_id, currency) where state = 'active';

-- What each account has: the sum of its entries, kept beside them so that a
-- posting locks one row and knows the balance after it.
create table balance (
    account_id uuid   not null,
    currency   text   not null,
    micros     bigint not null,
    primary key (account_id, currency)
);

-- The ledger. Every transfer is entries that sum to zero: one in the
-- account's book, one in the bank's (credits) or the revenue's (charges).
create table entry (
    id             uuid        primary key,
    -- Order of an account's statement.
    position       bigint      generated always as identity,
    transfer_id    uuid        not null,
    book           text        not null
                   constraint entry_book_known check (book in ('account', 'bank', 'revenue')),
    -- Whose money moved, in either book.
    account_id     uuid        not null,
    currency       text        not null,
    micros         bigint      not null,
    -- The account's balance after it.
    balance_micros bigint,
    kind           text        not null
                   constraint entry_kind_known check (kind in ('credit', 'charge')),
    lease_id       uuid        references lease,
    memo           text        not null default '',
    create_time    timestamptz not null default now(),
    constraint entry_of_an_account_has_a_balance
        check ((book = 'account') = (balance_micros is not null)),
    constraint entry_charge_names_its_lease check ((kind = 'charge') = (lease_id is not null))
);

-- Serves ListLedgerEntries: newest first within an account.
create index entry_statement on entry (account_id, position desc) where book = 'account';

-- What one statement adds is whole transfers, each balanced.
create function entry_balances() returns trigger language plpgsql as $$
begin
    if exists (select from added group by transfer_id, currency having sum(micros) <> 0) then
        raise exception 'a transfer does not sum to zero'
            using errcode = 'check_violation', constraint = 'entry_balances';
    end if;
    return null;
end $$;

create trigger entry_balances after insert on entry
    referencing new table as added for each statement execute function entry_balances();

-- What is written stays; a mistake is put right by another transfer.
create function entry_is_final() returns trigger language plpgsql as $$
begin
    raise exception 'ledger entries are never changed'
        using errcode = 'check_violation', constraint = 'entry_is_final';
end $$;

create trigger entry_is_final before update or delete or truncate on entry
    for each statement execute function entry_is_final();

-- Requests that were done; see berth_runtime::once.
create table request (
    account_id  uuid        not null,
    request_id  uuid        not null,
    body_hash   bytea       not null,
    resource_id text,
    create_time timestamptz not null default now(),
    primary key (account_id, request_id)
);

-- Serves forgetting the request of a lease that was refused.
create index request_resource on request (account_id, resource_id);

-- Work on leases; see berth_runtime::reconcile.
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
