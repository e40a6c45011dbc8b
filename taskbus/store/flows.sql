-- What is asked of flows, in words that every dialect understands. A flow has a number of the store's own, which its
-- nodes are kept under; one whose time is over is as good as gone. {node}: the columns of a node, in the order of
-- sql_flow_rows.py.

-- name: one_flow
SELECT number, id, name, last_id, sent_at, ttl, state, is_cancelled, ended_at,
       waiting, ready, started, succeeded, failed, revoked, skipped, dead, joins
FROM taskbus_flows WHERE id = :id AND state <> '' AND (expires_at IS NULL OR expires_at > :now)

-- name: newest_flows
SELECT number, id, name, last_id, sent_at, ttl, state, is_cancelled, ended_at,
       waiting, ready, started, succeeded, failed, revoked, skipped, dead, joins
FROM taskbus_flows WHERE state <> '' AND (expires_at IS NULL OR expires_at > :now)
ORDER BY sent_at DESC, id DESC LIMIT :limit

-- name: older_flows
SELECT number, id, name, last_id, sent_at, ttl, state, is_cancelled, ended_at,
       waiting, ready, started, succeeded, failed, revoked, skipped, dead, joins
FROM taskbus_flows WHERE state <> '' AND (expires_at IS NULL OR expires_at > :now)
                     AND sent_at <= :before_at AND (sent_at < :before_at OR id < :before_id)
ORDER BY sent_at DESC, id DESC LIMIT :limit

-- name: some_nodes
SELECT {node}, node.wire FROM taskbus_flow_nodes AS node WHERE node.flow = :flow AND node.id > :after
ORDER BY node.id LIMIT :limit
