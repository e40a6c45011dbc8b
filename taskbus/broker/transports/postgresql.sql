-- The statements of the SQL transport in PostgreSQL's dialect, each under its name; sql_postgresql.py and sql_server.py
-- say when each one runs. What owner and rank mean stands in sqlite.sql.
-- {now} is the present instant: the server's own, as of the start of the statement, or a test's. {ring:x} wakes who
-- listens to queue x; taskbus_ names are qualified with the schema when the file is read.
-- The literals 0 and -1 stay literals: only then do the partial indexes apply.

-- name: set_now
SELECT set_config('taskbus.now', %s::float8::text, false)

-- name: publish_one
-- As publish, for a single message: making arrays of one would cost as much as all the rest.
-- What all of these return are the queues to ring, because somebody works on them. They do not ring themselves: a
-- commit that notifies holds a lock on all others that do, until its log is on the disk.
WITH queued AS (
    INSERT INTO taskbus_message (queue, rank, due_at, owner, sent_at, body, properties)
    SELECT queue, rank, due_at, CASE WHEN due_at > {now} THEN -1 ELSE 0 END, {now}, body, properties
    FROM (VALUES (%b::text, %b::int2, %b::float8, %b::bytea, %b::bytea))
         AS parcel (queue, rank, due_at, body, properties)
    RETURNING queue)
SELECT queue FROM queued
WHERE EXISTS (SELECT FROM taskbus_worker WHERE queues::jsonb @> to_jsonb(queued.queue))

-- name: publish_one_once
-- As publish_once.
WITH fresh AS (
    INSERT INTO taskbus_sent AS sent (id, at) VALUES (%b, {now})
    ON CONFLICT (id) DO UPDATE SET at = excluded.at WHERE sent.at < excluded.at - %b::float8
    RETURNING id
), queued AS (
    INSERT INTO taskbus_message (queue, rank, due_at, owner, sent_at, body, properties)
    SELECT queue, rank, due_at, CASE WHEN due_at > {now} THEN -1 ELSE 0 END, {now}, body, properties
    FROM fresh, (VALUES (%b::text, %b::int2, %b::float8, %b::bytea, %b::bytea))
         AS parcel (queue, rank, due_at, body, properties)
    RETURNING queue)
SELECT queue FROM queued
WHERE EXISTS (SELECT FROM taskbus_worker WHERE queues::jsonb @> to_jsonb(queued.queue))

-- name: publish
WITH queued AS (
    INSERT INTO taskbus_message (queue, rank, due_at, owner, sent_at, body, properties)
    SELECT queue, rank, due_at, CASE WHEN due_at > {now} THEN -1 ELSE 0 END, {now}, body, properties
    FROM unnest(%b::text[], %b::int2[], %b::float8[], %b::bytea[], %b::bytea[])
         WITH ORDINALITY AS parcel (queue, rank, due_at, body, properties, place)
    ORDER BY place RETURNING queue)
SELECT queue FROM (SELECT DISTINCT queue FROM queued) AS rung
WHERE EXISTS (SELECT FROM taskbus_worker WHERE queues::jsonb @> to_jsonb(rung.queue))

-- name: publish_once
-- Ids that were accepted within the window (the last mark, in seconds) are left out. They are inserted in order, so
-- that two who publish the same ones wait for each other rather than in a circle.
WITH parcel AS (
    SELECT * FROM unnest(%b::text[], %b::int2[], %b::float8[], %b::bytea[], %b::bytea[], %b::text[])
         WITH ORDINALITY AS parcel (queue, rank, due_at, body, properties, id, place)
), fresh AS (
    INSERT INTO taskbus_sent AS sent (id, at)
    SELECT DISTINCT id, {now} FROM parcel WHERE id <> '' ORDER BY id
    ON CONFLICT (id) DO UPDATE SET at = excluded.at WHERE sent.at < excluded.at - %b::float8
    RETURNING id
), queued AS (
    INSERT INTO taskbus_message (queue, rank, due_at, owner, sent_at, body, properties)
    SELECT queue, rank, due_at, CASE WHEN due_at > {now} THEN -1 ELSE 0 END, {now}, body, properties
    FROM parcel WHERE id = '' OR id IN (SELECT id FROM fresh)
    ORDER BY place RETURNING queue)
