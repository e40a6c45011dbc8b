-- The statements of flows in PostgreSQL's dialect; see postgresql.sql for the marks, and flows.sql for what a flow is.
-- :flows and :nodes are arrays that make pairs. A row is locked before anything of its flow is read, so that what is
-- read afterwards is what the last one who held the lock has left. Rows are saved by INSERT, for its plan never varies.

-- name: begin_flows
INSERT INTO taskbus_flows (id, name, last_id, sent_at, ttl)
SELECT * FROM unnest(:id::text[], :name::text[], :last_id::text[], :sent_at::float8[], :ttl::float8[])
ON CONFLICT (id) DO NOTHING

-- name: lock_flows
SELECT :now, number, id, name, last_id, sent_at, ttl, state, is_cancelled, ended_at,
       waiting, ready, started, succeeded, failed, revoked, skipped, dead, joins
FROM taskbus_flows
WHERE id = ANY(:ids::text[]) AND (expires_at IS NULL OR expires_at > :now) ORDER BY id FOR UPDATE

-- name: drop_flows
DELETE FROM taskbus_flows WHERE state = '' AND id = ANY(:ids::text[])

-- name: save_flows
INSERT INTO taskbus_flows (number, id, state, is_cancelled, ended_at, expires_at,
                           waiting, ready, started, succeeded, failed, revoked, skipped, dead, joins)
SELECT * FROM unnest(:number::bigint[], :id::text[], :state::text[], :is_cancelled::int[], :ended_at::float8[],
                     :expires_at::float8[], :waiting::int[], :ready::int[], :started::int[], :succeeded::int[],
                     :failed::int[], :revoked::int[], :skipped::int[], :dead::int[],
                     :joins::int[])
ON CONFLICT (number) DO UPDATE
SET state = excluded.state, is_cancelled = excluded.is_cancelled, ended_at = excluded.ended_at,
    expires_at = excluded.expires_at, waiting = excluded.waiting, ready = excluded.ready, started = excluded.started,
    succeeded = excluded.succeeded, failed = excluded.failed, revoked = excluded.revoked, skipped = excluded.skipped,
    dead = excluded.dead, joins = excluded.joins

-- name: load_nodes
SELECT {node} FROM unnest(:flows::bigint[], :nodes::text[]) AS asked (flow, id)
JOIN taskbus_flow_nodes AS node ON node.flow = asked.flow AND node.id = asked.id

-- name: kept_nodes
SELECT {node}, node.value FROM unnest(:flows::bigint[], :nodes::text[]) AS asked (flow, id)
JOIN taskbus_flow_nodes AS node ON node.flow = asked.flow AND node.id = asked.id

-- name: wires
SELECT node.flow, node.id, node.wire FROM unnest(:flows::bigint[], :nodes::text[]) AS asked (flow, id)
JOIN taskbus_flow_nodes AS node ON node.flow = asked.flow AND node.id = asked.id

-- name: nodes_after
SELECT {node}, node.wire FROM unnest(:flows::bigint[], :nodes::text[]) AS asked (flow, id)
JOIN taskbus_flow_nodes AS node ON node.flow = asked.flow AND node.after_id = asked.id
WHERE node.after_id <> '' ORDER BY node.flow, node.id

-- name: members
SELECT {node}, node.value FROM unnest(:flows::bigint[], :nodes::text[]) AS asked (flow, id)
JOIN taskbus_flow_nodes AS node ON node.flow = asked.flow AND node.join_id = asked.id
WHERE node.join_id <> '' ORDER BY node.flow, node.join_id, node.place, node.id

-- name: add_nodes
INSERT INTO taskbus_flow_nodes ({added})
SELECT * FROM unnest(
    :flow::bigint[], :id::text[], :task::text[], :after_id::text[], :run_when::text[], :join_id::text[], :place::int[],
    :queue::text[], :priority::int[], :wire::bytea[], :takes::int[], :keeps::int[], :result_ttl::float8[],
    :size::int[], :policy::text[], :path::text[], :due_at::float8[], :delay::float8[],
    :state::text[], :started_at::float8[], :copy::text[], :ended_at::float8[], :value::bytea[], :content_type::text[],
    :failure_type::text[], :failure_message::text[], :failure_traceback::text[], :cause::text[], :waits_for::int[],
    :failed::int[], :is_sealed::int[])

-- name: save_nodes
INSERT INTO taskbus_flow_nodes (flow, id, state, started_at, copy, ended_at, value, content_type, failure_type,
                                failure_message, failure_traceback, cause, waits_for, failed, is_sealed)
SELECT * FROM unnest(
    :flow::bigint[], :id::text[], :state::text[], :started_at::float8[], :copy::text[], :ended_at::float8[],
    :value::bytea[], :content_type::text[], :failure_type::text[], :failure_message::text[],
    :failure_traceback::text[], :cause::text[], :waits_for::int[], :failed::int[], :is_sealed::int[])
ON CONFLICT (flow, id) DO UPDATE
SET state = excluded.state, started_at = excluded.started_at, copy = excluded.copy, ended_at = excluded.ended_at,
    value = excluded.value, content_type = excluded.content_type, failure_type = excluded.failure_type,
    failure_message = excluded.failure_message, failure_traceback = excluded.failure_traceback,
    cause = excluded.cause, waits_for = excluded.waits_for, failed = excluded.failed, is_sealed = excluded.is_sealed

-- name: delete_nodes
DELETE FROM taskbus_flow_nodes WHERE (flow, id) IN (SELECT * FROM unnest(:flows::bigint[], :nodes::text[]))

-- name: flows_over
-- Workers that sweep at once take different flows, and none that is just being revived.
SELECT number FROM taskbus_flows WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED

-- name: sweep_nodes
DELETE FROM taskbus_flow_nodes WHERE (flow, id) IN (
    SELECT flow, id FROM taskbus_flow_nodes WHERE flow = ANY(:numbers::bigint[]) LIMIT :limit)

-- name: sweep_flows
DELETE FROM taskbus_flows WHERE number = ANY(:numbers::bigint[])
