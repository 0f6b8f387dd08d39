-- What keeps the read models. Their own tables are made from projections/, not here.
CREATE TABLE projections (
    name             text NOT NULL PRIMARY KEY,
    version          bigint NOT NULL,
    position         bigint NOT NULL, -- of the last fact in it; not kept while inline
    problem          text,              -- why it stopped,
    problem_position bigint             -- and at which fact
);

-- One row. Whoever writes facts knows which generation he writes for; a change of the mode, or of
-- what is projected, begins a new one, and makes him look again.
CREATE TABLE projecting (
    generation bigint NOT NULL PRIMARY KEY,
    mode       text NOT NULL CHECK (mode IN ('inline', 'async'))
);
INSERT INTO projecting VALUES (1, 'inline');

-- The rebuild that is under way, if there is one. Who holds its token may go on with it.
CREATE TABLE rebuilds (
    token    text NOT NULL PRIMARY KEY,
    mark     text NOT NULL,  -- what its tables are called by
    names    text NOT NULL,
    position bigint NOT NULL,  -- as far as the log is loaded, then as far as it was caught up
    phase    text NOT NULL CHECK (phase IN ('load', 'index', 'catch up'))
);

-- What each worker of a rebuild has to load, and how far it came: streams from one place, without
-- it, to another, with it.
CREATE TABLE rebuild_parts (
    token        text NOT NULL,
    part         bigint NOT NULL PRIMARY KEY,
    tenant       text NOT NULL,
    stream       text NOT NULL,
    version      bigint NOT NULL,
    until_tenant text,
    until_stream text,
    facts        bigint NOT NULL,
    totals       text NOT NULL,
    done         bigint NOT NULL
);

-- Every writer of facts shares this lock until he commits; who has it alone knows that nobody is
-- writing. The lock's number is that of read_models/postgres.py.
CREATE FUNCTION hold_generation(known bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(5937258767718507621);
    IF NOT EXISTS (SELECT FROM projecting WHERE generation = known) THEN
        RAISE EXCEPTION 'read models are kept otherwise since' USING ERRCODE = 'CF002';
    END IF;
END
$$;
