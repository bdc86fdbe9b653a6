insert into seal (sequence, hash, begins) values
    (7, decode(repeat('07', 32), 'hex'), true), (8, decode(repeat('08', 32), 'hex'), false);
