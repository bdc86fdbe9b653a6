-- Who changed what. Rows are only added; the outcome is filled in once.
create table audit (
    id          uuid        primary key,
    create_time timestamptz not null default now(),
    account_id  uuid        not null,
    token_id    text        not null,
    method      text        not null,
    peer        text        not null,
    -- gRPC status code of the answer; null while the call runs, or when the
    -- gateway ended before it was answered.
    code        integer
);

create index audit_account_newest on audit (account_id, id desc);

create function audit_is_append_only() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and old.code is null
       and (new.id, new.create_time, new.account_id, new.token_id, new.method, new.peer)
         = (old.id, old.create_time, old.account_id, old.token_id, old.method, old.peer) then
        return new;
    end if;
    raise exception 'audit rows are never changed or removed';
end $$;

create trigger audit_append_only before update or delete on audit
    for each row execute function audit_is_append_only();
