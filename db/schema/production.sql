-- The start of a term: five days, each with five appointments and five of ten interviewers.
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
    (2, 'Tuesday'),
    (3, 'Wednesday'),
    (4, 'Thursday'),
    (5, 'Friday')
  ) AS seed (position, name)
  ORDER BY position
  RETURNING id
), seeded_appointments AS (
  INSERT INTO appointments (time, day_id)
  SELECT time, seeded_days.id
  FROM seeded_days
  CROSS JOIN (VALUES
    (1, '12pm'),
    (2, '1pm'),
    (3, '2pm'),
    (4, '3pm'),
    (5, '4pm')
  ) AS seed (position, time)
  ORDER BY seeded_days.id, position
  RETURNING id, day_id
), seeded_interviewers AS (
  INSERT INTO interviewers (name, avatar)
  SELECT name, avatar
  FROM empty
  CROSS JOIN (VALUES
    (1, 'Sylvia Palmer', '/images/interviewers/3tVgsra_d.webp'),
    (2, 'Tori Malcolm', '/images/interviewers/FK8V841_d.webp'),
    (3, 'Mildred Nazir', '/images/interviewers/iHq8K8Z_d.webp'),
    (4, 'Cohana Roy', '/images/interviewers/LpaY82x_d.webp'),
    (5, 'Sven Jones', '/images/interviewers/Nmx0Qxo_d.webp'),
    (6, 'Susan Reynolds', '/images/interviewers/nPywAp1_d.webp'),
    (7, 'Alec Quon', '/images/interviewers/okB9WKC_d.webp'),
    (8, 'Viktor Jain', '/images/interviewers/T2WwVfS_d.webp'),
    (9, 'Lindsay Chu', '/images/interviewers/TdOAdde_d.webp'),
    (10, 'Samantha Stanic', '/images/interviewers/twYrpay_d.webp')
  ) AS seed (position, name, avatar)
  ORDER BY position
  RETURNING id
)
INSERT INTO available_interviewers (day_id, interviewer_id)
SELECT day_id, interviewer_id
FROM (
  SELECT
    seeded_days.id AS day_id,
    seeded_interviewers.id AS interviewer_id,
    row_number() OVER (PARTITION BY seeded_days.id ORDER BY random()) AS draw
  FROM seeded_days
  CROSS JOIN seeded_interviewers
) AS drawn
WHERE draw <= 5
ORDER BY day_id, draw;

COMMIT;
