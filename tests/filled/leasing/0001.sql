insert into lease (id, account_id, max_currency, max_micros, term_seconds, display_name, state,
                   machine_id, offer_id, currency, price_micros, start_time, expire_time,
                   charged_until, cost_micros, deposit_micros, unpaid_since)
values ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-0000000000aa', 'EUR',
        1000000, 7200, 'validator-1', 'active', '00000000-0000-7000-8000-0000000000b1',
        '00000000-0000-7000-8000-0000000000c1', 'EUR', 1000000, now(), now() + interval '2 hours',
        now(), 0, 1000000, now());
insert into balance (account_id, currency, micros)
values ('00000000-0000-7000-8000-0000000000aa', 'EUR', -1);
insert into work (kind, object_id) values ('lease', '00000000-0000-7000-8000-000000000001');
