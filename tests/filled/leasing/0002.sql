-- What an account was told, on its way to a webhook.
insert into account_event (id, account_id, topic, lease_id, occasion, message, create_time)
values ('00000000-0000-7000-8000-0000000000e1', '00000000-0000-7000-8000-0000000000aa',
        'lease.unpaid', '00000000-0000-7000-8000-000000000001', now(), 'unpaid', now());
insert into webhook (id, account_id, url, topics, state, create_time)
values ('00000000-0000-7000-8000-0000000000f1', '00000000-0000-7000-8000-0000000000aa',
        'https://example.com/', '{}', 'enabled', now());
insert into delivery (webhook_id, event_id, next_time, create_time)
values ('00000000-0000-7000-8000-0000000000f1', '00000000-0000-7000-8000-0000000000e1', now(),
        now());
