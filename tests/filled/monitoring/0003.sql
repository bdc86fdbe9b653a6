insert into incident (id, account_id, node_id, reason, severity, count, fence, public_key, detail,
                      create_time, last_time) values
    ('0198c0de-0000-7000-8000-000000000005', '0198c0de-0000-7000-8000-00000000000a',
     '0198c0de-0000-7000-8000-000000000003', 'DOUBLE_VOTE', 'security', 1, 1, '', '', now(), now());
