-- The cheaper of the free machines goes to a lease, and one lease is over.
update machine set state = 'reserved', lease_id = '01900000-0000-7000-8000-000000000021'
where id = '01900000-0000-7000-8000-000000000002';
insert into reservation (lease_id, machine_id, offer_id, currency, price_micros)
values ('01900000-0000-7000-8000-000000000021', '01900000-0000-7000-8000-000000000002',
        '01900000-0000-7000-8000-000000000012', 'EUR', 1000000);
insert into reservation (lease_id, released)
values ('01900000-0000-7000-8000-000000000022', true);
