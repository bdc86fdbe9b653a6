insert into drift (node_id, placement_id) values
    ('0198c0de-0000-7000-8000-000000000002', '0198c0de-0000-7000-8000-000000000005');
