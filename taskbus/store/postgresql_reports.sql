-- What PostgreSQL does in another way than reports.sql says.

-- Everything in one statement, and so in one round trip and one transaction, which does not wait for the disk. Who reports
-- what is not newer than his last report changes nothing.
-- name: post
WITH newer AS (
  INSERT INTO taskbus_report_nodes AS head (node, number, at, is_listed, state)
  VALUES (:node::text, :number::bigint, :at::float8, :is_listed::integer, :state::bytea)
  ON CONFLICT (node) DO UPDATE
  SET number = excluded.number, at = excluded.at, is_listed = excluded.is_listed, state = excluded.state
  WHERE head.number < excluded.number
  RETURNING node, number, at
), counted AS (
  INSERT INTO taskbus_report_minutes (minute, node, number, totals)
  SELECT given.minute, newer.node, newer.number, given.totals
  FROM newer CROSS JOIN unnest(:minutes::bigint[], :totals::bytea[]) AS given (minute, totals)
  ON CONFLICT (minute, node) DO UPDATE SET number = excluded.number, totals = excluded.totals
), recorded AS (
  INSERT INTO taskbus_report_records (node, number, at, records)
  SELECT newer.node, newer.number, newer.at, :records::bytea FROM newer WHERE length(:records::bytea) > 0
  ON CONFLICT DO NOTHING
), answered AS (
  INSERT INTO taskbus_answers (number, node, answer, at)
  SELECT given.number, given.node, given.answer, :at::float8
  FROM unnest(:answered::bigint[], :answering::text[], :answers::bytea[]) AS given (number, node, answer)
  ON CONFLICT DO NOTHING
)
SELECT number, node, body, expires_at FROM (
  SELECT number, node, body, expires_at FROM taskbus_orders
  WHERE number > :orders_after AND node IN ('', :node) AND expires_at > :now
  ORDER BY number LIMIT :limit
) AS orders
UNION ALL SELECT 0, queue, NULL, 0 FROM taskbus_pauses
UNION ALL SELECT -1, set_config('synchronous_commit', 'off', true), NULL, watched_until
FROM taskbus_report_marks WHERE id = 1

-- name: ease
SET LOCAL synchronous_commit = off
