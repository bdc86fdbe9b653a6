-- What makes a reservation cheap.

-- A number for three capital letters: behind a text, each column of an index entry
-- has to be looked for anew, and that was a third of the search.
create function currency_number(code text) returns int
    language sql immutable parallel safe
    return (ascii(code) << 16) | (ascii(substr(code, 2)) << 8) | ascii(substr(code, 3));

drop index machine_free_grade;
create index machine_free_grade on machine
    (grade, currency_number(ask_currency), ask_micros, id, cpu_cores, memory_bytes, disk_bytes,
     read_iops, write_iops)
    where state = 'available' and ask_offer_id is not null;

-- A row is made from the machine that it names, in the same statement, and neither
-- machines nor offers are ever removed: there is nothing to look up.
alter table reservation drop constraint reservation_machine_id_fkey;
alter table reservation drop constraint reservation_offer_id_fkey;
