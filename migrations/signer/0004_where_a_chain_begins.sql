-- The newest seal that begins a chain is asked for with each look.
create index seal_begins on seal (sequence) where begins;
