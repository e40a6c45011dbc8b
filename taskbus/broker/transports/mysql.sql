-- The statements of the SQL transport in the dialect of MySQL 8 and MariaDB 10.6 on, each under its name; sql_mysql.py
-- and sql_server.py say when each one runs. What owner and rank mean stands in sqlite.sql.
-- {now} is the present instant: the server's own, as of the start of the statement, or a test's. {marks} is as many
-- marks as there are values, {pairs} as many pairs of marks, {rows} as many rows of marks.

-- name: set_now
SET @taskbus_now = %s

-- name: publish
INSERT INTO taskbus_message (queue, `rank`, due_at, owner, sent_at, body, properties) VALUES {rows}

-- name: publish_row
(%s, %s, %s, IF(%s > {now}, -1, 0), {now}, %s, %s)

-- name: publish_fresh
-- One row, if its id bears this token: a round trip less than asking first.
INSERT INTO taskbus_message (queue, `rank`, due_at, owner, sent_at, body, properties)
SELECT %s, %s, %s, IF(%s > {now}, -1, 0), {now}, %s, %s FROM taskbus_sent WHERE id = %s AND token = %s

-- name: note_sent
-- Of those who publish the same id at once one writes its token; the window, in seconds, is given twice.
INSERT INTO taskbus_sent (id, at, token) VALUES {rows} ON DUPLICATE KEY UPDATE
    token = IF(at < {now} - %s, VALUES(token), token), at = IF(at < {now} - %s, VALUES(at), at)

-- name: note_sent_row
(%s, {now}, %s)

-- name: fresh
SELECT id FROM taskbus_sent WHERE id IN ({marks}) AND token = %s

-- name: forget_sent
DELETE FROM taskbus_sent WHERE at < {now} - %s ORDER BY at LIMIT %s

-- name: probe
-- One such line a queue, joined by UNION ALL: whether something is ready, when the next delayed one is due.
SELECT %s, EXISTS (SELECT 1 FROM taskbus_message WHERE owner = 0 AND queue = %s),
       (SELECT min(due_at) FROM taskbus_message WHERE owner = -1 AND queue = %s), {now}

-- name: lock_holder
-- Against reaping, until what it claims is committed.
SELECT id FROM taskbus_worker WHERE id = %s LOCK IN SHARE MODE

-- name: due
SELECT id FROM taskbus_message WHERE owner = -1 AND queue = %s AND due_at <= {now}
ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED

-- name: promote
UPDATE taskbus_message SET owner = 0 WHERE id IN ({marks})

-- name: pick
SELECT `rank`, id, queue, body, properties, fence, crashes, losses FROM taskbus_message
WHERE owner = 0 AND queue = %s ORDER BY `rank`, id LIMIT %s FOR UPDATE SKIP LOCKED

-- name: next_fence
INSERT INTO taskbus_counter (name, value) VALUES ('fence', LAST_INSERT_ID(1))
ON DUPLICATE KEY UPDATE value = LAST_INSERT_ID(value + 1)

-- name: take
UPDATE taskbus_message SET owner = %s, fence = %s WHERE id IN ({marks})

-- name: give_back_unseen
-- What a holder was given in an answer that got lost.
UPDATE taskbus_message SET owner = 0 WHERE owner = %s AND owner > 0 AND fence > %s

-- name: lock_held
SELECT id FROM taskbus_message WHERE id IN ({marks}) AND (id, fence) IN ({pairs}) AND owner = %s FOR UPDATE

-- name: ack
DELETE FROM taskbus_message WHERE id IN ({marks})

-- name: give_back
UPDATE taskbus_message SET owner = 0, crashes = crashes + %s WHERE id IN ({marks})

-- name: put_off
UPDATE taskbus_message SET owner = -1, due_at = {now} + %s, crashes = crashes + %s WHERE id IN ({marks})

-- name: existing
SELECT id FROM taskbus_message WHERE id IN ({marks})

-- name: held
SELECT id, fence FROM taskbus_message WHERE owner = %s AND id IN ({marks})

-- name: join
INSERT INTO taskbus_worker (incarnation, name, pid, queues, started_at, lease_until)
VALUES (%s, %s, %s, %s, {now}, {now} + %s)
ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), lease_until = VALUES(lease_until)

-- name: renew
UPDATE taskbus_worker SET lease_until = {now} + %s WHERE id = %s

-- name: largest_fence
SELECT max(fence) FROM taskbus_message WHERE owner = %s AND owner > 0

-- name: attend
UPDATE taskbus_worker SET queues = %s WHERE id = %s

-- name: is_there
SELECT id FROM taskbus_worker WHERE id = %s

