-- How a node's duty is told: names of its series. Null where it is not.
alter table target add column duty jsonb;

-- The fence under which a sample was sent; null for those from before it was kept.
alter table sample add column fence bigint;
