-- What is asked of schedules and their ticks, in words that every dialect understands; sql_ground.py says what is filled
-- in, and sql_schedules.py when each statement runs.

-- name: read
SELECT definition, standing, version, due_at, revision, is_removed
FROM taskbus_schedules WHERE name {in:names} AND is_removed = 0

-- name: page
SELECT definition, standing, version, due_at, revision, is_removed
FROM taskbus_schedules WHERE name > :after AND is_removed = 0 ORDER BY name LIMIT :limit

-- name: changed
SELECT definition, standing, version, due_at, revision, is_removed
FROM taskbus_schedules WHERE revision > :after ORDER BY revision LIMIT :limit

-- name: revision
SELECT revision FROM taskbus_beats WHERE id = 1

-- name: next_revision
UPDATE taskbus_beats SET revision = revision + 1 WHERE id = 1

-- name: lock_one
SELECT version, is_removed FROM taskbus_schedules WHERE name = :name {lock}

-- name: insert
INSERT INTO taskbus_schedules (name, definition, standing, version, due_at, revision, is_removed, removed_at)
VALUES (:name, :definition, :standing, :version, :due_at, :revision, :is_removed, :removed_at)

-- name: update
UPDATE taskbus_schedules
SET definition = :definition, standing = :standing, version = :version, due_at = :due_at, revision = :revision,
    is_removed = :is_removed, removed_at = :removed_at
WHERE name = :name

-- name: lock_many
SELECT name, version FROM taskbus_schedules WHERE name {in:names} AND is_removed = 0 ORDER BY name {lock}

-- name: advance
UPDATE taskbus_schedules SET standing = :standing, version = :version, due_at = :due_at WHERE name = :name

-- name: known_ticks
SELECT schedule, nominal, is_manual FROM taskbus_ticks
WHERE schedule {in:names} AND nominal >= :first AND nominal <= :last

-- name: insert_ticks
INSERT INTO taskbus_ticks (schedule, nominal, is_manual, task_id, sent_at, keep_until, is_pending, queue, priority, wire)
VALUES (:schedule, :nominal, :is_manual, :task_id, :sent_at, :keep_until, :is_pending, :queue, :priority, :wire)

-- name: ticks
SELECT schedule, nominal, task_id, sent_at, keep_until, is_manual, is_pending FROM taskbus_ticks
WHERE schedule = :name AND nominal >= :since AND nominal < :until
ORDER BY nominal DESC, is_manual DESC LIMIT :limit

-- name: pending
SELECT schedule, nominal, task_id, sent_at, keep_until, is_manual, is_pending, queue, priority, wire FROM taskbus_ticks
WHERE is_pending = 1 ORDER BY sent_at LIMIT :limit

-- name: confirm
UPDATE taskbus_ticks SET is_pending = 0, wire = NULL
WHERE schedule = :schedule AND nominal = :nominal AND is_manual = :is_manual

-- name: leader
SELECT leader, led_until, :now FROM taskbus_beats WHERE id = 1 {lock}

-- name: led
SELECT leader, led_until, :now FROM taskbus_beats WHERE id = 1

-- name: lead
UPDATE taskbus_beats SET leader = :beat, led_until = :until WHERE id = 1

-- name: resign
UPDATE taskbus_beats SET leader = '' WHERE id = 1 AND leader = :beat

-- name: over
SELECT schedule, nominal, is_manual FROM taskbus_ticks WHERE keep_until <= :now AND is_pending = 0 LIMIT :limit

-- name: forget
DELETE FROM taskbus_ticks WHERE schedule = :schedule AND nominal = :nominal AND is_manual = :is_manual

-- name: forget_removed
DELETE FROM taskbus_schedules WHERE is_removed = 1 AND removed_at <= :removed_until
