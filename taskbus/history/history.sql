-- What is asked of the history, in words that every dialect understands, but for {in:...}, which stands before a list,
-- and {lock}, which keeps what was read from others until the transaction ends. {counts} are the columns of COUNTED.

-- name: lock
-- Whoever merges or sweeps does this first: one at a time.
SELECT next_number, rows_kept, bytes_kept FROM taskbus_history WHERE id = 1 {lock}

-- name: standing
SELECT next_number, rows_kept, bytes_kept FROM taskbus_history WHERE id = 1

-- name: unlock
UPDATE taskbus_history SET next_number = :next_number, rows_kept = :rows_kept, bytes_kept = :bytes_kept WHERE id = 1

-- name: version
SELECT version FROM taskbus_history WHERE id = 1

-- name: cursors
SELECT node, minutes_seen, records_seen FROM taskbus_history_nodes

-- name: nodes
SELECT node, minutes_seen, records_seen, settled FROM taskbus_history_nodes WHERE node {in:nodes}

-- name: forget_nodes
DELETE FROM taskbus_history_nodes WHERE node {in:nodes}

-- name: old_nodes
SELECT node FROM taskbus_history_nodes WHERE seen_at < :before ORDER BY node LIMIT :limit

-- name: node_minutes
SELECT node, minute, totals FROM taskbus_history_node_minutes
WHERE node {in:nodes} AND minute >= :first AND minute <= :last

-- name: settle
DELETE FROM taskbus_history_node_minutes WHERE node = :node AND minute <= :minute AND number < :number

-- name: unsettled
SELECT min(minute) FROM taskbus_history_node_minutes WHERE node = :node AND minute <= :minute

-- name: forget_node_minutes
DELETE FROM taskbus_history_node_minutes WHERE node {in:nodes}

-- name: names
SELECT number, name FROM taskbus_history_names WHERE kind = :kind AND name {in:names}

-- name: names_of
SELECT number, name FROM taskbus_history_names WHERE number {in:numbers}

-- name: insert_name
INSERT INTO taskbus_history_names (kind, name, used_at) VALUES (:kind, :name, :used_at)

-- name: use_names
UPDATE taskbus_history_names SET used_at = :used_at WHERE number {in:numbers} AND used_at < :before

-- name: old_names
-- Those of which the sums of all time tell are kept.
SELECT number FROM taskbus_history_names WHERE used_at < :before
AND number NOT IN (SELECT task FROM taskbus_history_totals WHERE span = 0 AND since = 0)
AND number NOT IN (SELECT queue FROM taskbus_history_totals WHERE span = 0 AND since = 0)
ORDER BY number LIMIT :limit

-- name: forget_names
DELETE FROM taskbus_history_names WHERE number {in:numbers} AND used_at < :before

-- name: totals
SELECT since, task, queue, {counts}, detail FROM taskbus_history_totals WHERE span = :span AND since {in:numbers}

-- name: totals_of_all_time
SELECT task, queue, {counts}, detail FROM taskbus_history_totals WHERE span = 0 AND since = 0

-- name: series_of_all
SELECT since, {counts}, detail FROM taskbus_history_totals
WHERE span = :span AND since >= :first AND since < :last AND task = 0 AND queue = 0

-- name: series_of_task
SELECT since, {counts}, detail FROM taskbus_history_totals
WHERE span = :span AND since >= :first AND since < :last AND task = :task

-- name: series_of_queue
SELECT since, {counts}, detail FROM taskbus_history_totals
WHERE span = :span AND since >= :first AND since < :last AND task <> 0 AND queue = :queue

-- name: series_of_both
SELECT since, {counts}, detail FROM taskbus_history_totals
WHERE span = :span AND since >= :first AND since < :last AND task = :task AND queue = :queue

-- name: failing
SELECT task, sum(failed + rejected + expired), sum(succeeded + failed + rejected + expired + revoked)
FROM taskbus_history_totals
WHERE span = :span AND since >= :first AND since < :last AND task <> 0
GROUP BY task

-- name: sparks
SELECT since, task, sum(succeeded + failed + rejected + expired + revoked) FROM taskbus_history_totals
WHERE span = :span AND since >= :first AND since < :last AND task <> 0
GROUP BY since, task

