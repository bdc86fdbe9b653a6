insert into chain (name, genesis_time, slot_s, slots_per_epoch, epoch) values
    ('ethereum-hoodi', 1742213400, 12, 32, 7);

insert into observed (chain, public_key, index, status, slashed, balance, epoch, observe_time) values
    ('ethereum-hoodi', '0xab', 4, 'active_ongoing', false, 32000000000, 7, now());
