insert into audit (id, account_id, token_id, method, peer, code) values
    ('0198c0de-0000-7000-8000-000000000001', '0198c0de-0000-7000-8000-00000000000a', 'admin',
     '/berth.leasing.v1.LeasingService/CreditAccount', '192.0.2.1:4000', 0),
    ('0198c0de-0000-7000-8000-000000000002', '0198c0de-0000-7000-8000-00000000000a', 'admin',
     '/berth.leasing.v1.LeasingService/EndLease', '192.0.2.1:4000', null);
