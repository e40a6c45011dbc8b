"""How large a history is on disk."""

from taskbus.database.port import Database

_SIZES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": (
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
        " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'"
        " AND left(c.relname, 15) = 'taskbus_history'"
    ),
    "mysql": (
        "SELECT sum(data_length + index_length) FROM information_schema.tables"
        " WHERE table_schema = database() AND left(table_name, 15) = 'taskbus_history'"
    ),
}


def size_of(database: Database) -> int | None:
    """Bytes of its tables and indexes, about (of a SQLite file: of all in it); None: the database does not say."""
    found = database.read(_SIZES[database.dialect])
    return int(found[0][0]) if found and found[0][0] is not None else None
