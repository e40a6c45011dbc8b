-- What is asked of reports, in words that SQLite and MySQL understand, and PostgreSQL too where postgresql_reports.sql has
-- no other; sql_ground.py says what is filled in, and sql_reports.py when each statement runs. {node} and
-- {seen} are constants, and what is asked of several nodes is one question a node, all together in one statement: joined
-- with what is asked, or all in one condition, there is a database for each way that reads all that is kept of a node.

-- name: head
SELECT number FROM taskbus_report_nodes WHERE node = :node {lock}

-- name: save_node
REPLACE INTO taskbus_report_nodes (node, number, at, is_listed, state) VALUES (:node, :number, :at, :is_listed, :state)

-- name: save_minutes
REPLACE INTO taskbus_report_minutes (minute, node, number, totals) VALUES (:minute, :node, :number, :totals)

-- name: save_records
REPLACE INTO taskbus_report_records (node, number, at, records) VALUES (:node, :number, :at, :records)

-- name: save_answers
REPLACE INTO taskbus_answers (number, node, answer, at) VALUES (:number, :node, :answer, :at)

-- name: inbox
SELECT number, node, body, expires_at FROM (
  SELECT number, node, body, expires_at FROM taskbus_orders
  WHERE number > :orders_after AND node IN ('', :node) AND expires_at > :now
  ORDER BY number LIMIT :limit
) AS orders
UNION ALL SELECT 0, queue, NULL, 0 FROM taskbus_pauses
UNION ALL SELECT -1, '', NULL, watched_until FROM taskbus_report_marks WHERE id = 1

-- name: nodes
SELECT node, number, at, state FROM taskbus_report_nodes WHERE is_listed = 1 ORDER BY node

-- name: heads
SELECT node, number FROM taskbus_report_nodes ORDER BY node

-- name: minutes
SELECT node, minute, number, totals FROM taskbus_report_minutes
WHERE node = {node} AND number > {seen} ORDER BY number, minute LIMIT :limit

-- name: records
SELECT node, number, records FROM taskbus_report_records
WHERE node = {node} AND number > {seen} ORDER BY number LIMIT :limit

-- name: next_order
UPDATE taskbus_report_marks
SET last_order = CASE WHEN last_order < :least THEN :least ELSE last_order + 1 END WHERE id = 1

-- name: last_order
SELECT last_order FROM taskbus_report_marks WHERE id = 1

-- name: insert_order
INSERT INTO taskbus_orders (number, node, body, expires_at) VALUES (:number, :node, :body, :expires_at)

-- name: answers
SELECT number, node, answer FROM taskbus_answers WHERE number = :number ORDER BY node

-- name: pause
INSERT INTO taskbus_pauses (queue) SELECT :queue FROM taskbus_report_marks
WHERE id = 1 AND NOT EXISTS (SELECT 1 FROM taskbus_pauses WHERE queue = :queue)

-- name: lock_marks
SELECT id FROM taskbus_report_marks WHERE id = 1 {lock}

-- name: resume
DELETE FROM taskbus_pauses WHERE queue = :queue

-- name: paused
SELECT queue FROM taskbus_pauses

-- name: watch
UPDATE taskbus_report_marks SET watched_until = :until WHERE id = 1 AND watched_until < :until

-- name: count_records
SELECT count(*) FROM taskbus_report_records

-- name: silent
SELECT node FROM taskbus_report_nodes WHERE is_listed = 1 AND at < :edge LIMIT :limit

-- name: forget_node
UPDATE taskbus_report_nodes SET is_listed = 0, state = :empty WHERE node = :node AND at < :edge

-- name: oldest
SELECT {columns} FROM {table} WHERE {condition} ORDER BY {columns} LIMIT :limit

-- name: delete_up_to
DELETE FROM {table} WHERE {first} <= {at_most} AND ({columns}) <= ({values}) AND {condition}
