-- The tables that a service has for `once` and `reconcile`, as their
-- documentation gives them, and one for effects.
create table request (
    account_id  uuid        not null,
    request_id  uuid        not null,
    body_hash   bytea       not null,
    resource_id text,
    create_time timestamptz not null default now(),
    primary key (account_id, request_id)
);

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

create table effect (
    object_id uuid not null
);
