-- Which placement speaks for a node, and what is expected of it.
create table target (
    node_id      uuid        primary key,
    account_id   uuid        not null,
    placement_id uuid        not null,
    fence        bigint      not null constraint target_fence_positive check (fence > 0),
    running      boolean     not null,
    min_peers    integer     not null,
    max_distance bigint      not null,
    max_block_age_s       bigint  not null,
    min_disk_free_percent integer not null,
    silence_s    bigint      not null,
    gpu_count    integer     not null,
    put_time     timestamptz not null default now()
);

-- One row for each name and label set of a node, with its newest sample.
create table series (
    id         bigint           generated always as identity primary key,
    node_id    uuid             not null references target on delete cascade,
    name       text             not null,
    -- `key=value` pairs in order, separated by commas.
    labels     text             not null,
    unit       text             not null,
    fence      bigint           not null,
    last_time  timestamptz      not null,
    last_value double precision not null,
    constraint series_known unique (node_id, name, labels)
);

-- Short history. Removed after six hours.
create table sample (
    series_id bigint           not null references series on delete cascade,
    time      timestamptz      not null,
    value     double precision not null,
    primary key (series_id, time)
);

create index sample_oldest on sample using brin (time);

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

-- Numbers never come back, not even when a row is made anew.
create sequence work_claim;