SELECT queue FROM (SELECT DISTINCT queue FROM queued) AS rung
WHERE EXISTS (SELECT FROM taskbus_worker WHERE queues::jsonb @> to_jsonb(rung.queue))

-- name: forget_sent
DELETE FROM taskbus_sent WHERE id = ANY(ARRAY(
    SELECT id FROM taskbus_sent WHERE at < {now} - %s ORDER BY at LIMIT %s FOR UPDATE SKIP LOCKED))

-- name: claim
-- In one round trip: an even share of what is ready from each queue that has something, unless something has become
-- due (and the second mark heeds that), which must be made ready first. The first mark: for each queue ten ids, one a
-- rank, below which not to look. The last row says when the next delayed message is due (last column; rank: whether
-- that is now), and in fence whether the holder is there; id is null in it.
-- The holder's row is locked against reaping, and nothing at all is written where nothing is ready.
-- Rows are compared whole, and ordered by rank though it is always the same one: only so can nothing but the index of
-- what is ready serve, and be entered at the floor.
WITH floors AS MATERIALIZED (
    SELECT %b::int8[] AS ids
), asked AS MATERIALIZED (
    SELECT queue, place, (SELECT min(due_at) FROM taskbus_message WHERE owner = -1 AND queue = asked.queue) AS due_at,
           (SELECT true FROM floors, generate_series(0, 9) AS ranks (rank), LATERAL (
                SELECT FROM taskbus_message WHERE owner = 0 AND queue = asked.queue AND rank <= ranks.rank
                AND (rank, id) >= (ranks.rank, floors.ids[(asked.place - 1) * 10 + ranks.rank + 1])
                ORDER BY rank, id LIMIT 1) AS one
            LIMIT 1) IS TRUE AS is_ready
    FROM unnest(%b::text[]) WITH ORDINALITY AS asked (queue, place)
), plan AS MATERIALIZED (
    SELECT min(due_at) AS due_at, %b::bool AND coalesce(min(due_at) <= {now}, false) AS is_due,
           count(*) FILTER (WHERE is_ready)::int AS ready
    FROM asked
), holder AS MATERIALIZED (
    SELECT worker.id, nextval('taskbus_fence') AS fence FROM plan, taskbus_worker AS worker
    WHERE worker.id = %b AND plan.ready > 0 AND NOT plan.is_due FOR KEY SHARE OF worker
), share AS MATERIALIZED (
    SELECT queue, place, %b::int / plan.ready + (row_number() OVER () <= %b::int %% plan.ready)::int AS size
    FROM asked, plan WHERE is_ready
), picked AS MATERIALIZED (
    SELECT message.id FROM holder, share, LATERAL (
        SELECT one.id FROM floors, generate_series(0, 9) AS ranks (rank), LATERAL (
            SELECT id FROM taskbus_message WHERE owner = 0 AND queue = share.queue AND rank <= ranks.rank
            AND (rank, id) >= (ranks.rank, floors.ids[(share.place - 1) * 10 + ranks.rank + 1])
            AND fence < holder.fence ORDER BY rank, id LIMIT share.size FOR UPDATE SKIP LOCKED) AS one
        LIMIT share.size) AS message
), taken AS (
    UPDATE taskbus_message AS message SET owner = holder.id, fence = holder.fence
    FROM holder WHERE message.id = ANY(ARRAY(SELECT id FROM picked))
    RETURNING message.rank, message.id, message.queue, message.body, message.properties, message.fence,
              message.crashes, message.losses)
SELECT rank, id, queue, body, properties, fence, crashes, losses, NULL::float8 FROM taken
UNION ALL
SELECT plan.is_due::int, NULL, NULL, NULL, NULL, (SELECT id FROM taskbus_worker WHERE id = %b), plan.ready, NULL,
       plan.due_at
FROM plan

-- name: promote
UPDATE taskbus_message SET owner = 0 WHERE id = ANY(ARRAY(
    SELECT message.id FROM unnest(%s::text[]) AS asked (queue), LATERAL (
        SELECT id FROM taskbus_message WHERE owner = -1 AND queue = asked.queue AND due_at <= {now}
        ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED) AS message))

-- name: give_back_unseen
-- What a holder was given in an answer that got lost.
UPDATE taskbus_message SET owner = 0 WHERE owner = %s AND owner > 0 AND fence > %s

-- name: ack
DELETE FROM taskbus_message AS message USING unnest(%b::int8[], %b::int8[]) AS done (id, fence)
WHERE message.id = done.id AND message.fence = done.fence AND message.owner = %b RETURNING message.id

