-- The statements of the SQL store in PostgreSQL's dialect, each under its name; sql.py says when each one runs.
-- Rows to write come as one array a column, all rows in one statement. :ids is an array of ids. :now is the present
-- instant: the one handed over, else the server's own. {condition} stands for the where_... lines of the fields that a
-- filter gives, joined by AND. A final result stays, unless its time is over: then it is as good as gone. Who waits for
-- results (topic taskbus_results) is woken by the statement that saves them, on database.postgresql.channel.

-- name: save_values
WITH saved AS (
    INSERT INTO taskbus_results AS kept
           (task_id, task, state, value, content_type, attempt, started_at, finished_at, expires_at)
    SELECT task_id, task, state, value, content_type, attempt, started_at, finished_at, ttl + :now
    FROM unnest(:task_id::text[], :task::text[], :state::text[], :value::bytea[], :content_type::text[], :attempt::int[],
                :started_at::float8[], :finished_at::float8[], :ttl::float8[])
         AS new (task_id, task, state, value, content_type, attempt, started_at, finished_at, ttl)
    ON CONFLICT (task_id) DO UPDATE
    SET task = excluded.task, state = excluded.state, value = excluded.value, content_type = excluded.content_type,
        attempt = excluded.attempt, started_at = excluded.started_at, finished_at = excluded.finished_at,
        expires_at = excluded.expires_at, failure_type = NULL, failure_message = NULL, failure_traceback = NULL
    WHERE kept.state NOT IN ('SUCCESS', 'FAILURE', 'REVOKED') OR kept.expires_at <= :now
    RETURNING 1)
SELECT pg_notify(
    'taskbus_' || left(encode(sha256(convert_to(current_schema() || '.taskbus_results', 'UTF8')), 'hex'), 40), '')
WHERE EXISTS (SELECT FROM saved)

-- name: save_results
WITH saved AS (
    INSERT INTO taskbus_results AS kept
           (task_id, task, state, value, content_type, attempt, started_at, finished_at,
            failure_type, failure_message, failure_traceback, expires_at)
    SELECT task_id, task, state, value, content_type, attempt, started_at, finished_at,
           failure_type, failure_message, failure_traceback, ttl + :now
    FROM unnest(:task_id::text[], :task::text[], :state::text[], :value::bytea[], :content_type::text[], :attempt::int[],
                :started_at::float8[], :finished_at::float8[],
                :failure_type::text[], :failure_message::text[], :failure_traceback::text[], :ttl::float8[])
         AS new (task_id, task, state, value, content_type, attempt, started_at, finished_at,
                 failure_type, failure_message, failure_traceback, ttl)
    ON CONFLICT (task_id) DO UPDATE
    SET task = excluded.task, state = excluded.state, value = excluded.value, content_type = excluded.content_type,
        attempt = excluded.attempt, started_at = excluded.started_at, finished_at = excluded.finished_at,
        failure_type = excluded.failure_type, failure_message = excluded.failure_message,
        failure_traceback = excluded.failure_traceback, expires_at = excluded.expires_at
    WHERE kept.state NOT IN ('SUCCESS', 'FAILURE', 'REVOKED') OR kept.expires_at <= :now
    RETURNING 1)
SELECT pg_notify(
    'taskbus_' || left(encode(sha256(convert_to(current_schema() || '.taskbus_results', 'UTF8')), 'hex'), 40), '')
WHERE EXISTS (SELECT FROM saved)

-- name: save_attempts
INSERT INTO taskbus_attempts
       (task_id, attempt, started_at, finished_at, worker, failure_type, failure_message, failure_traceback)
SELECT * FROM unnest(:task_id::text[], :attempt::int[], :started_at::float8[], :finished_at::float8[], :worker::text[],
                     :failure_type::text[], :failure_message::text[], :failure_traceback::text[])
ON CONFLICT (task_id, attempt) DO UPDATE
SET started_at = excluded.started_at, finished_at = excluded.finished_at, worker = excluded.worker,
    failure_type = excluded.failure_type, failure_message = excluded.failure_message,
    failure_traceback = excluded.failure_traceback