-- name: to_reap
-- In one round trip: whether a lease has expired, a queue is unused, an id may be forgotten.
SELECT EXISTS (SELECT 1 FROM taskbus_worker WHERE lease_until < {now}),
       EXISTS (SELECT 1 FROM taskbus_queue WHERE expires IS NOT NULL AND used_at + expires < {now}),
       EXISTS (SELECT 1 FROM taskbus_sent WHERE at < {now} - %s)

-- name: lock_expired
-- One that is claiming or renewing this very moment is left for the next time.
SELECT id FROM taskbus_worker WHERE lease_until < {now} ORDER BY id FOR UPDATE SKIP LOCKED

-- name: reap_messages
UPDATE taskbus_message SET owner = 0, losses = losses + 1 WHERE owner > 0 AND owner IN ({marks})

-- name: forget_workers
DELETE FROM taskbus_worker WHERE id IN ({marks})

-- name: leave_messages
UPDATE taskbus_message SET owner = 0 WHERE owner > 0 AND owner IN ({marks})

-- name: workers
SELECT worker.name, worker.incarnation, worker.pid, worker.queues, worker.started_at, worker.lease_until,
       (SELECT count(*) FROM taskbus_message WHERE owner = worker.id AND owner > 0)
FROM taskbus_worker AS worker ORDER BY worker.id

-- name: sizes
SELECT queue, 'ready', count(*) FROM taskbus_message WHERE owner = 0 GROUP BY queue
UNION ALL SELECT queue, 'delayed', count(*) FROM taskbus_message WHERE owner = -1 GROUP BY queue
UNION ALL SELECT queue, 'running', count(*) FROM taskbus_message WHERE owner > 0 GROUP BY queue
UNION ALL SELECT name, 'ready', 0 FROM taskbus_queue

-- name: oldest
-- Ten steps into the index, one a priority, whatever the length of the queue.
WITH RECURSIVE ranks (`rank`) AS (SELECT 0 UNION ALL SELECT `rank` + 1 FROM ranks WHERE `rank` < 9)
SELECT min(greatest(message.sent_at, coalesce(message.due_at, 0)))
FROM ranks JOIN taskbus_message AS message ON message.id = (
    SELECT id FROM taskbus_message WHERE owner = 0 AND queue = %s AND `rank` = ranks.`rank` ORDER BY id LIMIT 1)

-- name: peek_ready
SELECT `rank`, id, queue, body, properties, 0, crashes, losses FROM taskbus_message
WHERE owner = 0 AND queue = %s ORDER BY `rank`, id LIMIT %s

-- name: peek_delayed
SELECT `rank`, id, queue, body, properties, 0, crashes, losses FROM taskbus_message
WHERE owner = -1 AND queue = %s ORDER BY due_at LIMIT %s

-- name: withdraw
DELETE FROM taskbus_message WHERE id = %s AND queue = %s AND owner IN (0, -1)

-- name: purge_ready
DELETE FROM taskbus_message WHERE owner = 0 AND queue = %s

-- name: purge_delayed
DELETE FROM taskbus_message WHERE owner = -1 AND queue = %s

-- name: queue
SELECT name FROM taskbus_queue WHERE name = %s

-- name: declare_queue
INSERT INTO taskbus_queue (name, expires, used_at) VALUES (%s, %s, {now})
ON DUPLICATE KEY UPDATE expires = VALUES(expires), used_at = VALUES(used_at)

-- name: unused_queues
SELECT name FROM taskbus_queue WHERE expires IS NOT NULL AND used_at + expires < {now}

-- name: delete_queue
DELETE FROM taskbus_queue WHERE name = %s

-- name: unbind_queue
DELETE FROM taskbus_binding WHERE queue = %s

-- name: count_queue
SELECT (SELECT count(*) FROM taskbus_message WHERE owner = 0 AND queue = %s),
       (SELECT count(*) FROM taskbus_worker WHERE JSON_CONTAINS(queues, JSON_QUOTE(%s)))

-- name: exchange
SELECT type FROM taskbus_exchange WHERE name = %s

-- name: declare_exchange
INSERT INTO taskbus_exchange (name, type) VALUES (%s, %s) ON DUPLICATE KEY UPDATE name = name

-- name: delete_exchange
DELETE FROM taskbus_exchange WHERE name = %s

-- name: unbind_exchange
DELETE FROM taskbus_binding WHERE exchange = %s

-- name: bindings
SELECT queue, routing_key FROM taskbus_binding WHERE exchange = %s

-- name: bind
INSERT INTO taskbus_binding (exchange, queue, routing_key) VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE queue = queue

-- name: unbind
DELETE FROM taskbus_binding WHERE exchange = %s AND queue = %s AND routing_key = %s
