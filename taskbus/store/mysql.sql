-- The statements of the SQL store in the dialect of MySQL and MariaDB, each under its name; sql.py says when each runs.
-- Rows to write come as tuples: the line of %s marks behind VALUES is repeated for each of them. :ids is a list of ids.
-- :now is the present instant: the one handed over, else the server's own. {condition} stands for the where_... lines
-- of the fields that a filter gives, joined by AND.
-- A final result stays, unless its time is over: then it is as good as gone. Assignments are made from left to right,
-- so all ask final_until, which changes last.

-- name: save_values
INSERT INTO taskbus_results (task_id, task, state, value, content_type, attempt, started_at, finished_at,
                             expires_at, final_until)
VALUES
(%s, %s, %s, %s, %s, %s, %s, %s, %s + :now, if(state IN ('SUCCESS', 'FAILURE', 'REVOKED'), expires_at, 0))
ON DUPLICATE KEY UPDATE
    task = if(final_until > :now, task, values(task)),
    state = if(final_until > :now, state, values(state)),
    value = if(final_until > :now, value, values(value)),
    content_type = if(final_until > :now, content_type, values(content_type)),
    attempt = if(final_until > :now, attempt, values(attempt)),
    started_at = if(final_until > :now, started_at, values(started_at)),
    finished_at = if(final_until > :now, finished_at, values(finished_at)),
    expires_at = if(final_until > :now, expires_at, values(expires_at)),
    failure_type = if(final_until > :now, failure_type, NULL),
    failure_message = if(final_until > :now, failure_message, NULL),
    failure_traceback = if(final_until > :now, failure_traceback, NULL),
    final_until = if(final_until > :now, final_until, values(final_until))

-- name: save_results
INSERT INTO taskbus_results (task_id, task, state, value, content_type, attempt, started_at, finished_at,
                             failure_type, failure_message, failure_traceback, expires_at, final_until)
VALUES
(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s + :now, if(state IN ('SUCCESS', 'FAILURE', 'REVOKED'), expires_at, 0))
ON DUPLICATE KEY UPDATE
    task = if(final_until > :now, task, values(task)),
    state = if(final_until > :now, state, values(state)),
    value = if(final_until > :now, value, values(value)),
    content_type = if(final_until > :now, content_type, values(content_type)),
    attempt = if(final_until > :now, attempt, values(attempt)),
    started_at = if(final_until > :now, started_at, values(started_at)),
    finished_at = if(final_until > :now, finished_at, values(finished_at)),
    expires_at = if(final_until > :now, expires_at, values(expires_at)),
    failure_type = if(final_until > :now, failure_type, values(failure_type)),
    failure_message = if(final_until > :now, failure_message, values(failure_message)),
    failure_traceback = if(final_until > :now, failure_traceback, values(failure_traceback)),
    final_until = if(final_until > :now, final_until, values(final_until))

-- name: save_attempts
INSERT INTO taskbus_attempts (task_id, attempt, started_at, finished_at, worker,
                              failure_type, failure_message, failure_traceback)
VALUES
(%s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    started_at = values(started_at), finished_at = values(finished_at), worker = values(worker),
    failure_type = values(failure_type), failure_message = values(failure_message),
    failure_traceback = values(failure_traceback)

-- name: bury
INSERT INTO taskbus_dead_letters (task_id, task, queue, reason, failure_type, failure_message, failure_traceback,
                                  wire, content_type, priority, attempt, sent_at, dead_at)
VALUES
(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    task = values(task), queue = values(queue), reason = values(reason), failure_type = values(failure_type),
    failure_message = values(failure_message), failure_traceback = values(failure_traceback),
    wire = values(wire), content_type = values(content_type), priority = values(priority),
    attempt = values(attempt), sent_at = values(sent_at), dead_at = values(dead_at)

-- name: lock_letters
-- Which of these are there, and since when; whoever else wants to take one out waits until this transaction ends.
SELECT task_id, dead_at FROM taskbus_dead_letters WHERE task_id IN :ids ORDER BY task_id FOR UPDATE

-- name: delete_letters
DELETE FROM taskbus_dead_letters WHERE task_id IN :ids

-- name: delete_attempts
DELETE FROM taskbus_attempts WHERE task_id IN :ids

-- name: delete_attempts_of_letters
DELETE FROM taskbus_attempts WHERE task_id IN :ids AND EXISTS (
    SELECT 1 FROM taskbus_dead_letters AS letter WHERE letter.task_id = taskbus_attempts.task_id)

-- name: delete_results
DELETE FROM taskbus_results WHERE task_id IN :ids

-- name: delete_failures
DELETE FROM taskbus_results WHERE task_id IN :ids AND state IN ('FAILURE', 'REVOKED')

-- name: one_result
SELECT task_id, task, state, value, content_type, attempt, started_at, finished_at,
       failure_type, failure_message, failure_traceback
FROM taskbus_results WHERE task_id = :id AND expires_at > :now

-- name: many_results
SELECT task_id, task, state, value, content_type, attempt, started_at, finished_at,
       failure_type, failure_message, failure_traceback
FROM taskbus_results WHERE task_id IN :ids AND expires_at > :now

-- name: attempts
SELECT task_id, attempt, started_at, finished_at, worker,
       failure_type, failure_message, failure_traceback
FROM taskbus_attempts WHERE task_id IN :ids ORDER BY task_id, attempt

-- name: is_over
-- In one round trip: whether there is a result to sweep, and a flow.
SELECT EXISTS (SELECT 1 FROM taskbus_results WHERE expires_at <= :now),
       EXISTS (SELECT 1 FROM taskbus_flows WHERE expires_at <= :now)

-- name: sweep
DELETE FROM taskbus_results WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit

-- name: where_everything
TRUE

-- name: where_nothing
FALSE

-- name: where_after
dead_at >= :after_at AND (dead_at > :after_at OR task_id > :after_id)

-- name: where_before
dead_at <= :after_at AND (dead_at < :after_at OR task_id < :after_id)

-- name: where_task_ids
task_id IN :task_ids

-- name: where_task
task REGEXP :task

-- name: where_queue
queue REGEXP :queue

-- name: where_reason
reason = :reason

-- name: where_error
(failure_type = :error OR right(failure_type, char_length(:error) + 1) = concat('.', :error))

-- name: where_text
instr(failure_message, :text) > 0

-- name: where_older_than
dead_at <= :older_than

-- name: where_newer_than
dead_at >= :newer_than
