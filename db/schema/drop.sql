-- Drops the tables and all that is in them, for a clean slate.

BEGIN;

SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('scheduler schema')); END $$;

-- Locked in the order in which the server's statements lock them: no deadlock.
DROP TABLE IF EXISTS days, appointments, interviewers, interviews, available_interviewers CASCADE;
DROP FUNCTION IF EXISTS tell_interview_change, tell_table_change, tell_interview;

-- A dropped table fires no trigger; who listens then compares everything.
NOTIFY scheduler_changes, '{"dropped": true}';

COMMIT;
