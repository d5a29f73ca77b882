-- Creates what is missing and deletes no data: safe on a database in use, the Node
-- server's included, and safe to run twice, or by two at the same time.
--
-- The tables and columns are those of the Node server's schema. Added are an index on
-- each foreign key (without them, listing the days is quadratic and a cascade scans
-- whole tables) and the triggers that notify of changes.

BEGIN;

-- One at a time: IF NOT EXISTS alone fails if two run at the same time. The lock is
-- released at the end. A table that somebody else has locked is waited for this long.
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

-- When a transaction that changed something commits, PostgreSQL sends a notification on
-- the channel scheduler_changes. If an interview changed, it says what is stored now:
--   {"transaction": …, "id": <appointment_id>,
--    "interview": {"student": …, "interviewer": …} or null, "xmin": …, "at": …}
-- "xmin" is the id that the row carries: under a savepoint it is not the transaction's.
-- PostgreSQL sends equal payloads of one transaction once. "at" makes them different, so
-- that a change that was undone and made again is not reported as undone.
-- The search_path is today's: a dump is restored with an empty one.
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

-- The other tables change rarely: that one of them did is all that is sent. A TRUNCATE of the
-- interviews does not say which ones there were, and a query would miss those that its
-- transaction does not see; so receivers have to compare what they know with what is stored.
--   {"transaction": …, "compare": true if interviews were truncated}
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

-- Earlier versions had other names for them. Dropping a trigger locks its table, even with
-- IF EXISTS, so it happens only if there are old ones. The tables are locked in the order in
-- which the server's statements lock them, so that there is no deadlock.
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

-- Only what is missing is created: creating an index or a trigger locks its table, even
-- with IF NOT EXISTS.
DO $$
DECLARE
  foreign_key RECORD;
  listed TEXT;
BEGIN
  FOR foreign_key IN
    SELECT *
    FROM (VALUES
      ('appointments', 'day_id'),
      ('interviews', 'interviewer_id'),
      ('available_interviewers', 'day_id'),
      ('available_interviewers', 'interviewer_id')
    ) AS looked_up (table_name, column_name)
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
  FOREACH listed IN ARRAY ARRAY['days', 'appointments', 'interviewers', 'available_interviewers']
  LOOP
    IF NOT EXISTS (
      SELECT FROM pg_trigger WHERE tgrelid = listed::regclass AND tgname = 'notify_change'
    ) THEN
      EXECUTE format(
        'CREATE TRIGGER notify_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION notify_table_change()',
        listed
      );
    END IF;
  END LOOP;
END
$$;

COMMIT;
