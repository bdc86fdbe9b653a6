-- Together and in the order of those who store and read, who are served meanwhile.
lock table series, sample in access exclusive mode;

-- Half of each page of series is kept free, so that a newest sample is written
-- without the table's indexes.
alter table series set (fillfactor = 50);

-- Looked up for each sample, it cost more than the sample. What is left without a
-- series is seen by nobody and removed by its age.
alter table sample drop constraint sample_series_id_fkey;