-- name: bury
INSERT INTO taskbus_dead_letters
       (task_id, task, queue, reason, failure_type, failure_message, failure_traceback,
        wire, content_type, priority, attempt, sent_at, dead_at)
SELECT * FROM unnest(:task_id::text[], :task::text[], :queue::text[], :reason::text[],
                     :failure_type::text[], :failure_message::text[], :failure_traceback::text[],
                     :wire::bytea[], :content_type::text[], :priority::int[], :attempt::int[],
                     :sent_at::float8[], :dead_at::float8[])
ON CONFLICT (task_id) DO UPDATE
SET task = excluded.task, queue = excluded.queue, reason = excluded.reason, failure_type = excluded.failure_type,
    failure_message = excluded.failure_message, failure_traceback = excluded.failure_traceback,
    wire = excluded.wire, content_type = excluded.content_type, priority = excluded.priority,
    attempt = excluded.attempt, sent_at = excluded.sent_at, dead_at = excluded.dead_at

-- name: lock_letters
-- Which of these are there, and since when; whoever else wants to take one out waits until this transaction ends.
SELECT task_id, dead_at FROM taskbus_dead_letters WHERE task_id = ANY(:ids::text[]) ORDER BY task_id FOR UPDATE

-- name: delete_letters
DELETE FROM taskbus_dead_letters WHERE task_id = ANY(:ids::text[])

-- name: delete_attempts
DELETE FROM taskbus_attempts WHERE task_id = ANY(:ids::text[])

-- name: delete_attempts_of_letters
DELETE FROM taskbus_attempts WHERE task_id IN (
    SELECT task_id FROM taskbus_dead_letters WHERE task_id = ANY(:ids::text[]))

-- name: delete_results
DELETE FROM taskbus_results WHERE task_id = ANY(:ids::text[])

-- name: delete_failures
DELETE FROM taskbus_results WHERE task_id = ANY(:ids::text[]) AND state IN ('FAILURE', 'REVOKED')

-- name: one_result
SELECT task_id, task, state, value, content_type, attempt, started_at, finished_at,
       failure_type, failure_message, failure_traceback
FROM taskbus_results WHERE task_id = :id::text AND expires_at > :now

-- name: many_results
SELECT task_id, task, state, value, content_type, attempt, started_at, finished_at,
       failure_type, failure_message, failure_traceback
FROM taskbus_results WHERE task_id = ANY(:ids::text[]) AND expires_at > :now

-- name: attempts
SELECT task_id, attempt, started_at, finished_at, worker, failure_type, failure_message, failure_traceback
FROM taskbus_attempts WHERE task_id = ANY(:ids::text[]) ORDER BY task_id, attempt

-- name: is_over
-- In one round trip: whether there is a result to sweep, and a flow.
SELECT EXISTS (SELECT 1 FROM taskbus_results WHERE expires_at <= :now),
       EXISTS (SELECT 1 FROM taskbus_flows WHERE expires_at <= :now)

-- name: sweep
-- Workers that sweep at once take different rows, and none that is just being written.
DELETE FROM taskbus_results WHERE task_id IN (
    SELECT task_id FROM taskbus_results WHERE expires_at <= :now
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)

-- name: where_everything
TRUE

-- name: where_nothing
FALSE

-- name: where_after
dead_at >= :after_at AND (dead_at > :after_at OR task_id > :after_id::text)

-- name: where_before
dead_at <= :after_at AND (dead_at < :after_at OR task_id < :after_id::text)

-- name: where_task_ids
task_id = ANY(:task_ids::text[])

-- name: where_task
task ~ :task::text

-- name: where_queue
queue ~ :queue::text

-- name: where_reason
reason = :reason::text

-- name: where_error
(failure_type = :error::text OR right(failure_type, length(:error::text) + 1) = '.' || :error::text)

-- name: where_text
strpos(failure_message, :text::text) > 0

-- name: where_older_than
dead_at <= :older_than::float8

-- name: where_newer_than
dead_at >= :newer_than::float8
