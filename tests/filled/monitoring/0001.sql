insert into target (node_id, account_id, placement_id, fence, running, min_peers, max_distance,
                    max_block_age_s, min_disk_free_percent, silence_s, gpu_count) values
    ('0198c0de-0000-7000-8000-000000000001', '0198c0de-0000-7000-8000-00000000000a',
     '0198c0de-0000-7000-8000-000000000002', 3, true, 1, 8, 60, 5, 45, 0);

insert into series (node_id, name, labels, unit, fence, last_time, last_value) values
    ('0198c0de-0000-7000-8000-000000000001', 'berth.node.height', '', '{block}', 3, now(), 7);

insert into sample (series_id, time, value) select id, last_time, last_value from series;
