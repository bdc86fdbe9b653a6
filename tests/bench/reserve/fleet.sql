-- A market of :machines machines, all free and on offer: six sizes of processor
-- by three of memory, five of disk and three speeds of it, every tenth with
-- GPUs, none exactly alike. A price follows the hardware, give or take a fifth,
-- so that what is too small stands first. The same fleet at each run.
create function draw(machine bigint, what int, sides int) returns int
    language sql immutable
    return (hashint8extended(machine, what) & 2147483647) % sides;

insert into supplier (id, account_id, name)
values ('01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000002', 'bench');

with flags as (
    select array_agg(case n when 1 then 'avx2' when 2 then 'sha_ni' else 'flag_' || n end) as list
    from generate_series(1, 130) n),
drawn as (
    select n,
           (array[4, 4, 8, 8, 16, 16, 32, 64, 96])[1 + draw(n, 1, 9)] as cores,
           (array[2, 4, 8])[1 + draw(n, 2, 3)] as gib_a_core,
           (array[500, 1000, 2000, 4000, 8000])[1 + draw(n, 3, 5)]::bigint as gb,
           draw(n, 4, 3) as speed,
           draw(n, 5, 10) = 0 as gpu
    from generate_series(1, :machines) n)
insert into machine (id, account_id, supplier_id, name, address, login, host_key, claim, region,
    state, facts, verify_time, cpu_cores, memory_bytes, disk_bytes, read_iops, write_iops,
    cpu_flags, smt, gpu_count, gpu_memory, gpu_driver, ask_offer_id, ask_currency, ask_micros,
    ask_max_seconds)
select gen_random_uuid(), '01900000-0000-7000-8000-000000000002',
    '01900000-0000-7000-8000-000000000001', 'm' || n, 'm' || n || '.example.com', 'berth',
    'ssh-ed25519 AAAA', '{}', 'de-fra', 'available',
    jsonb_build_object('cpu_flags', flags.list), now(), cores,
    ((cores * gib_a_core)::bigint << 30) - draw(n, 6, 900) * 1048576,
    gb * 1000000000 - draw(n, 7, 100) * gb * 1000000,
    (array[8000, 60000, 400000])[1 + speed] * (90 + draw(n, 8, 20)) / 100,
    (array[3000, 20000, 100000])[1 + speed] * (90 + draw(n, 9, 20)) / 100,
    flags.list, true, case when gpu then 8 else 0 end, case when gpu then 80::bigint << 30 else 0 end,
    case when gpu then array[555, 42]::bigint[] else '{}' end, gen_random_uuid(), 'EUR',
    (cores * 10000 + cores * gib_a_core * 2000 + gb * 20 + speed * 50000
        + case when gpu then 8000000 else 0 end) * (80 + draw(n, 10, 40)) / 100,
    30 * 86400
from drawn cross join flags;

insert into offer (id, account_id, machine_id, currency, price_micros, max_seconds, state)
select ask_offer_id, account_id, id, ask_currency, ask_micros, ask_max_seconds, 'open' from machine;
