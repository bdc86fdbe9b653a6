-- Which Vault this database belongs with, by an id that both keep. A control plane
-- with another Vault has another inventory, too: it would take up leases here and find
-- no machine for them.
create table vault (
    sole boolean primary key default true constraint vault_is_one check (sole),
    id   uuid    not null
);
