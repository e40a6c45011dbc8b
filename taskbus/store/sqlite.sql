-- The statements of the SQL store in SQLite's dialect, each under its name; sql.py says when each one runs.
-- Rows to write come as tuples, hence their ? marks; everything else by name. :ids is a JSON list, :now the present
-- instant, {condition} the where_... lines of the fields a filter gives, joined by AND.
-- A final result stays, unless its time is over: then it is as good as gone.

-- name: save_values
INSERT INTO taskbus_results (task_id, task, state, value, content_type, attempt, started_at, finished_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE
SET task = excluded.task, state = excluded.state, value = excluded.value, content_type = excluded.content_type,
    attempt = excluded.attempt, started_at = excluded.started_at, finished_at = excluded.finished_at,
    expires_at = excluded.expires_at, failure_type = NULL, failure_message = NULL, failure_traceback = NULL
WHERE taskbus_results.state NOT IN ('SUCCESS', 'FAILURE', 'REVOKED') OR taskbus_results.expires_at <= ?

-- name: save_results
INSERT INTO taskbus_results (task_id, task, state, value, content_type, attempt, started_at, finished_at,
                             failure_type, failure_message, failure_traceback, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE
SET task = excluded.task, state = excluded.state, value = excluded.value, content_type = excluded.content_type,
    attempt = excluded.attempt, started_at = excluded.started_at, finished_at = excluded.finished_at,
    failure_type = excluded.failure_type, failure_message = excluded.failure_message,
    failure_traceback = excluded.failure_traceback, expires_at = excluded.expires_at
WHERE taskbus_results.state NOT IN ('SUCCESS', 'FAILURE', 'REVOKED') OR taskbus_results.expires_at <= ?

-- name: save_attempts
INSERT INTO taskbus_attempts (task_id, attempt, started_at, finished_at, worker,
                              failure_type, failure_message, failure_traceback)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (task_id, attempt) DO UPDATE
SET started_at = excluded.started_at, finished_at = excluded.finished_at, worker = excluded.worker,
    failure_type = excluded.failure_type, failure_message = excluded.failure_message,
    failure_traceback = excluded.failure_traceback

-- name: bury
INSERT INTO taskbus_dead_letters (task_id, task, queue, reason, failure_type, failure_message, failure_traceback,
                                  wire, content_type, priority, attempt, sent_at, dead_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE
SET task = excluded.task, queue = excluded.queue, reason = excluded.reason, failure_type = excluded.failure_type,
    failure_message = excluded.failure_message, failure_traceback = excluded.failure_traceback,
    wire = excluded.wire, content_type = excluded.content_type, priority = excluded.priority,
    attempt = excluded.attempt, sent_at = excluded.sent_at, dead_at = excluded.dead_at

-- name: lock_letters
-- Which of these are there, and since when; here the transaction has locked everything already.
SELECT task_id, dead_at FROM taskbus_dead_letters WHERE task_id IN (SELECT value FROM json_each(:ids))

-- name: delete_letters
DELETE FROM taskbus_dead_letters WHERE task_id IN (SELECT value FROM json_each(:ids))

-- name: delete_attempts
DELETE FROM taskbus_attempts WHERE task_id IN (SELECT value FROM json_each(:ids))

-- name: delete_attempts_of_letters
DELETE FROM taskbus_attempts WHERE task_id IN (
    SELECT task_id FROM taskbus_dead_letters WHERE task_id IN (SELECT value FROM json_each(:ids)))

-- name: delete_results
DELETE FROM taskbus_results WHERE task_id IN (SELECT value FROM json_each(:ids))

-- name: delete_failures
DELETE FROM taskbus_results WHERE task_id IN (SELECT value FROM json_each(:ids)) AND state IN ('FAILURE', 'REVOKED')

-- name: one_result
SELECT task_id, task, state, value, content_type, attempt, started_at, finished_at,
       failure_type, failure_message, failure_traceback
FROM taskbus_results WHERE task_id = :id AND expires_at > :now

-- name: many_results
SELECT task_id, task, state, value, content_type, attempt, started_at, finished_at,
       failure_type, failure_message, failure_traceback
FROM taskbus_results WHERE task_id IN (SELECT value FROM json_each(:ids)) AND expires_at > :now

-- name: attempts
SELECT task_id, attempt, started_at, finished_at, worker, failure_type, failure_message, failure_traceback
FROM taskbus_attempts WHERE task_id IN (SELECT value FROM json_each(:ids)) ORDER BY task_id, attempt

-- name: is_over
-- In one round trip: whether there is a result to sweep, and a flow.
SELECT EXISTS (SELECT 1 FROM taskbus_results WHERE expires_at <= :now),
       EXISTS (SELECT 1 FROM taskbus_flows WHERE expires_at <= :now)

-- name: sweep
DELETE FROM taskbus_results WHERE task_id IN (
    SELECT task_id FROM taskbus_results WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit)

-- name: where_everything
1 = 1

-- name: where_nothing
1 = 0

-- name: where_after
dead_at >= :after_at AND (dead_at > :after_at OR task_id > :after_id)

-- name: where_before
dead_at <= :after_at AND (dead_at < :after_at OR task_id < :after_id)

-- name: where_task_ids
task_id IN (SELECT value FROM json_each(:task_ids))

-- name: where_task
taskbus_matches(task, :task)

-- name: where_queue
taskbus_matches(queue, :queue)

-- name: where_reason
reason = :reason

-- name: where_error
(failure_type = :error OR substr(failure_type, -length(:error) - 1) = '.' || :error)

-- name: where_text
instr(failure_message, :text) > 0

-- name: where_older_than
dead_at <= :older_than

-- name: where_newer_than
dead_at >= :newer_than
