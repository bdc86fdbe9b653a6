-- Rows were safe one by one, and not all at once.
create trigger audit_not_emptied before truncate on audit
    for each statement execute function audit_is_append_only();
