-- Open problems of nodes. They outlive their node.
create table incident (
    id               uuid        primary key,
    account_id       uuid        not null,
    node_id          uuid        not null,
    reason           text        not null,
    severity         text        not null
                     constraint incident_severity_known check (severity in ('warning', 'security')),
    state            text        not null default 'open'
                     constraint incident_state_known
                     check (state in ('open', 'acknowledged', 'resolved')),
    count            bigint      not null constraint incident_was_reported check (count > 0),
    fence            bigint      not null,
    public_key       text        not null,
    detail           text        not null,
    create_time      timestamptz not null,
    last_time        timestamptz not null,
    acknowledge_time timestamptz,
    resolve_time     timestamptz
                     constraint incident_resolved_at
                     check ((state = 'resolved') = (resolve_time is not null)),
    version          bigint      not null default 1
);

-- What comes again while an incident is open is the same incident.
create unique index incident_open_once on incident (node_id, reason) where state <> 'resolved';
create index incident_newest on incident (account_id, id desc);

-- Requests that were claimed; see berth_runtime::once.
create table request (
    account_id  uuid        not null,
    request_id  uuid        not null,
    body_hash   bytea       not null,
    resource_id text,
    create_time timestamptz not null default now(),
    primary key (account_id, request_id)
);
