insert into authority (public_key) values ('ssh-ed25519 AAAA');
insert into placement (id, node_id, machine_id, lease_id, fence, state, cpu_millis, memory_bytes,
                       gpus, ports, port_offset, deploy_time) values
    ('0198c0de-0000-7000-8000-000000000005', '0198c0de-0000-7000-8000-000000000002',
     '0198c0de-0000-7000-8000-000000000006', '0198c0de-0000-7000-8000-000000000004', 1, 'current',
     1000, 1073741824, 0, '{26656/tcp}', 0, now());
