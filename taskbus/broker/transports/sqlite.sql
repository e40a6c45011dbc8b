-- The statements of the SQL transport in SQLite's dialect, each under its name; sql.py says when each one runs.
-- owner: 0 ready, -1 delayed until due_at, else the id of the worker that holds it.
-- rank: 9 - priority, so that one index in ascending order serves both priority and age.
-- The literals 0 and -1 stay literals: only then do the partial indexes apply.

-- name: publish
INSERT INTO taskbus_message (queue, rank, due_at, owner, sent_at, body, properties) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: probe
-- For each queue of a JSON list: whether something is ready, and when the next delayed one is due.
SELECT q.value,
       EXISTS (SELECT 1 FROM taskbus_message WHERE owner = 0 AND queue = q.value),
       (SELECT min(due_at) FROM taskbus_message WHERE owner = -1 AND queue = q.value)
FROM json_each(?) AS q

-- name: promote
UPDATE taskbus_message SET owner = 0 WHERE id IN (
    SELECT id FROM taskbus_message WHERE owner = -1 AND queue = ? AND due_at <= ? ORDER BY due_at LIMIT ?)

-- name: next_fence
INSERT INTO taskbus_counter (name, value) VALUES ('fence', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1

-- name: fence
SELECT value FROM taskbus_counter WHERE name = 'fence' AND EXISTS (SELECT 1 FROM taskbus_worker WHERE id = ?)

-- name: claim
UPDATE taskbus_message SET owner = ?, fence = ? WHERE id IN (
    SELECT id FROM taskbus_message WHERE owner = 0 AND queue = ? ORDER BY rank, id LIMIT ?)
RETURNING rank, id, queue, body, properties, fence, crashes, losses

-- name: ack
DELETE FROM taskbus_message WHERE id = ? AND owner = ? AND fence = ?

-- name: give_back
UPDATE taskbus_message SET owner = ?, due_at = ifnull(?, due_at), crashes = crashes + ?
WHERE id = ? AND owner = ? AND fence = ?

-- name: held
SELECT id, fence FROM taskbus_message WHERE owner = ? AND id IN (SELECT value FROM json_each(?))

-- name: join
INSERT INTO taskbus_worker (incarnation, name, pid, queues, started_at, lease_until) VALUES (?, ?, ?, ?, ?, ?)

-- name: renew
UPDATE taskbus_worker SET lease_until = ? WHERE id = ?

-- name: attend
UPDATE taskbus_worker SET queues = ? WHERE id = ?

-- name: expired
SELECT count(*) FROM taskbus_worker WHERE lease_until < ?

-- name: reap_messages
UPDATE taskbus_message SET owner = 0, losses = losses + 1
WHERE owner > 0 AND owner NOT IN (SELECT id FROM taskbus_worker WHERE lease_until >= ?)

-- name: reap_workers
DELETE FROM taskbus_worker WHERE lease_until < ?

-- name: leave_messages
UPDATE taskbus_message SET owner = 0 WHERE owner = ? AND owner > 0

-- name: leave_worker
DELETE FROM taskbus_worker WHERE id = ?

-- name: workers
SELECT w.name, w.incarnation, w.pid, w.queues, w.started_at, w.lease_until,
       (SELECT count(*) FROM taskbus_message WHERE owner = w.id AND owner > 0)
FROM taskbus_worker AS w ORDER BY w.id

-- name: sizes
SELECT queue, 'ready', count(*) FROM taskbus_message WHERE owner = 0 GROUP BY queue
UNION ALL SELECT queue, 'delayed', count(*) FROM taskbus_message WHERE owner = -1 GROUP BY queue
UNION ALL SELECT queue, 'running', count(*) FROM taskbus_message WHERE owner > 0 GROUP BY queue
UNION ALL SELECT name, 'ready', 0 FROM taskbus_queue

-- name: oldest
-- Ten steps into the index, one a priority, whatever the length of the queue.
WITH ranks (rank) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))
SELECT min(max(m.sent_at, ifnull(m.due_at, 0))) FROM ranks JOIN taskbus_message AS m ON m.id = (
    SELECT id FROM taskbus_message WHERE owner = 0 AND queue = ? AND rank = ranks.rank ORDER BY id LIMIT 1)

-- name: peek_ready
SELECT rank, id, queue, body, properties, 0, crashes, losses FROM taskbus_message
WHERE owner = 0 AND queue = ? ORDER BY rank, id LIMIT ?

-- name: peek_delayed
SELECT rank, id, queue, body, properties, 0, crashes, losses FROM taskbus_message
WHERE owner = -1 AND queue = ? ORDER BY due_at LIMIT ?

-- name: withdraw
DELETE FROM taskbus_message WHERE id = ? AND queue = ? AND owner IN (0, -1)

-- name: purge_ready
DELETE FROM taskbus_message WHERE owner = 0 AND queue = ?

-- name: purge_delayed
DELETE FROM taskbus_message WHERE owner = -1 AND queue = ?

-- name: queue
SELECT name FROM taskbus_queue WHERE name = ?

-- name: declare_queue
INSERT INTO taskbus_queue (name, expires, used_at) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET expires = excluded.expires, used_at = excluded.used_at

-- name: unused_queues
SELECT name FROM taskbus_queue WHERE expires IS NOT NULL AND used_at + expires < ?

-- name: delete_queue
DELETE FROM taskbus_queue WHERE name = ?

-- name: unbind_queue
DELETE FROM taskbus_binding WHERE queue = ?

-- name: count_queue
SELECT (SELECT count(*) FROM taskbus_message WHERE owner = 0 AND queue = ?),
       (SELECT count(*) FROM taskbus_worker AS w, json_each(w.queues) AS q WHERE q.value = ?)

-- name: exchange
SELECT type FROM taskbus_exchange WHERE name = ?

-- name: declare_exchange
INSERT INTO taskbus_exchange (name, type) VALUES (?, ?) ON CONFLICT (name) DO NOTHING

-- name: delete_exchange
DELETE FROM taskbus_exchange WHERE name = ?

-- name: unbind_exchange
DELETE FROM taskbus_binding WHERE exchange = ?

-- name: bindings
SELECT queue, routing_key FROM taskbus_binding WHERE exchange = ?

-- name: bind
INSERT INTO taskbus_binding (exchange, queue, routing_key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- name: unbind
DELETE FROM taskbus_binding WHERE exchange = ? AND queue = ? AND routing_key = ?
