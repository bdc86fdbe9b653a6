-- What owners withdrew is numbered for each key and remembered in Vault, outside
-- of this database. A row is released up to a number: a key that was withdrawn
-- under a higher one signs nothing, whatever the row says.
alter table validator
    add column released bigint  not null default 0 constraint validator_released_is_a_count
                                check (released >= 0),
    -- What it signed left this database, so that it may have signed elsewhere.
    add column exported boolean not null default false;
-- Of what is silent now nobody wrote down whether it did.
update validator set exported = true where state in ('disabled', 'removed');
