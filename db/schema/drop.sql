-- Drops the tables with everything in them, for a clean slate.

BEGIN;

SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('scheduler schema')); END $$;

-- In the order in which the server's statements lock them, so that there is no deadlock.
DROP TABLE IF EXISTS days, appointments, interviewers, interviews, available_interviewers CASCADE;
DROP FUNCTION IF EXISTS notify_interview_change, notify_table_change;
-- Their names in earlier versions.
DROP FUNCTION IF EXISTS tell_interview_change, tell_table_change, tell_interview;

-- Dropping a table fires no trigger.
DO $$ BEGIN
  PERFORM pg_notify(
    'scheduler_changes',
    json_build_object('transaction', pg_current_xact_id()::text::bigint, 'compare', true)::text
  );
END $$;

COMMIT;
