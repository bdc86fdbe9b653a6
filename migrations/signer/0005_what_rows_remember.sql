-- What was given away counts as a withdrawal too, and stands in Vault like one.
-- A row knows the highest that it wrote there itself: where Vault has a higher
-- one the row is older than what its owner did.
alter table validator
    add column noted           bigint      not null default 0 constraint validator_noted_is_a_count
                               check (noted >= 0),
    -- The newest epoch in which a quarantined key was seen: a report of silence
    -- may come late.
    add column active_epoch    bigint,
    -- When the key came, which may be days after its row.
    add column quarantine_time timestamptz not null default now();
update validator set quarantine_time = create_time,
                     noted = released + case when state = 'disabled' then 1 else 0 end;
