insert into supplier (id, account_id, name)
values ('01900000-0000-7000-8000-00000000000b', '01900000-0000-7000-8000-00000000000a', 'yard');
-- One that was never measured, and two that are free on offer, one with GPUs.
insert into machine (id, account_id, supplier_id, name, address, login, host_key, claim, region, state, dirty)
values ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-00000000000a', '01900000-0000-7000-8000-00000000000b', 'new', '192.0.2.1', 'berth', 'ssh-ed25519 AAAA', '{}', 'de-fra', 'enrolling', true);
insert into machine (id, account_id, supplier_id, name, address, login, host_key, claim, region, state, facts, verify_time,
    cpu_cores, memory_bytes, disk_bytes, read_iops, write_iops, cpu_flags, smt, gpu_count, gpu_memory, gpu_driver,
    ask_offer_id, ask_currency, ask_micros)
values ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-00000000000a', '01900000-0000-7000-8000-00000000000b', 'plain', '192.0.2.2', 'berth', 'ssh-ed25519 AAAA', '{}', 'de-fra', 'available', '{}', now(),
        8, 33285996544, 450000000000, 40000, 20000, '{avx2}', true, 0, 0, '{}',
        '01900000-0000-7000-8000-000000000012', 'EUR', 1000000),
       ('01900000-0000-7000-8000-000000000003', '01900000-0000-7000-8000-00000000000a', '01900000-0000-7000-8000-00000000000b', 'fast', '192.0.2.3', 'berth', 'ssh-ed25519 AAAA', '{}', 'de-fra', 'available', '{}', now(),
        64, 549755813888, 7000000000000, 400000, 90000, '{avx2}', true, 8, 85899345920, '{555,42}',
        '01900000-0000-7000-8000-000000000013', 'EUR', 9000000);
insert into offer (id, account_id, machine_id, currency, price_micros, state)
values ('01900000-0000-7000-8000-000000000012', '01900000-0000-7000-8000-00000000000a', '01900000-0000-7000-8000-000000000002', 'EUR', 1000000, 'open'),
       ('01900000-0000-7000-8000-000000000013', '01900000-0000-7000-8000-00000000000a', '01900000-0000-7000-8000-000000000003', 'EUR', 9000000, 'open');
