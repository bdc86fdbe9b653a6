update node set duty = 'earning', duty_reason = ''
where id = '0198c0de-0000-7000-8000-000000000002';
