-- The facts. Tenant first in every key; a stream's versions cannot repeat.
CREATE TABLE facts (
    position       bigint NOT NULL CHECK (position > 0),
    tenant         text   NOT NULL COLLATE "C",
    stream         text   NOT NULL COLLATE "C",
    version        bigint NOT NULL CHECK (version >= 0),
    type           text   NOT NULL,
    body           bytea  NOT NULL,
    recorded_at    bigint NOT NULL,  -- microseconds since 1970, UTC
    actor_type     text   NOT NULL,
    actor_id       text   NOT NULL,
    command_id     text   NOT NULL,
    causation_id   text,
    correlation_id text,
    hash           bytea  NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (tenant, stream, version)
);

CREATE UNIQUE INDEX facts_by_position ON facts (position);

-- Which command every command id was used for, for ever.
CREATE TABLE claims (
    tenant      text   NOT NULL COLLATE "C",
    command_id  text   NOT NULL COLLATE "C",
    fingerprint bytea  NOT NULL,
    stream      text   NOT NULL,
    version     bigint NOT NULL,
    PRIMARY KEY (tenant, command_id)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: no %', TG_TABLE_NAME, TG_OP USING ERRCODE = 'CF001';
END
$$;

CREATE TRIGGER facts_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON facts
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER claims_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON claims
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A whole append in one call, so that no writer's network and no writer's turn on a processor lies
-- between the lock and its release; postgres.py says why committing twice is safe. The lock's number
-- is that of postgres.py.
CREATE PROCEDURE facts_append(
    new_tenant text, at bigint, by_type text, by_id text, command text, cause text,
    correlation text, streams text[], versions bigint[], types text[], bodies bytea[],
    hashes bytea[], claim_fingerprint bytea, claim_stream text, claim_version bigint,
    generation bigint, early boolean
) LANGUAGE plpgsql AS $$
BEGIN
    IF early THEN
        SET LOCAL synchronous_commit = off;
    END IF;
    IF generation IS NOT NULL THEN
        PERFORM hold_generation(generation);
    END IF;
    IF claim_fingerprint IS NOT NULL THEN
        INSERT INTO claims
        VALUES (new_tenant, command, claim_fingerprint, claim_stream, claim_version);
    END IF;
    IF cardinality(streams) > 0 THEN
        PERFORM pg_advisory_xact_lock(4859231640215712358);
        NOTIFY facts;
        INSERT INTO facts (
            position, tenant, stream, version, type, body, recorded_at, actor_type, actor_id,
            command_id, causation_id, correlation_id, hash
        )
        SELECT
            (SELECT coalesce(max(f.position), 0) FROM facts AS f) + new.place, new_tenant,
            new.stream, new.version, new.type, new.body, at, by_type, by_id, command, cause,
            correlation, new.hash
        FROM unnest(streams, versions, types, bodies, hashes)
            WITH ORDINALITY AS new (stream, version, type, body, hash, place);
    END IF;
    IF early THEN
        COMMIT;
        PERFORM pg_logical_emit_message(true, 'counterfoil', '');
    END IF;
END
$$;

-- For an auditor with psql: the facts as readable JSON.
CREATE VIEW facts_readable AS
SELECT
    position, tenant, stream, version, type,
    convert_from(body, 'UTF8')::json AS body,
    to_timestamp(0) + recorded_at * interval '1 microsecond' AS recorded_at,
    actor_type, actor_id, command_id, causation_id, correlation_id,
    encode(hash, 'hex') AS hash
FROM facts;

-- The hash of a row, as the engine computes it: every text after its length, -1 for none.
CREATE FUNCTION length_and_text(value text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN value IS NULL THEN int4send(-1)
        ELSE int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8')
    END
$$;

CREATE FUNCTION facts_hash(previous bytea, fact facts) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(
        previous || int8send(fact.version) || int8send(fact.recorded_at)
        || length_and_text(fact.tenant) || length_and_text(fact.stream)
        || length_and_text(fact.type)
        || length_and_text(fact.actor_type) || length_and_text(fact.actor_id)
        || length_and_text(fact.command_id)
        || length_and_text(fact.causation_id) || length_and_text(fact.correlation_id)
        || int4send(octet_length(fact.body)) || fact.body
    )
$$;

-- Every fact whose hash is not what its stream says it must be; empty when the chains hold.
CREATE VIEW facts_broken AS
SELECT position, tenant, stream, version
FROM (
    SELECT
        f.position, f.tenant, f.stream, f.version, f.hash,
        f.version - coalesce(lag(f.version) OVER chain, least(f.version, 1) - 1) AS step,
        facts_hash(coalesce(lag(f.hash) OVER chain, decode(repeat('00', 32), 'hex')), f) AS expected
    FROM facts AS f
    WINDOW chain AS (PARTITION BY f.tenant, f.stream ORDER BY f.version)
) AS chained
WHERE hash <> expected OR step <> 1;
