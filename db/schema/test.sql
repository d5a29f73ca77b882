-- The data that the course's test suite expects. It is always the same.
-- Seeds an empty database, and does nothing if there is any data.

BEGIN;

DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('scheduler schema')); END $$;

WITH empty AS (
  SELECT
  WHERE NOT EXISTS (SELECT FROM days)
    AND NOT EXISTS (SELECT FROM appointments)
    AND NOT EXISTS (SELECT FROM interviewers)
    AND NOT EXISTS (SELECT FROM interviews)
    AND NOT EXISTS (SELECT FROM available_interviewers)
), seeded_days AS (
  INSERT INTO days (name)
  SELECT name
  FROM empty
  CROSS JOIN (VALUES
    (1, 'Monday'),
    (2, 'Tuesday')
  ) AS seed (position, name)
  ORDER BY position
  RETURNING id
), seeded_appointments AS (
  INSERT INTO appointments (time, day_id)
  SELECT time, seeded_days.id
  FROM seeded_days
  CROSS JOIN (VALUES
    (1, '12pm'),
    (2, '1pm')
  ) AS seed (position, time)
  ORDER BY seeded_days.id, position
  RETURNING id, day_id
), seeded_interviewers AS (
  INSERT INTO interviewers (name, avatar)
  SELECT name, avatar
  FROM empty
  CROSS JOIN (VALUES
    (1, 'Sylvia Palmer', '/images/interviewers/3tVgsra_d.webp'),
    (2, 'Tori Malcolm', '/images/interviewers/FK8V841_d.webp')
  ) AS seed (position, name, avatar)
  ORDER BY position
  RETURNING id
), seeded_availability AS (
  INSERT INTO available_interviewers (day_id, interviewer_id)
  SELECT seeded_days.id, seeded_interviewers.id
  FROM seeded_days
  CROSS JOIN seeded_interviewers
  ORDER BY seeded_days.id, seeded_interviewers.id
)
INSERT INTO interviews (student, interviewer_id, appointment_id)
SELECT 'Archie Cohen', min(seeded_interviewers.id), min(seeded_appointments.id)
FROM seeded_appointments
CROSS JOIN seeded_interviewers
HAVING count(*) > 0;

COMMIT;
