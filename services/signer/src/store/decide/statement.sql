-- Locked in the order of the keys, as by everything that locks several. A row
-- that waited for its lock is read again, so these are the newest values,
-- whatever was committed since the statement began.
with held as (
    select claim.position, claim.key, claim.node, claim.claimed_fence, claim.slot,
           claim.source, claim.target, claim.root, validator.state, validator.node_id,
           validator.fence, validator.granted, validator.block_slot, validator.block_root,
           validator.source_epoch, validator.target_epoch, validator.attestation_root
    from unnest($1::bytea[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[],
                $6::bigint[], $7::bytea[]) with ordinality
             as claim (key, node, claimed_fence, slot, source, target, root, position)
    join validator on validator.public_key = claim.key
    order by validator.public_key
    for update of validator
),
judged as (
    select held.*,
        coalesce(state = 'active' and node_id = node and fence = claimed_fence and granted, false)
            as admitted,
        slot is null and target is null as other,
        coalesce(slot > coalesce(block_slot, -1), false)
        or coalesce(source <= target and source >= coalesce(source_epoch, 0)
                    and target > coalesce(target_epoch, -1), false) as fresh,
        -- The very same was recorded before: it is answered again.
        coalesce(slot = block_slot and root = block_root, false)
        or coalesce(source = source_epoch and target = target_epoch and root = attestation_root,
                    false) as again
    from held
),
-- What is answered again is written again, so that its commit, too, waits
-- until it is durable.
advanced as (
    update validator set
        block_slot = coalesce(judged.slot, validator.block_slot),
        block_root = case when judged.slot is null then validator.block_root else judged.root end,
        source_epoch = coalesce(judged.source, validator.source_epoch),
        target_epoch = coalesce(judged.target, validator.target_epoch),
        attestation_root =
            case when judged.target is null then validator.attestation_root else judged.root end
    from judged
    where validator.public_key = judged.key and judged.admitted
      and (judged.fresh or judged.again)
    returning judged.*
),
recorded as (
    insert into signature
        (public_key, node_id, fence, kind, slot, source_epoch, target_epoch, signing_root)
    select key, node, claimed_fence, case when slot is null then 'attestation' else 'block' end,
           slot, source, target, root
    from advanced where not again
)
select true as signed, advanced.* from advanced
union all
select admitted and other, judged.* from judged
where not (admitted and (fresh or again))
