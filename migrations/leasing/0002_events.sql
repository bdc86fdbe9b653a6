-- What accounts should know of their leases and their money. Written once,
-- whoever looks and however often.
create table account_event (
    id             uuid        primary key,
    account_id     uuid        not null,
    topic          text        not null
                   constraint account_event_topic_known check (topic in (
                       'lease.ends_soon', 'lease.unpaid', 'lease.paid', 'lease.ended',
                       'balance.low')),
    lease_id       uuid        references lease,
    currency       text,
    -- What makes it another event of its topic: the end that is near, the time
    -- since when nothing is paid; and how long before it was told.
    occasion       timestamptz not null,
    ahead_seconds  bigint      not null default 0,
    stop_time      timestamptz,
    message        text        not null,
    create_time    timestamptz not null,
    constraint account_event_is_of_a_lease_or_a_balance
        check ((lease_id is null) <> (currency is null)),
    constraint account_event_once unique nulls not distinct
        (account_id, topic, lease_id, currency, occasion, ahead_seconds)
);

-- Serves ListAccountEvents: newest first within an account.
create index account_event_newest on account_event (account_id, id desc);

-- Serves the warnings of a lease.
create index account_event_lease on account_event (lease_id) where lease_id is not null;

-- When it was last looked how long a balance lasts, and for which span before
-- its end the account was warned; nothing while it lasts longer.
alter table balance
    add column forecast_time  timestamptz,
    add column warned_seconds bigint;

-- Where accounts want to be told.
create table webhook (
    id            uuid        primary key,
    account_id    uuid        not null,
    url           text        not null,
    -- None means all.
    topics        text[]      not null,
    state         text        not null
                  constraint webhook_state_known check (state in ('enabled', 'disabled', 'deleting')),
    status_reason text        not null default '',
    success_time  timestamptz,
    version       bigint      not null default 1,
    create_time   timestamptz not null
);

-- Serves ListWebhooks, and finding who is to be told.
create index webhook_account on webhook (account_id, id desc);

-- Events on their way to webhooks.
create table delivery (
    webhook_id   uuid        not null references webhook on delete cascade,
    event_id     uuid        not null references account_event,
    state        text        not null default 'pending'
                 constraint delivery_state_known check (state in ('pending', 'delivered', 'failed')),
    attempts     integer     not null default 0,
    http_status  integer,
    latency_ms   bigint,
    problem      text        not null default '',
    attempt_time timestamptz,
    next_time    timestamptz not null,
    create_time  timestamptz not null,
    primary key (webhook_id, event_id)
);

-- Serves what is to be sent next.
create index delivery_due on delivery (webhook_id, next_time) where state = 'pending';
