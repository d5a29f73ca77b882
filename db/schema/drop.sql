-- Drops the tables, with all data, and the functions.

BEGIN;

SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('scheduler schema')); END $$;

-- To prevent a deadlock, this is the order in which the server's statements lock the tables.
DROP TABLE IF EXISTS days, appointments, interviewers, interviews, available_interviewers CASCADE;
DROP FUNCTION IF EXISTS notify_interview_change, notify_table_change;
-- The functions of earlier versions.
DROP FUNCTION IF EXISTS tell_interview_change, tell_table_change, tell_interview;

-- Dropping a table fires no trigger, so clients are notified here.
DO $$ BEGIN
  PERFORM pg_notify(
    'scheduler_changes',
    json_build_object('transaction', pg_current_xact_id()::text::bigint, 'compare', true)::text
  );
END $$;

COMMIT;
