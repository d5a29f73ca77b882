-- Creates what is missing and deletes no data. Safe on a database in use, also on the Node
-- server's, and safe to run repeatedly or concurrently.
--
-- Tables and columns are those of the Node server. In addition, there are indexes on the
-- foreign keys (without them, listing the days is quadratic and a cascade scans whole
-- tables) and triggers that notify clients of changes.

BEGIN;

-- The advisory lock makes concurrent scripts wait, because IF NOT EXISTS fails if two create
-- the same table. It is released at the end of the transaction. lock_timeout limits the wait
-- for this lock and for the tables.
SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('scheduler schema')); END $$;

CREATE TABLE IF NOT EXISTS days (
  id SERIAL PRIMARY KEY NOT NULL,
  name VARCHAR(255) NOT NULL
);

CREATE TABLE IF NOT EXISTS appointments (
  id SERIAL PRIMARY KEY NOT NULL,
  time VARCHAR(255) NOT NULL,
  day_id INTEGER REFERENCES days(id) ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS interviewers (
  id SERIAL PRIMARY KEY NOT NULL,
  name VARCHAR(255) NOT NULL,
  avatar VARCHAR(255) NOT NULL
);

CREATE TABLE IF NOT EXISTS interviews (
  id SERIAL PRIMARY KEY NOT NULL,
  student VARCHAR(255) NOT NULL,
  interviewer_id INTEGER REFERENCES interviewers(id) ON DELETE CASCADE,
  appointment_id INTEGER UNIQUE REFERENCES appointments(id) ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS available_interviewers (
  id SERIAL PRIMARY KEY NOT NULL,
  day_id INTEGER REFERENCES days(id) ON DELETE CASCADE,
  interviewer_id INTEGER REFERENCES interviewers(id) ON DELETE CASCADE
);

-- When a transaction with changes commits, PostgreSQL sends notifications on the channel
-- scheduler_changes. For an interview, the payload is its new state:
--   {"transaction": …, "id": <appointment_id>,
--    "interview": {"student": …, "interviewer": …} or null, "xmin": …, "at": …}
-- "xmin" is that of the stored row. After a savepoint, it differs from the transaction's id.
-- PostgreSQL sends equal payloads of one transaction only once. "at" makes them different: a
-- change that is made, undone and made again in one transaction is reported three times.
-- The search_path is fixed, because a dump is restored with an empty one.
CREATE OR REPLACE FUNCTION notify_interview_change()
RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND OLD.appointment_id IS DISTINCT FROM NEW.appointment_id THEN
    IF OLD.appointment_id IS NOT NULL THEN
      PERFORM pg_notify(
        'scheduler_changes',
        json_build_object(
          'transaction', pg_current_xact_id()::text::bigint,
          'id', OLD.appointment_id,
          'interview', NULL,
          'at', clock_timestamp()
        )::text
      );
    END IF;
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.appointment_id IS NOT NULL THEN
    PERFORM pg_notify(
      'scheduler_changes',
      json_build_object(
        'transaction', pg_current_xact_id()::text::bigint,
        'id', NEW.appointment_id,
        'interview', json_build_object('student', NEW.student, 'interviewer', NEW.interviewer_id),
        'xmin', (SELECT xmin::text::bigint FROM interviews WHERE id = NEW.id),
        'at', clock_timestamp()
      )::text
    );
  END IF;
  RETURN NULL;
END
$$;

-- The other tables change rarely, so the payload only reports that one of them changed.
-- A trigger for TRUNCATE does not get the deleted rows. A BEFORE trigger could query them, but
-- would miss rows that were committed after its snapshot. So receivers compare the interviews
-- that they know with the stored ones.
--   {"transaction": …, "compare": true if interviews were truncated or dropped}
CREATE OR REPLACE FUNCTION notify_table_change()
RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify(
    'scheduler_changes',
    json_build_object(
      'transaction', pg_current_xact_id()::text::bigint,
      'compare', TG_TABLE_NAME = 'interviews'
    )::text
  );
  RETURN NULL;
END
$$;

-- Earlier versions had other names for the functions. Dropping a trigger locks its table, even
-- with IF EXISTS, so this runs only if there are old ones. To prevent a deadlock, it locks the
-- tables in the same order as the server's statements.
DO $$
DECLARE
  old RECORD;
BEGIN
  IF to_regprocedure('tell_table_change()') IS NOT NULL THEN
    LOCK TABLE days, appointments, interviewers, interviews, available_interviewers;
    FOR old IN
      SELECT tgrelid::regclass AS table_name, tgname AS trigger_name
      FROM pg_trigger
      WHERE tgfoid IN (to_regprocedure('tell_interview_change()'), to_regprocedure('tell_table_change()'))
    LOOP
      EXECUTE format('DROP TRIGGER %I ON %s', old.trigger_name, old.table_name);
    END LOOP;
    DROP FUNCTION tell_table_change();
    DROP FUNCTION IF EXISTS tell_interview_change(), tell_interview(INTEGER, JSON);
  END IF;
END
$$;

-- CREATE INDEX locks its table even with IF NOT EXISTS, and CREATE TRIGGER has no IF NOT
-- EXISTS. So this first checks what is missing.
DO $$
DECLARE
  foreign_key RECORD;
  table_name TEXT;
BEGIN
  FOR foreign_key IN
    SELECT *
    FROM (VALUES
      ('appointments', 'day_id'),
      ('interviews', 'interviewer_id'),
      ('available_interviewers', 'day_id'),
      ('available_interviewers', 'interviewer_id')
    ) AS indexed (table_name, column_name)
  LOOP
    IF to_regclass(format('%s_%s_index', foreign_key.table_name, foreign_key.column_name)) IS NULL THEN
      EXECUTE format(
        'CREATE INDEX %1$s_%2$s_index ON %1$s (%2$s)', foreign_key.table_name, foreign_key.column_name
      );
    END IF;
  END LOOP;

  IF NOT EXISTS (
    SELECT FROM pg_trigger WHERE tgrelid = 'interviews'::regclass AND tgname = 'notify_change'
  ) THEN
    CREATE TRIGGER notify_change AFTER INSERT OR UPDATE OR DELETE ON interviews
    FOR EACH ROW EXECUTE FUNCTION notify_interview_change();
  END IF;
  IF NOT EXISTS (
    SELECT FROM pg_trigger WHERE tgrelid = 'interviews'::regclass AND tgname = 'notify_truncate'
  ) THEN
    CREATE TRIGGER notify_truncate AFTER TRUNCATE ON interviews
    FOR EACH STATEMENT EXECUTE FUNCTION notify_table_change();
  END IF;
  FOREACH table_name IN ARRAY ARRAY['days', 'appointments', 'interviewers', 'available_interviewers']
  LOOP
    IF NOT EXISTS (
      SELECT FROM pg_trigger WHERE tgrelid = table_name::regclass AND tgname = 'notify_change'
    ) THEN
      EXECUTE format(
        'CREATE TRIGGER notify_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION notify_table_change()',
        table_name
      );
    END IF;
  END LOOP;
END
$$;

COMMIT;