-- name: sparks_of_one
SELECT since, task, sum(succeeded + failed + rejected + expired + revoked) FROM taskbus_history_totals
WHERE span = :span AND since >= :first AND since < :last AND task = :task
GROUP BY since, task

-- name: types
SELECT since, task, queue, {counts}, detail FROM taskbus_history_totals
WHERE span = :span AND since >= :first AND since < :last AND task <> 0

-- name: types_of_one
SELECT since, task, queue, {counts}, detail FROM taskbus_history_totals
WHERE span = :span AND since >= :first AND since < :last AND task = :task

-- name: old_totals
SELECT span, since, task, queue FROM taskbus_history_totals WHERE span = :span AND since < :before LIMIT :limit

-- name: forget_totals
DELETE FROM taskbus_history_totals WHERE span = :span AND since = :since AND task = :task AND queue = :queue

-- name: errors_of_tasks
SELECT task, error, last_at, task_id, message FROM taskbus_history_errors WHERE task {in:numbers}

-- name: errors_known
SELECT task, error, last_at FROM taskbus_history_errors WHERE task {in:numbers} AND error {in:others}

-- name: old_errors
SELECT task, error FROM taskbus_history_errors WHERE last_at < :before LIMIT :limit

-- name: forget_error
DELETE FROM taskbus_history_errors WHERE task = :task AND error = :error

-- name: successes_before
SELECT number, size FROM taskbus_history_records
WHERE state = 'SUCCESS' AND ended_at < :before ORDER BY ended_at LIMIT :limit

-- name: oldest_successes
SELECT number, size FROM taskbus_history_records WHERE state = 'SUCCESS' ORDER BY ended_at LIMIT :limit

-- name: records_before
SELECT number, size FROM taskbus_history_records WHERE ended_at < :before ORDER BY ended_at LIMIT :limit

-- name: oldest_records
SELECT number, size FROM taskbus_history_records ORDER BY ended_at LIMIT :limit

-- name: still_there
SELECT number, size FROM taskbus_history_records WHERE number {in:numbers}

-- name: forget_records
DELETE FROM taskbus_history_records WHERE number {in:numbers}

-- name: forget_details
DELETE FROM taskbus_history_details WHERE number {in:numbers}

-- name: details
SELECT number, detail FROM taskbus_history_details WHERE number {in:numbers}

-- name: span_of_records
-- Each by itself: SQLite finds one end of an index at once, and reads all of it for both.
SELECT (SELECT min(ended_at) FROM taskbus_history_records), (SELECT max(ended_at) FROM taskbus_history_records)

-- name: insert_audit
INSERT INTO taskbus_history_audit (at, who, role, action, target, detail, count)
VALUES (:at, :user, :role, :action, :target, :detail, :count)

-- name: audit
SELECT number, at, who, role, action, target, detail, count FROM taskbus_history_audit
WHERE number < :before ORDER BY number DESC LIMIT :limit

-- name: old_audit
SELECT number FROM taskbus_history_audit WHERE at < :before ORDER BY number LIMIT :limit

-- name: forget_audit
DELETE FROM taskbus_history_audit WHERE number {in:numbers}

-- name: delete_job
DELETE FROM taskbus_history_jobs WHERE id = :id

-- name: insert_job
INSERT INTO taskbus_history_jobs (id, kind, what, who, started_at, state, total, done, failed, updated_at, error)
VALUES (:id, :kind, :where, :by, :started_at, :state, :total, :done, :failed, :updated_at, :error)

-- name: job
SELECT id, kind, what, who, started_at, state, total, done, failed, updated_at, error
FROM taskbus_history_jobs WHERE id = :id

-- name: jobs
SELECT id, kind, what, who, started_at, state, total, done, failed, updated_at, error
FROM taskbus_history_jobs ORDER BY started_at DESC, id LIMIT :limit

-- name: old_jobs
SELECT id FROM taskbus_history_jobs WHERE started_at < :before AND state <> 'running' LIMIT :limit

-- name: forget_jobs
DELETE FROM taskbus_history_jobs WHERE id {in:names}
