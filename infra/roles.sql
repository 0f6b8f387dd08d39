-- The roles of a PostgreSQL deployment: who may do what, given by the database itself.
--
-- Run it as the owner of the schema who may create roles, after `counterfoil init`, in every
-- database of a deployment; again after an upgrade. Twice does no harm:
--
--     psql "$DATABASE" -v ON_ERROR_STOP=1 -f infra/roles.sql
--
-- The three roles cannot log in. A deployment grants them to its own logins:
--
--     GRANT counterfoil_writer TO billing_service;
--
-- The owner of the schema should run nothing but migrations: who owns a table may drop its
-- triggers, whatever is granted here, and only a checkpoint kept elsewhere shows what came of it.

BEGIN;

-- Roles belong to the server, not to this database: another one may have made them before, or
-- make them now.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['counterfoil_writer', 'counterfoil_reader', 'counterfoil_auditor']
    LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;

-- A table or function made in front of ours (search_path, pg_temp) would be used instead of ours.
-- PostgreSQL 15 no longer lets everybody create in `public`; a cluster that was upgraded from an
-- older one still does.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- Take away first, so that this file alone says what is granted, whatever an older one gave.
REVOKE ALL ON ALL TABLES IN SCHEMA public
FROM PUBLIC, counterfoil_writer, counterfoil_reader, counterfoil_auditor;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public
FROM PUBLIC, counterfoil_writer, counterfoil_reader, counterfoil_auditor;

GRANT USAGE ON SCHEMA public TO counterfoil_writer, counterfoil_reader, counterfoil_auditor;

-- Everybody who opens a billing asks first which schema the database has.
GRANT SELECT ON schema_steps TO counterfoil_writer, counterfoil_reader, counterfoil_auditor;

-- Append needs no more: the order of the log is kept by advisory locks, and LISTEN, NOTIFY and
-- pg_logical_emit_message are everybody's. No sequence, because positions come of the log itself.
GRANT SELECT, INSERT ON facts, claims TO counterfoil_writer;
GRANT EXECUTE ON FUNCTION hold_generation(bigint) TO counterfoil_writer;

-- Read models are kept by whoever writes facts, or by a worker in the same role. Making them anew
-- takes the owner: it makes tables, and gives them these grants. Those of a release that has not
-- been rebuilt yet are not there; run this again when they are.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'invoices', 'invoice_metadata', 'invoice_counts', 'lines', 'payments', 'refunds',
        'credit_notes', 'series', 'customers', 'ageing', 'journal'
    ]
    LOOP
        IF to_regclass(name) IS NOT NULL THEN
            EXECUTE format(
                'GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO counterfoil_writer', name);
            EXECUTE format(
                'GRANT SELECT ON %I TO counterfoil_reader, counterfoil_auditor', name);
        END IF;
    END LOOP;
END
$$;
GRANT SELECT, UPDATE ON projections, projecting TO counterfoil_writer;
GRANT SELECT ON projections, projecting TO counterfoil_reader, counterfoil_auditor;

-- Who follows the log needs the facts. Claims say who asked for what, and are nobody's read model.
GRANT SELECT ON facts TO counterfoil_reader;

-- An auditor reads all there is, and makes every hash again.
GRANT SELECT ON facts, claims, facts_readable, facts_broken TO counterfoil_auditor;
GRANT EXECUTE ON FUNCTION facts_hash(bytea, facts), length_and_text(text) TO counterfoil_auditor;

COMMIT;
