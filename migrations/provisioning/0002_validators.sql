-- Public keys of the validators that sign on a node.
alter table node
    add column validators text[] not null default '{}'
    constraint node_validators_sign check (role = 'validator' or validators = '{}');
