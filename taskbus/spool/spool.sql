-- The spool's file: what waits for the broker, in order, and what the broker would not take. SQLite's dialect.
-- The totals are kept by triggers, so that no process that dies half way, and no hand that repairs, can falsify them.

-- name: make_waiting
CREATE TABLE IF NOT EXISTS taskbus_spool (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    task TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    wire BLOB NOT NULL,
    spooled_at REAL NOT NULL
)

-- name: make_refused
CREATE TABLE IF NOT EXISTS taskbus_spool_refused (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    task TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    wire BLOB NOT NULL,
    spooled_at REAL NOT NULL,
    refused_at REAL NOT NULL,
    reason TEXT NOT NULL
)

-- name: make_total
CREATE TABLE IF NOT EXISTS taskbus_spool_total (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    waiting INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    bytes INTEGER NOT NULL
)

-- name: make_first_total
INSERT OR IGNORE INTO taskbus_spool_total VALUES (1, 0, 0, 0)

-- name: make_trigger_added
CREATE TRIGGER IF NOT EXISTS taskbus_spool_added AFTER INSERT ON taskbus_spool BEGIN
    UPDATE taskbus_spool_total SET waiting = waiting + 1, bytes = bytes + length(new.wire) + 200;
END

-- name: make_trigger_removed
CREATE TRIGGER IF NOT EXISTS taskbus_spool_removed AFTER DELETE ON taskbus_spool BEGIN
    UPDATE taskbus_spool_total SET waiting = waiting - 1, bytes = bytes - length(old.wire) - 200;
END

-- name: make_trigger_refused_added
CREATE TRIGGER IF NOT EXISTS taskbus_spool_refused_added AFTER INSERT ON taskbus_spool_refused BEGIN
    UPDATE taskbus_spool_total SET refused = refused + 1, bytes = bytes + length(new.wire) + 200;
END

-- name: make_trigger_refused_removed
CREATE TRIGGER IF NOT EXISTS taskbus_spool_refused_removed AFTER DELETE ON taskbus_spool_refused BEGIN
    UPDATE taskbus_spool_total SET refused = refused - 1, bytes = bytes - length(old.wire) - 200;
END

-- name: total
SELECT waiting, refused, bytes FROM taskbus_spool_total

-- name: oldest
SELECT spooled_at FROM taskbus_spool ORDER BY seq LIMIT 1

-- name: append
INSERT INTO taskbus_spool (id, task, queue, priority, wire, spooled_at) VALUES (?, ?, ?, ?, ?, ?)

-- name: first
SELECT seq, id, task, queue, priority, wire, spooled_at FROM taskbus_spool ORDER BY seq LIMIT ?

-- name: remove
DELETE FROM taskbus_spool WHERE seq = ?

-- name: refuse
INSERT OR REPLACE INTO taskbus_spool_refused
SELECT seq, id, task, queue, priority, wire, spooled_at, ?, ? FROM taskbus_spool WHERE seq = ?

-- name: refused
SELECT seq, id, task, queue, priority, wire, spooled_at, refused_at, reason FROM taskbus_spool_refused ORDER BY seq

-- name: restore
INSERT INTO taskbus_spool (id, task, queue, priority, wire, spooled_at)
SELECT id, task, queue, priority, wire, spooled_at FROM taskbus_spool_refused ORDER BY seq

-- name: forget_refused
DELETE FROM taskbus_spool_refused
