-- Every signature writes the row of its key anew. With room for it on the same
-- page none of the indexes is touched, and the old version is cleared away by
-- whoever comes next. Pages that are full stay so until the table is rewritten.
alter table validator set (fillfactor = 50);
