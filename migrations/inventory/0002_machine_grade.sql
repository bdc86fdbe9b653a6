-- Machines of about the same hardware share a grade, so that finding the
-- cheapest machine that fits looks at one machine a grade, not at every
-- machine that costs less and is too small.

-- The power of two that a quantity reaches, from 1; 0 below 1.
create function capacity_step(quantity bigint) returns bigint
    language sql immutable parallel safe
    return width_bucket(quantity, array[
        1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536,
        131072, 262144, 524288, 1048576, 2097152, 4194304, 8388608, 16777216, 33554432,
        67108864, 134217728, 268435456, 536870912, 1073741824, 2147483648, 4294967296,
        8589934592, 17179869184, 34359738368, 68719476736, 137438953472, 274877906944,
        549755813888, 1099511627776, 2199023255552, 4398046511104, 8796093022208,
        17592186044416, 35184372088832, 70368744177664, 140737488355328, 281474976710656,
        562949953421312, 1125899906842624]::bigint[]);

-- Seven steps of six bits, from the processors down; null until measured.
alter table machine add column grade bigint generated always as (
    (capacity_step(cpu_cores) << 36)
    | (capacity_step(memory_bytes) << 30)
    | (capacity_step(disk_bytes) << 24)
    | (capacity_step(read_iops) << 18)
    | (capacity_step(write_iops) << 12)
    | (capacity_step(gpu_count) << 6)
    | capacity_step(gpu_memory)) stored;

-- The grades that machines have or had: some hundreds, since hardware is
-- bought in few sizes. None is removed.
create table machine_grade (
    grade bigint primary key
);

insert into machine_grade select distinct grade from machine where grade is not null;

-- In the database, because a replica of the version before writes facts too.
create function machine_grade_is_known() returns trigger language plpgsql as $$
begin
    insert into machine_grade values (new.grade) on conflict do nothing;
    return null;
end $$;

create trigger machine_grade_is_known
    after insert or update of cpu_cores, memory_bytes, disk_bytes, read_iops, write_iops,
                              gpu_count, gpu_memory
    on machine for each row when (new.grade is not null)
    execute function machine_grade_is_known();

-- Serves ReserveMachine: the free machines of a grade on offer, cheapest first.
-- The quantities are there so that what does not fit is passed over in the
-- index.
create index machine_free_grade on machine
    (grade, ask_currency, ask_micros, id, cpu_cores, memory_bytes, disk_bytes, read_iops,
     write_iops)
    where state = 'available' and ask_offer_id is not null;

-- A replica of the version before finds machines without them, only slower.
drop index machine_free;
drop index machine_free_gpu;
