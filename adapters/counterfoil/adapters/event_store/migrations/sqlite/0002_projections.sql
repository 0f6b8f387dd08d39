-- What keeps the read models. Their own tables are made from projections/, not here.
CREATE TABLE projections (
    name             TEXT    NOT NULL PRIMARY KEY,
    version          INTEGER NOT NULL,
    position         INTEGER NOT NULL,  -- of the last fact in it; not kept while inline
    problem          TEXT,              -- why it stopped,
    problem_position INTEGER            -- and at which fact
) STRICT, WITHOUT ROWID;

-- One row. Whoever writes facts knows which generation he writes for; a change of the mode, or of
-- what is projected, begins a new one, and makes him look again.
CREATE TABLE projecting (
    generation INTEGER NOT NULL PRIMARY KEY,
    mode       TEXT    NOT NULL CHECK (mode IN ('inline', 'async'))
) STRICT;
INSERT INTO projecting VALUES (1, 'inline');

-- The rebuild that is under way, if there is one. Who holds its token may go on with it.
CREATE TABLE rebuilds (
    token    TEXT    NOT NULL PRIMARY KEY,
    mark     TEXT    NOT NULL,  -- what its tables are called by
    names    TEXT    NOT NULL,
    position INTEGER NOT NULL,  -- as far as the log is loaded, then as far as it was caught up
    phase    TEXT    NOT NULL CHECK (phase IN ('load', 'index', 'catch up'))
) STRICT;

-- What each worker of a rebuild has to load, and how far it came: streams from one place, without
-- it, to another, with it.
CREATE TABLE rebuild_parts (
    token        TEXT    NOT NULL,
    part         INTEGER NOT NULL PRIMARY KEY,
    tenant       TEXT    NOT NULL,
    stream       TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    until_tenant TEXT,
    until_stream TEXT,
    facts        INTEGER NOT NULL,
    totals       TEXT    NOT NULL,
    done         INTEGER NOT NULL
) STRICT;
