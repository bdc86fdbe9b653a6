insert into validator (public_key, account_id, chain, state, released, exported, request_id) values
    (decode(repeat('04', 48), 'hex'), '0198c0de-0000-7000-8000-00000000000a', 'devnet', 'disabled',
     1, true, '0198c0de-0000-7000-8000-000000000004');
