-- The statements of flows in SQLite's dialect; see sqlite.sql for the marks, and flows.sql for what a flow is.
-- :keys is a JSON list of pairs [flow, id]. A step on flows holds the database's only write lock.

-- name: begin_flows
INSERT INTO taskbus_flows (id, name, last_id, sent_at, ttl) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING

-- name: lock_flows
SELECT :now, number, id, name, last_id, sent_at, ttl, state, is_cancelled, ended_at,
       waiting, ready, started, succeeded, failed, revoked, skipped, dead, joins
FROM taskbus_flows
WHERE id IN (SELECT value FROM json_each(:ids)) AND (expires_at IS NULL OR expires_at > :now) ORDER BY id

-- name: drop_flows
DELETE FROM taskbus_flows WHERE state = '' AND id IN (SELECT value FROM json_each(:ids))

-- name: save_flows
UPDATE taskbus_flows
SET state = ?3, is_cancelled = ?4, ended_at = ?5, expires_at = ?6, waiting = ?7, ready = ?8, started = ?9,
    succeeded = ?10, failed = ?11, revoked = ?12, skipped = ?13, dead = ?14, joins = ?15
WHERE number = ?1 AND id = ?2

-- name: load_nodes
SELECT {node} FROM json_each(:keys) AS asked CROSS JOIN taskbus_flow_nodes AS node
ON node.flow = json_extract(asked.value, '$[0]') AND node.id = json_extract(asked.value, '$[1]')

-- name: kept_nodes
SELECT {node}, node.value FROM json_each(:keys) AS asked CROSS JOIN taskbus_flow_nodes AS node
ON node.flow = json_extract(asked.value, '$[0]') AND node.id = json_extract(asked.value, '$[1]')

-- name: wires
SELECT node.flow, node.id, node.wire FROM json_each(:keys) AS asked CROSS JOIN taskbus_flow_nodes AS node
ON node.flow = json_extract(asked.value, '$[0]') AND node.id = json_extract(asked.value, '$[1]')

-- name: nodes_after
SELECT {node}, node.wire FROM json_each(:keys) AS asked
CROSS JOIN taskbus_flow_nodes AS node INDEXED BY taskbus_flow_nodes_after
ON node.flow = json_extract(asked.value, '$[0]') AND node.after_id = json_extract(asked.value, '$[1]')
WHERE node.after_id <> '' ORDER BY node.flow, node.id

-- name: members
SELECT {node}, node.value FROM json_each(:keys) AS asked
CROSS JOIN taskbus_flow_nodes AS node INDEXED BY taskbus_flow_nodes_members
ON node.flow = json_extract(asked.value, '$[0]') AND node.join_id = json_extract(asked.value, '$[1]')
WHERE node.join_id <> '' ORDER BY node.flow, node.join_id, node.place, node.id

-- name: add_nodes
INSERT INTO taskbus_flow_nodes ({added}) VALUES ({marks})

-- name: save_nodes
UPDATE taskbus_flow_nodes
SET state = ?3, started_at = ?4, copy = ?5, ended_at = ?6, value = ?7, content_type = ?8, failure_type = ?9,
    failure_message = ?10, failure_traceback = ?11, cause = ?12, waits_for = ?13, failed = ?14, is_sealed = ?15
WHERE flow = ?1 AND id = ?2

-- name: delete_nodes
-- The first two conditions find the rows, of which the third knows the pairs: alone it would read whole flows.
DELETE FROM taskbus_flow_nodes
WHERE flow IN (SELECT json_extract(value, '$[0]') FROM json_each(:keys))
  AND id IN (SELECT json_extract(value, '$[1]') FROM json_each(:keys))
  AND (flow, id) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:keys))

-- name: flows_over
SELECT number FROM taskbus_flows WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit

-- name: sweep_nodes
-- :numbers is one of them.
DELETE FROM taskbus_flow_nodes WHERE flow = json_extract(:numbers, '$[0]') AND id <= (
    SELECT max(id) FROM (
        SELECT id FROM taskbus_flow_nodes WHERE flow = json_extract(:numbers, '$[0]') ORDER BY id LIMIT :limit))

-- name: sweep_flows
DELETE FROM taskbus_flows WHERE number IN (SELECT value FROM json_each(:numbers))
