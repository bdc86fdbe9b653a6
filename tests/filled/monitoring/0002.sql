insert into target (node_id, account_id, placement_id, fence, running, min_peers, max_distance,
                    max_block_age_s, min_disk_free_percent, silence_s, gpu_count, duty) values
    ('0198c0de-0000-7000-8000-000000000003', '0198c0de-0000-7000-8000-00000000000a',
     '0198c0de-0000-7000-8000-000000000004', 1, true, 1, 8, 60, 5, 45, 0,
     '{"done": "hits", "missed": "misses", "in_set": "active", "window_s": 96}');

insert into series (node_id, name, labels, unit, fence, last_time, last_value) values
    ('0198c0de-0000-7000-8000-000000000003', 'hits', '', '1', 1, now(), 7);

insert into sample (series_id, time, value, fence)
    select id, last_time, last_value, fence from series where name = 'hits';
