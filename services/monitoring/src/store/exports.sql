-- Stores the points of exports, none of two exports of one node, whose targets
-- are locked. Returns the series that find no room.
with given as materialized (
    select g.*, s.id
    from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[],
                $6::timestamptz[], $7::float8[], $8::boolean[])
             as g (node_id, fence, name, labels, unit, time, value, newest)
    left join series s
        on s.node_id = g.node_id and s.name = g.name and s.labels = g.labels
),
fresh as (
    select *, row_number() over (partition by node_id
                                 order by name not like 'berth.%', name, labels) as place
    from given where id is null and newest
),
room as (
    select n.node_id,
           $9 - (select count(*) from series s where s.node_id = n.node_id) as more
    from (select distinct node_id from fresh) n
),
made as (
    insert into series (node_id, name, labels, unit, fence, last_time, last_value)
    select f.node_id, f.name, f.labels, f.unit, f.fence, f.time, f.value
    from fresh f join room on room.node_id = f.node_id
    where f.place <= room.more
    order by f.node_id, f.name, f.labels
    returning id, node_id, name, labels
),
known as (
    update series s
    set last_value = case when g.time >= s.last_time or g.fence > s.fence
                          then g.value else s.last_value end,
        last_time = case when g.fence > s.fence then g.time
                         else greatest(s.last_time, g.time) end,
        fence = g.fence, unit = g.unit
    from given g where g.id = s.id and g.newest
),
history as (
    insert into sample (series_id, time, value, fence)
    -- An export that is sent again, because its answer was lost, has samples
    -- that are there already.
    select g.id, g.time, g.value, g.fence from given g
    where g.id is not null
      and not exists (select from sample h where h.series_id = g.id and h.time = g.time)
    union all
    select made.id, g.time, g.value, g.fence
    from made join given g
        on g.node_id = made.node_id and g.name = made.name and g.labels = made.labels
)
select f.node_id, f.name, f.labels from fresh f
where not exists (select from made where made.node_id = f.node_id
                  and made.name = f.name and made.labels = f.labels)
