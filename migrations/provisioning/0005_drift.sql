-- What was found when the machine of a node was compared with what should
-- stand there, and what was done about it. Kept while the node is.
create table drift (
    node_id      uuid        primary key references node,
    -- The placement that was looked at; another one begins anew.
    placement_id uuid        not null references placement,
    look_time    timestamptz,
    -- When the hardware was measured again, in which run of the machine, and
    -- what it has lost since it was verified.
    facts_time   timestamptz,
    boot         text        not null default '',
    hardware     text[]      not null default '{}',
    -- What differs and is not put right; it was told once.
    report       text        not null default '',
    -- When what was put right, of the past day.
    repairs      jsonb       not null default '{}'
);
