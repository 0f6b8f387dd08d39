-- The facts. Tenant first in every key; a stream's versions cannot repeat.
CREATE TABLE facts (
    position       INTEGER PRIMARY KEY CHECK (position > 0),
    tenant         TEXT    NOT NULL,
    stream         TEXT    NOT NULL,
    version        INTEGER NOT NULL CHECK (version >= 0),
    type           TEXT    NOT NULL,
    body           BLOB    NOT NULL,
    recorded_at    INTEGER NOT NULL,  -- microseconds since 1970, UTC
    actor_type     TEXT    NOT NULL,
    actor_id       TEXT    NOT NULL,
    command_id     TEXT    NOT NULL,
    causation_id   TEXT,
    correlation_id TEXT,
    hash           BLOB    NOT NULL CHECK (length(hash) = 32),
    UNIQUE (tenant, stream, version)
) STRICT;

-- Which command every command id was used for, for ever.
CREATE TABLE claims (
    tenant      TEXT    NOT NULL,
    command_id  TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    stream      TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    PRIMARY KEY (tenant, command_id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER facts_are_not_changed BEFORE UPDATE ON facts
BEGIN SELECT RAISE(ABORT, 'facts are append-only: they are not changed'); END;

CREATE TRIGGER facts_are_not_deleted BEFORE DELETE ON facts
BEGIN SELECT RAISE(ABORT, 'facts are append-only: they are not deleted'); END;

CREATE TRIGGER claims_are_not_changed BEFORE UPDATE ON claims
BEGIN SELECT RAISE(ABORT, 'claims are append-only: they are not changed'); END;

CREATE TRIGGER claims_are_not_deleted BEFORE DELETE ON claims
BEGIN SELECT RAISE(ABORT, 'claims are append-only: they are not deleted'); END;

-- REPLACE would delete a row without asking the triggers above. Versions have no gaps either.
CREATE TRIGGER facts_are_added_in_order BEFORE INSERT ON facts
-- A stream begins at 1, or at 0 as the library may: a comparison is 1 or 0. As this is asked for
-- every row, it looks once, and for a position only when one is given: NEW has -1 for none.
WHEN NEW.version <> coalesce((
    SELECT version + 1 FROM facts
    WHERE tenant = NEW.tenant AND stream = NEW.stream
    ORDER BY version DESC LIMIT 1
), NEW.version > 0)
OR NEW.position <> -1 AND EXISTS (SELECT 1 FROM facts WHERE position = NEW.position)
BEGIN SELECT RAISE(ABORT, 'facts are append-only: this is not the next version'); END;

CREATE TRIGGER claims_are_made_once BEFORE INSERT ON claims
WHEN EXISTS (SELECT 1 FROM claims WHERE tenant = NEW.tenant AND command_id = NEW.command_id)
BEGIN SELECT RAISE(ABORT, 'claims are append-only: this command id is claimed'); END;

-- For an auditor with sqlite3: the facts as readable JSON.
CREATE VIEW facts_readable AS
SELECT
    position, tenant, stream, version, type,
    json(CAST(body AS TEXT)) AS body,
    strftime('%Y-%m-%dT%H:%M:', recorded_at / 1000000, 'unixepoch')
        || printf('%09.6fZ', (recorded_at % 60000000) / 1000000.0) AS recorded_at,
    actor_type, actor_id, command_id, causation_id, correlation_id,
    lower(hex(hash)) AS hash
FROM facts;
