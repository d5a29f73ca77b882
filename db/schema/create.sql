-- Makes what is missing and drops nothing: safe on a database in use, the Node
-- server's included, and safe to run twice or by two at once.
--
-- The tables and columns are those of the Node server's schema. Added are an index
-- on each foreign key (without them, listing the days is quadratic and a cascade
-- scans whole tables) and the triggers that tell of changes.

BEGIN;

-- One at a time, released at the end: IF NOT EXISTS alone fails when two race.
-- A table that somebody else has locked is not waited for longer than this.
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

-- Every change is announced on the channel scheduler_changes when it is committed.
-- An interview's payload says what is stored now:
--   {"transaction": …, "id": <appointment_id>,
--    "interview": {"student": …, "interviewer": …} or null, "at": …}
-- PostgreSQL folds equal payloads of one transaction into one; "at" keeps a change
-- that was undone and done again from being told as undone.
CREATE OR REPLACE FUNCTION tell_interview(appointment_id INTEGER, interview JSON)
RETURNS void LANGUAGE sql AS $$
  SELECT pg_notify(
    'scheduler_changes',
    json_build_object(
      'transaction', pg_current_xact_id()::text::bigint,
      'id', appointment_id,
      'interview', interview,
      'at', clock_timestamp()
    )::text
  )
  WHERE appointment_id IS NOT NULL
$$;

-- With the search_path of now: a dump of the data is restored with an empty one.
CREATE OR REPLACE FUNCTION tell_interview_change()
RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM tell_interview(interviews.appointment_id, NULL) FROM interviews;
    RETURN NULL;
  END IF;
  IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND OLD.appointment_id IS DISTINCT FROM NEW.appointment_id THEN
    PERFORM tell_interview(OLD.appointment_id, NULL);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM tell_interview(
      NEW.appointment_id,
      json_build_object('student', NEW.student, 'interviewer', NEW.interviewer_id)
    );
  END IF;
  RETURN NULL;
END
$$;

-- The other tables change rarely; that one did is all there is to tell.
CREATE OR REPLACE FUNCTION tell_table_change()
RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify(
    'scheduler_changes',
    json_build_object('transaction', pg_current_xact_id()::text::bigint)::text
  );
  RETURN NULL;
END
$$;

-- Only what is missing is made, since making an index or a trigger locks its table,
-- even with IF NOT EXISTS.
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
    SELECT FROM pg_trigger WHERE tgrelid = 'interviews'::regclass AND tgname = 'tell_change'
  ) THEN
    CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE ON interviews
    FOR EACH ROW EXECUTE FUNCTION tell_interview_change();
  END IF;
  IF NOT EXISTS (
    SELECT FROM pg_trigger WHERE tgrelid = 'interviews'::regclass AND tgname = 'tell_truncate'
  ) THEN
    CREATE TRIGGER tell_truncate BEFORE TRUNCATE ON interviews
    FOR EACH STATEMENT EXECUTE FUNCTION tell_interview_change();
  END IF;
  FOREACH listed IN ARRAY ARRAY['days', 'appointments', 'interviewers', 'available_interviewers']
  LOOP
    IF NOT EXISTS (
      SELECT FROM pg_trigger WHERE tgrelid = listed::regclass AND tgname = 'tell_change'
    ) THEN
      EXECUTE format(
        'CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION tell_table_change()',
        listed
      );
    END IF;
  END LOOP;
END
$$;

COMMIT;
