-- The statements of flows in the dialect of MySQL and MariaDB; see mysql.sql for the marks, and flows.sql for what a
-- flow is. :keys is a JSON list of pairs [flow, id]. Sessions read what is committed: what is read once a flow's row is
-- locked is what the last one who held the lock has left. A database's own character set may be
-- any; so JSON_TABLE must say its.

-- name: begin_flows
INSERT INTO taskbus_flows (id, name, last_id, sent_at, ttl)
VALUES
(%s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE id = values(id)

-- name: lock_flows
SELECT :now, number, id, name, last_id, sent_at, ttl, state, is_cancelled, ended_at,
       waiting, ready, started, succeeded, failed, revoked, skipped, dead, joins
FROM taskbus_flows WHERE id IN :ids AND (expires_at IS NULL OR expires_at > :now) ORDER BY id FOR UPDATE

-- name: drop_flows
DELETE FROM taskbus_flows WHERE state = '' AND id IN :ids

-- name: save_flows
INSERT INTO taskbus_flows (number, id, state, is_cancelled, ended_at, expires_at,
                           waiting, ready, started, succeeded, failed, revoked, skipped, dead, joins)
VALUES
(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    state = values(state), is_cancelled = values(is_cancelled), ended_at = values(ended_at),
    expires_at = values(expires_at), waiting = values(waiting), ready = values(ready), started = values(started),
    succeeded = values(succeeded), failed = values(failed), revoked = values(revoked), skipped = values(skipped),
    dead = values(dead), joins = values(joins)

-- name: load_nodes
SELECT {node}
FROM JSON_TABLE(:keys, '$[*]' COLUMNS (
    flow BIGINT PATH '$[0]', id VARCHAR(200) CHARACTER SET utf8mb4 PATH '$[1]')) AS asked
STRAIGHT_JOIN taskbus_flow_nodes AS node ON node.flow = asked.flow AND node.id = asked.id

-- name: kept_nodes
SELECT {node}, node.value
FROM JSON_TABLE(:keys, '$[*]' COLUMNS (
    flow BIGINT PATH '$[0]', id VARCHAR(200) CHARACTER SET utf8mb4 PATH '$[1]')) AS asked
STRAIGHT_JOIN taskbus_flow_nodes AS node ON node.flow = asked.flow AND node.id = asked.id

-- name: wires
SELECT node.flow, node.id, node.wire
FROM JSON_TABLE(:keys, '$[*]' COLUMNS (
    flow BIGINT PATH '$[0]', id VARCHAR(200) CHARACTER SET utf8mb4 PATH '$[1]')) AS asked
STRAIGHT_JOIN taskbus_flow_nodes AS node ON node.flow = asked.flow AND node.id = asked.id

-- name: nodes_after
SELECT {node}, node.wire
FROM JSON_TABLE(:keys, '$[*]' COLUMNS (
    flow BIGINT PATH '$[0]', id VARCHAR(200) CHARACTER SET utf8mb4 PATH '$[1]')) AS asked
STRAIGHT_JOIN taskbus_flow_nodes AS node FORCE INDEX (taskbus_flow_nodes_after)
ON node.flow = asked.flow AND node.after_id = asked.id
ORDER BY node.flow, node.id

-- name: members
SELECT {node}, node.value
FROM JSON_TABLE(:keys, '$[*]' COLUMNS (
    flow BIGINT PATH '$[0]', id VARCHAR(200) CHARACTER SET utf8mb4 PATH '$[1]')) AS asked
STRAIGHT_JOIN taskbus_flow_nodes AS node FORCE INDEX (taskbus_flow_nodes_members)
ON node.flow = asked.flow AND node.join_id = asked.id
ORDER BY node.flow, node.join_id, node.place, node.id

-- name: add_nodes
INSERT INTO taskbus_flow_nodes ({added})
VALUES
({marks})
ON DUPLICATE KEY UPDATE id = values(id)

-- name: save_nodes
INSERT INTO taskbus_flow_nodes (flow, id, state, started_at, copy, ended_at, value, content_type, failure_type,
                                failure_message, failure_traceback, cause, waits_for, failed, is_sealed)
VALUES
(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    state = values(state), started_at = values(started_at), copy = values(copy), ended_at = values(ended_at),
    value = values(value), content_type = values(content_type), failure_type = values(failure_type),
    failure_message = values(failure_message), failure_traceback = values(failure_traceback),
    cause = values(cause), waits_for = values(waits_for), failed = values(failed), is_sealed = values(is_sealed)

-- name: delete_nodes
DELETE node
FROM JSON_TABLE(:keys, '$[*]' COLUMNS (
    flow BIGINT PATH '$[0]', id VARCHAR(200) CHARACTER SET utf8mb4 PATH '$[1]')) AS asked
STRAIGHT_JOIN taskbus_flow_nodes AS node ON node.flow = asked.flow AND node.id = asked.id

-- name: flows_over
SELECT number FROM taskbus_flows WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit FOR UPDATE

-- name: sweep_nodes
DELETE FROM taskbus_flow_nodes WHERE flow IN :numbers LIMIT :limit

-- name: sweep_flows
DELETE FROM taskbus_flows WHERE number IN :numbers