-- name: give_back
WITH given AS (
    UPDATE taskbus_message AS message
    SET owner = CASE WHEN back.delay > 0 THEN -1 ELSE 0 END,
        due_at = CASE WHEN back.delay > 0 THEN {now} + back.delay ELSE message.due_at END,
        crashes = message.crashes + back.crashed
    FROM unnest(%s::int8[], %s::int8[], %s::float8[], %s::int[]) AS back (id, fence, delay, crashed)
    WHERE message.id = back.id AND message.fence = back.fence AND message.owner = %s RETURNING message.id, message.queue
), rung AS (SELECT {ring:queue} FROM (SELECT DISTINCT queue FROM given) AS distinct_queue)
SELECT id, (SELECT count(*) FROM rung) FROM given

-- name: existing
SELECT id FROM taskbus_message WHERE id = ANY(%s::int8[])

-- name: held
SELECT id, fence FROM taskbus_message WHERE owner = %s AND id = ANY(%s::int8[])

-- name: join
INSERT INTO taskbus_worker (incarnation, name, pid, queues, started_at, lease_until)
VALUES (%s, %s, %s, %s, {now}, {now} + %s)
ON CONFLICT (incarnation) DO UPDATE SET lease_until = excluded.lease_until RETURNING id

-- name: renew
-- Also the largest fence of what it holds: larger than any it has seen, and an answer was lost.
UPDATE taskbus_worker AS worker SET lease_until = {now} + %s WHERE id = %s
RETURNING (SELECT max(fence) FROM taskbus_message WHERE owner = worker.id AND owner > 0)

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
-- A statement of its own after lock_expired: it must see what was claimed until then.
WITH given AS (
    UPDATE taskbus_message SET owner = 0, losses = losses + 1 WHERE owner > 0 AND owner = ANY(%s::int8[])
    RETURNING queue)
SELECT count(*), {ring:queue} FROM given GROUP BY queue

-- name: forget_workers
DELETE FROM taskbus_worker WHERE id = ANY(%s::int8[])

-- name: leave_messages
WITH given AS (UPDATE taskbus_message SET owner = 0 WHERE owner > 0 AND owner = ANY(%s::int8[]) RETURNING queue)
SELECT count(*), {ring:queue} FROM given GROUP BY queue

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
SELECT min(greatest(message.sent_at, coalesce(message.due_at, 0)))
FROM generate_series(0, 9) AS ranks (rank), LATERAL (
    SELECT sent_at, due_at FROM taskbus_message WHERE owner = 0 AND queue = %s AND rank = ranks.rank
    ORDER BY id LIMIT 1) AS message

-- name: peek_ready
SELECT rank, id, queue, body, properties, 0, crashes, losses FROM taskbus_message
WHERE owner = 0 AND queue = %s ORDER BY rank, id LIMIT %s

-- name: peek_delayed
SELECT rank, id, queue, body, properties, 0, crashes, losses FROM taskbus_message
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
ON CONFLICT (name) DO UPDATE SET expires = excluded.expires, used_at = excluded.used_at

-- name: unused_queues
SELECT name FROM taskbus_queue WHERE expires IS NOT NULL AND used_at + expires < {now}

-- name: delete_queue
DELETE FROM taskbus_queue WHERE name = %s

-- name: unbind_queue
DELETE FROM taskbus_binding WHERE queue = %s

-- name: count_queue
SELECT (SELECT count(*) FROM taskbus_message WHERE owner = 0 AND queue = %s),
       (SELECT count(*) FROM taskbus_worker WHERE queues::jsonb @> to_jsonb(%s::text))

-- name: exchange
SELECT type FROM taskbus_exchange WHERE name = %s

-- name: declare_exchange
INSERT INTO taskbus_exchange (name, type) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING

-- name: delete_exchange
DELETE FROM taskbus_exchange WHERE name = %s

-- name: unbind_exchange
DELETE FROM taskbus_binding WHERE exchange = %s

-- name: bindings
SELECT queue, routing_key FROM taskbus_binding WHERE exchange = %s

-- name: bind
INSERT INTO taskbus_binding (exchange, queue, routing_key) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING

-- name: unbind
DELETE FROM taskbus_binding WHERE exchange = %s AND queue = %s AND routing_key = %s
