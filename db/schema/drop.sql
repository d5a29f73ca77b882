-- Drops the tables and all that is in them, for a clean slate.

BEGIN;

SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('scheduler schema')); END $$;

DROP TABLE IF EXISTS available_interviewers, interviews, interviewers, appointments, days CASCADE;
DROP FUNCTION IF EXISTS tell_interview_change, tell_table_change, tell_interview;

-- A dropped table fires no trigger; who listens then compares everything.
NOTIFY scheduler_changes;

COMMIT;
