-- What is asked of dead letters, in words that every dialect understands; {condition} is made of its where_ statements.

-- name: letters
SELECT task_id, task, queue, reason, failure_type, failure_message, failure_traceback,
       wire, content_type, priority, attempt, sent_at, dead_at
FROM taskbus_dead_letters WHERE {condition} ORDER BY dead_at, task_id LIMIT :limit

-- name: letters_newest
SELECT task_id, task, queue, reason, failure_type, failure_message, failure_traceback,
       wire, content_type, priority, attempt, sent_at, dead_at
FROM taskbus_dead_letters WHERE {condition} ORDER BY dead_at DESC, task_id DESC LIMIT :limit

-- name: count
SELECT count(*) FROM taskbus_dead_letters WHERE {condition}

-- name: groups
-- One row for all letters alike, in the order of Group's fields; the newest one speaks for all.
SELECT task, reason, failure_type, failure_message, size, first_at, last_at, task_id FROM (
    SELECT task, reason, failure_type, failure_message, task_id,
           count(*) OVER alike AS size, min(dead_at) OVER alike AS first_at, max(dead_at) OVER alike AS last_at,
           row_number() OVER (PARTITION BY task, reason, failure_type ORDER BY dead_at DESC, task_id DESC) AS place
    FROM taskbus_dead_letters WHERE {condition}
    WINDOW alike AS (PARTITION BY task, reason, failure_type)) AS ranked
WHERE place = 1 ORDER BY size DESC, last_at DESC, task_id
