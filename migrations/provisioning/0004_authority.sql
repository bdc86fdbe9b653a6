-- The SSH authority that the machines of this database trust. A control plane with
-- another Vault can sign in to none of them, and would make new keys for its nodes.
create table authority (
    sole       boolean primary key default true constraint authority_is_one check (sole),
    public_key text    not null
);
