-- What the chain says of a validator: running is not earning.
alter table node
    add column duty text not null default 'unknown'
    constraint node_duty_known
    check (duty in ('unknown', 'syncing', 'not_in_set', 'earning', 'delinquent', 'jailed',
                    'tombstoned', 'exiting', 'exited')),
    add column duty_reason text not null default '';
