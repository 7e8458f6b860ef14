"""Cases of psycopg 3 against one server, as a transcript: one line a case, equal direct and through a proxy.

What differs from run to run by nature (process ids, times, OIDs of new objects) is never printed.
Usage: psycopg_cases.py HOST PORT USER DATABASE
"""
import datetime
import decimal
import sys
import threading
import time
import uuid

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

HOST, PORT, USER, DATABASE = sys.argv[1:5]
CONNINFO = f"host={HOST} port={PORT} user={USER} dbname={DATABASE} application_name=psycopg-cases"
CASES = []


def case(function):
    CASES.append((function.__name__, function))
    return function


def connect(**more):
    return psycopg.connect(CONNINFO, **more)


def failure(error):
    return f"{type(error).__name__} {error.sqlstate}"


VALUES = [
    ("int2", "%s::int2", [0, -1, 32767, -32768]),
    ("int4", "%s::int4", [0, 2147483647, -2147483648]),
    ("int8", "%s::int8", [0, 9223372036854775807, -9223372036854775808]),
    ("float4", "%s::float4", [0.0, 1.5, -2.25]),
    ("float8", "%s::float8", [0.0, 1e300, -1e-300, float("inf")]),
    ("numeric", "%s::numeric", [decimal.Decimal("0"), decimal.Decimal("-12345.678901"), decimal.Decimal("1e20")]),
    ("bool", "%s::bool", [True, False]),
    ("text", "%s::text", ["", "a", "naïve – ☃", "quote ' \" \\ end", "x" * 20000]),
    ("bytea", "%s::bytea", [b"", bytes(range(256)), b"\x00" * 3000]),
    ("uuid", "%s::uuid", [uuid.UUID(int=0), uuid.UUID(int=2**127 + 5)]),
    ("date", "%s::date", [datetime.date(1, 1, 1), datetime.date(2026, 11, 22)]),
    ("time", "%s::time", [datetime.time(0, 0), datetime.time(23, 59, 59, 999999)]),
    ("timestamp", "%s::timestamp", [datetime.datetime(1999, 12, 31, 23, 59, 59, 1)]),
    ("timestamptz", "%s::timestamptz", [datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)]),
    ("interval", "%s::interval", [datetime.timedelta(days=3, seconds=4, microseconds=5)]),
    ("jsonb", "%s::jsonb", [Jsonb({"a": [1, None, "x"]}), Jsonb([])]),
    ("int4array", "%s::int4[]", [[], [1, 2, 3], [[1, 2], [3, 4]]]),
    ("textarray", "%s::text[]", [["a", None, "c,d", '"']]),
    ("inet", "%s::inet", ["192.0.2.1", "2001:db8::1"]),
    ("null", "%s::text", [None]),
]


def add_value_case(name, expression, values, binary):
    def run():
        out = []
        with connect(autocommit=True) as conn, conn.cursor(binary=binary) as cur:
            for value in values:
                got = cur.execute(f"select {expression}", (value,)).fetchone()[0]
                out.append(repr(got) if len(repr(got)) < 200 else f"{type(got).__name__} of {len(got)}")
        return "; ".join(out)

    run.__name__ = f"value_{name}_{'binary' if binary else 'text'}"
    case(run)


for _name, _expression, _values in VALUES:
    for _binary in (False, True):
        add_value_case(_name, _expression, _values, _binary)

ERRORS = [
    ("syntax", "selec 1"), ("division", "select 1/0"), ("no_table", "select * from nowhere"),
    ("no_column", "select nothing from pg_class"), ("unique", "insert into base values (1, 'again')"),
    ("not_null", "insert into base values (null, 'x')"), ("bad_int", "select 'x'::int"),
    ("no_function", "select no_such_function(1)"), ("no_database", "drop database no_such_database"),
    ("no_role", "set role no_such_role"), ("bad_date", "select '2026-99-99'::date"),
    ("overflow", "select 2147483647 + 1"), ("raise", "do $$ begin raise exception 'boom' using errcode = 'P1234'; end $$"),
    ("json", "select '{'::json"), ("too_many", "select * from base limit -1"),
]


def add_error_case(name, text, where):
    def run():
        with connect(autocommit=where == "autocommit") as conn:
            if where == "prepared":
                conn.prepare_threshold = 0
            try:
                conn.execute(text)
                return "no error"
            except psycopg.Error as error:
                status = conn.info.transaction_status.name
                if where != "autocommit":
                    conn.rollback()
                return f"{failure(error)} {status} then {conn.execute('select 1').fetchone()}"

    run.__name__ = f"error_{name}_{where}"
    case(run)


for _name, _text in ERRORS:
    for _where in ("autocommit", "transaction", "prepared"):
        add_error_case(_name, _text, _where)

STATEMENTS = [
    "select 1", "select 1, 2, 3", "select", "select null", "values (1), (2)", "table base", "select * from base order by id",
    "select generate_series(1, 1000)", "select repeat('x', 100000)", "show server_encoding", "show standard_conforming_strings",
    "explain (costs off) select * from base", "with a as (select 1 as x) select * from a",
    "select $$dollar$$ as d, $tag$ ; $tag$ as t", "select E'\\'' as e", "select U&'\\0041' as u", "select 'a' 'b'",
    "select /* comment /* nested */ */ 1 -- tail", "select count(*) from pg_class where relname = 'base'",
    "select * from base where v = 'a;b'", "select 1 as \"weird ; name\"", "select array[1,2], row(1,'x')",
    "select current_database(), current_user", "select interval '1 day', date '2026-01-01'",
    "select * from (values (1,'x'),(2,'y')) as t(a,b)", "select coalesce(null, 'z')", "select 'x' ~ 'X', 'x' ~* 'X'",
    "select lower('ÄÖ'), length('☃')", "select * from base for update", "select 1 where false",
]


def add_statement_case(at, text, prepared):
    def run():
        with connect(autocommit=True) as conn:
            cur = conn.execute(text, prepare=prepared)
            names = [c.name for c in cur.description or []]
            rows = repr(cur.fetchall())
            return f"{cur.statusmessage} {names} {rows if len(rows) < 300 else len(rows)}"

    run.__name__ = f"statement_{at:02}_{'prepared' if prepared else 'simple'}"
    case(run)


for _at, _text in enumerate(STATEMENTS):
    for _prepared in (False, True):
        add_statement_case(_at, _text, _prepared)


def scratch(conn, name="scratch"):
    conn.execute(f"create temp table {name} (id int primary key, v text)")


@case
def insert_returning():
    with connect() as conn:
        scratch(conn)
        return conn.execute("insert into scratch values (1,'a'),(2,'b') returning id, v").fetchall()


@case
def update_and_delete_counts():
    with connect() as conn:
        scratch(conn)
        out = [conn.execute("insert into scratch select g, 'x' from generate_series(1, 50) g").rowcount]
        out.append(conn.execute("update scratch set v = 'y' where id > 10").rowcount)
        out.append(conn.execute("delete from scratch where id % 2 = 0").rowcount)
        out.append(conn.execute("truncate scratch").statusmessage)
        return out


@case
def merge_statement():
    with connect() as conn:
        scratch(conn)
        conn.execute("insert into scratch values (1, 'old')")
        text = """merge into scratch s using (values (1,'new'),(2,'two')) as n(id, v) on s.id = n.id
                  when matched then update set v = n.v when not matched then insert values (n.id, n.v)"""
        cur = conn.execute(text)
        return cur.statusmessage, conn.execute("select * from scratch order by id").fetchall()


@case
def executemany_with_returning():
    with connect() as conn, conn.cursor() as cur:
        scratch(conn)
        cur.executemany("insert into scratch values (%s, %s) returning id", [(i, str(i)) for i in range(30)], returning=True)
        out = []
        while True:
            out.append(cur.fetchone()[0])
            if not cur.nextset():
                break
        return out


@case
def multiple_statements_in_one_query():
    with connect(autocommit=True) as conn, conn.cursor() as cur:
        cur.execute("select 1; select 2, 3; create temp table many(x int); insert into many values (1),(2); select * from many")
        out = [(cur.statusmessage, cur.fetchall() if cur.description else None)]
        while cur.nextset():
            out.append((cur.statusmessage, cur.fetchall() if cur.description else None))
        return out


@case
def multiple_statements_with_an_error_roll_back_as_one():
    with connect(autocommit=True) as conn:
        scratch(conn)
        try:
            conn.execute("insert into scratch values (1,'a'); select 1/0; insert into scratch values (2,'b')")
        except psycopg.Error as error:
            return failure(error), conn.execute("select count(*) from scratch").fetchone()


@case
def commit_and_rollback():
    with connect() as conn:
        scratch(conn)
        conn.commit()
        conn.execute("insert into scratch values (1,'a')")
        conn.rollback()
        return conn.execute("select count(*) from scratch").fetchone(), conn.info.transaction_status.name


@case
def nested_transactions_and_savepoints():
    with connect() as conn:
        scratch(conn)
        with conn.transaction():
            conn.execute("insert into scratch values (1,'a')")
            try:
                with conn.transaction():
                    conn.execute("insert into scratch values (1,'dup')")
            except psycopg.errors.UniqueViolation:
                pass
            conn.execute("insert into scratch values (2,'b')")
        return conn.execute("select id from scratch order by id").fetchall()


@case
def failed_transaction_refuses_until_rollback():
    with connect() as conn:
        out = []
        for text in ("select 1/0", "select 1"):
            try:
                conn.execute(text)
            except psycopg.Error as error:
                out.append((failure(error), conn.info.transaction_status.name))
        conn.rollback()
        return out


@case
def isolation_levels():
    out = []
    for level in psycopg.IsolationLevel:
        with connect() as conn:
            conn.isolation_level = level
            out.append(conn.execute("show transaction_isolation").fetchone()[0])
    return out


@case
def read_only_transaction():
    with connect() as conn:
        conn.read_only = True
        try:
            conn.execute("create table never(x int)")
        except psycopg.Error as error:
            return failure(error)


@case
def server_side_cursor():
    with connect() as conn, conn.cursor(name="named") as cur:
        cur.itersize = 7
        cur.execute("select g from generate_series(1, 40) g")
        return [row[0] for row in cur][-3:], cur.rowcount


@case
def scrollable_cursor():
    with connect() as conn, conn.cursor(name="scroll", scrollable=True) as cur:
        cur.execute("select g from generate_series(1, 20) g")
        cur.scroll(10)
        out = [cur.fetchone()]
        cur.scroll(-5)
        return out + cur.fetchmany(3)


@case
def holdable_cursor():
    with connect() as conn, conn.cursor(name="hold", withhold=True) as cur:
        cur.execute("select g from generate_series(1, 5) g")
        conn.commit()
        return cur.fetchall()


@case
def stream_of_single_rows():
    with connect() as conn, conn.cursor() as cur:
        return sum(row[0] for row in cur.stream("select g from generate_series(1, 500) g"))


@case
def chunked_stream():
    with connect() as conn, conn.cursor() as cur:
        try:
            return sum(row[0] for row in cur.stream("select g from generate_series(1, 500) g", size=50))
        except psycopg.NotSupportedError:
            return "libpq has no chunks"


@case
def copy_in_text():
    with connect() as conn, conn.cursor() as cur:
        scratch(conn)
        with cur.copy("copy scratch from stdin") as copy:
            for i in range(1000):
                copy.write_row((i, f"row\t{i}\n\\"))
        return cur.rowcount, conn.execute("select count(*), max(v) from scratch").fetchone()


@case
def copy_in_binary():
    with connect() as conn, conn.cursor() as cur:
        scratch(conn)
        with cur.copy("copy scratch from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            for i in range(100):
                copy.write_row((i, None if i % 3 else "x"))
        return cur.rowcount, conn.execute("select count(v) from scratch").fetchone()


@case
def copy_in_one_large_block():
    with connect() as conn, conn.cursor() as cur:
        scratch(conn)
        with cur.copy("copy scratch from stdin") as copy:
            copy.write("".join(f"{i}\t{'y' * 200}\n" for i in range(20000)))
        return cur.rowcount


@case
def copy_in_with_bad_data():
    with connect() as conn, conn.cursor() as cur:
        scratch(conn)
        try:
            with cur.copy("copy scratch from stdin") as copy:
                copy.write("1\tx\nnonsense\n")
        except psycopg.Error as error:
            return failure(error), conn.info.transaction_status.name


@case
def copy_in_given_up_by_the_client():
    with connect() as conn, conn.cursor() as cur:
        scratch(conn)
        conn.commit()
        try:
            with cur.copy("copy scratch from stdin") as copy:
                copy.write_row((1, "x"))
                raise ValueError("changed my mind")
        except ValueError:
            pass
        status = conn.info.transaction_status.name
        conn.rollback()
        return status, conn.execute("select count(*) from scratch").fetchone()


@case
def copy_out_text_csv_and_binary():
    with connect() as conn, conn.cursor() as cur:
        out = []
        for form in ("", " (format csv, header)", " (format binary)"):
            with cur.copy(f"copy (select g, 'v' || g from generate_series(1, 300) g) to stdout{form}") as copy:
                data = b"".join(bytes(part) for part in copy)
            out.append((len(data), cur.statusmessage))
        return out


@case
def copy_out_given_up_by_the_client():
    with connect() as conn, conn.cursor() as cur:
        try:
            with cur.copy("copy (select generate_series(1, 2000000)) to stdout") as copy:
                next(iter(copy))
                raise ValueError("enough")
        except ValueError:
            pass
        conn.rollback()
        return conn.execute("select 1").fetchone()


@case
def prepared_statements_are_reused():
    with connect() as conn:
        conn.prepare_threshold = 1
        out = [conn.execute("select %s::int + 1", (i,)).fetchone()[0] for i in range(10)]
        return out, conn.execute("select count(*) from pg_prepared_statements where not from_sql").fetchone()


@case
def prepared_statements_are_dropped_when_too_many():
    with connect() as conn:
        conn.prepare_threshold, conn.prepared_max = 0, 3
        out = [conn.execute(f"select {i}", prepare=True).fetchone()[0] for i in range(8)]
        return out, conn.execute("select count(*) from pg_prepared_statements where not from_sql").fetchone()


@case
def deallocate_all_and_again():
    with connect(autocommit=True) as conn:
        conn.prepare_threshold = 0
        conn.execute("select 5", prepare=True)
        conn.execute("deallocate all")
        return conn.execute("select count(*) from pg_prepared_statements where not from_sql", prepare=False).fetchone()


@case
def discard_all():
    with connect(autocommit=True) as conn:
        conn.execute("set work_mem = '1MB'")
        conn.execute("discard all")
        return conn.execute("show work_mem").fetchone()


@case
def sql_level_prepare_execute_deallocate():
    with connect(autocommit=True) as conn:
        conn.execute("prepare p(int) as select $1 * 2")
        out = conn.execute("execute p(21)").fetchall()
        conn.execute("deallocate p")
        try:
            conn.execute("execute p(1)")
        except psycopg.Error as error:
            return out, failure(error)


@case
def schema_change_under_a_prepared_statement():
    with connect(autocommit=True) as conn:
        scratch(conn)
        conn.prepare_threshold = 0
        conn.execute("select * from scratch", prepare=True)
        conn.execute("alter table scratch add column w int")
        try:
            return conn.execute("select * from scratch", prepare=True).description and "fine"
        except psycopg.Error as error:
            return failure(error)


@case
def pipeline_mode():
    with connect() as conn:
        scratch(conn)
        with conn.pipeline():
            cursors = [conn.execute("insert into scratch values (%s, 'p') returning id", (i,)) for i in range(40)]
            out = [cur.fetchone()[0] for cur in cursors]
        return out[-3:], conn.execute("select count(*) from scratch").fetchone()


@case
def pipeline_with_an_error_voids_the_rest():
    with connect(autocommit=True) as conn:
        scratch(conn)
        try:
            with conn.pipeline():
                conn.execute("insert into scratch values (1, 'a')")
                conn.execute("select 1/0")
                conn.execute("insert into scratch values (2, 'b')")
        except psycopg.Error as error:
            return failure(error), conn.execute("select count(*) from scratch").fetchone()


@case
def pipeline_with_syncs_between():
    with connect(autocommit=True) as conn:
        scratch(conn)
        with conn.pipeline() as pipeline:
            out = []
            for i in range(5):
                out.append(conn.execute("insert into scratch values (%s, 'x') returning id", (i,)))
                pipeline.sync()
            return [cur.fetchone() for cur in out]


@case
def executemany_in_a_pipeline():
    with connect() as conn, conn.pipeline(), conn.cursor() as cur:
        cur.execute("create temp table em (id int)")
        cur.executemany("insert into em values (%s)", [(i,) for i in range(500)])
        cur.execute("select count(*) from em")
        return cur.fetchone()


@case
def a_failure_while_much_is_being_sent_is_told_and_nothing_is_kept():
    """4 MiB behind a row that the server refuses: it reads and discards them, and so must what lies between."""
    with connect(autocommit=True) as conn, conn.cursor() as cur:
        cur.execute("create temp table half (id int primary key, t text)")
        rows = [(0, "a"), (0, "a")] + [(i, "a" * 32768) for i in range(1, 129)]
        try:
            cur.executemany("insert into half values (%s, %s)", rows)
            told = "nothing"
        except psycopg.Error as error:
            told = failure(error)
        return told, cur.execute("select count(*) from half").fetchone()


@case
def notify_and_listen():
    with connect(autocommit=True) as listener, connect(autocommit=True) as sender:
        listener.execute("listen news")
        sender.execute("notify news, 'hello'")
        sender.execute("select pg_notify('news', 'again')")
        got = [(n.channel, n.payload) for n in listener.notifies(timeout=5, stop_after=2)]
        listener.execute("unlisten *")
        return got


@case
def notices_arrive():
    with connect(autocommit=True) as conn:
        seen = []
        conn.add_notice_handler(lambda diagnostic: seen.append(diagnostic.message_primary))
        conn.execute("do $$ begin raise notice 'one'; raise warning 'two'; end $$")
        return seen


@case
def cancel_a_running_statement():
    with connect(autocommit=True) as conn:
        timer = threading.Timer(0.3, conn.cancel)
        timer.start()
        try:
            conn.execute("select pg_sleep(20)")
        except psycopg.errors.QueryCanceled as error:
            timer.join()
            return failure(error), conn.execute("select 1").fetchone()


@case
def cancel_safe_a_running_statement():
    with connect(autocommit=True) as conn:
        def later():
            time.sleep(0.3)
            conn.cancel_safe()
        thread = threading.Thread(target=later)
        thread.start()
        try:
            conn.execute("select pg_sleep(20)")
        except psycopg.errors.QueryCanceled as error:
            thread.join()
            return failure(error)


@case
def statement_timeout():
    with connect(autocommit=True) as conn:
        conn.execute("set statement_timeout = 100")
        try:
            conn.execute("select pg_sleep(5)")
        except psycopg.Error as error:
            return failure(error)


@case
def two_phase_commit():
    with connect() as conn:
        conn.autocommit = False
        conn.tpc_begin(conn.xid(1, "gtrid-psycopg", "b"))
        conn.execute("insert into base values (900, 'tpc')")
        conn.tpc_prepare()
        conn.tpc_commit()
        conn.tpc_begin(conn.xid(1, "gtrid-psycopg2", "b"))
        conn.execute("delete from base where id = 900")
        conn.tpc_rollback()
        count = conn.execute("select count(*) from base where id = 900").fetchone()
        conn.execute("delete from base where id = 900")
        conn.commit()
        return count


@case
def settings_are_reported():
    with connect(autocommit=True) as conn:
        conn.execute("set application_name = 'changed'")
        conn.execute("set client_encoding = 'LATIN1'")
        out = [conn.info.parameter_status(n) for n in ("application_name", "client_encoding", "standard_conforming_strings")]
        return out, conn.execute("select 'é'").fetchone()


@case
def strings_that_do_not_conform():
    with connect(autocommit=True) as conn:
        conn.execute("set standard_conforming_strings = off")
        return conn.execute("select 'it\\'s; one'").fetchone()


@case
def wrong_database():
    try:
        psycopg.connect(f"host={HOST} port={PORT} user={USER} dbname=no_such_database")
    except psycopg.OperationalError as error:
        return type(error).__name__, "does not exist" in str(error)


@case
def wrong_role():
    try:
        psycopg.connect(f"host={HOST} port={PORT} user=no_such_role dbname={DATABASE}")
    except psycopg.OperationalError as error:
        return type(error).__name__, "does not exist" in str(error)


@case
def options_of_the_start():
    with connect(options="-c search_path=pg_catalog -c statement_timeout=12345") as conn:
        return conn.execute("show search_path").fetchone(), conn.execute("show statement_timeout").fetchone()


@case
def large_parameters():
    with connect() as conn:
        big = "z" * 3_000_000
        return conn.execute("select length(%s), md5(%s)", (big, big)).fetchone()


@case
def large_statement():
    with connect() as conn:
        text = "select " + " + ".join(["1"] * 200000)
        try:
            return conn.execute(text).fetchone()
        except psycopg.Error as error:
            return failure(error)


@case
def large_result():
    with connect() as conn:
        rows = conn.execute("select repeat('q', 1000) from generate_series(1, 20000)").fetchall()
        return len(rows), sum(len(r[0]) for r in rows)


@case
def many_parameters():
    with connect() as conn:
        text = "select " + ",".join(["%s::int"] * 1000)
        return sum(conn.execute(text, list(range(1000))).fetchone())


@case
def large_objects():
    with connect() as conn:
        oid = conn.execute("select lo_create(0)").fetchone()[0]
        conn.execute("select lo_put(%s, 0, %s)", (oid, b"large" * 100))
        out = conn.execute("select length(lo_get(%s))", (oid,)).fetchone()
        conn.execute("select lo_unlink(%s)", (oid,))
        return out


@case
def composed_identifiers():
    with connect() as conn:
        conn.execute(sql.SQL("create temp table {} (x int)").format(sql.Identifier('odd "name";')))
        return conn.execute(sql.SQL("select count(*) from {}").format(sql.Identifier('odd "name";'))).fetchone()


@case
def fast_path_is_not_used_and_functions_are():
    with connect() as conn:
        return conn.execute("select upper(%s), abs(%s)", ("x", -3)).fetchone()


@case
def advisory_locks():
    with connect() as one, connect(autocommit=True) as two:
        one.execute("select pg_advisory_lock(77)")
        return two.execute("select pg_try_advisory_lock(77)").fetchone()


@case
def idle_then_more():
    with connect(autocommit=True) as conn:
        time.sleep(0.5)
        return conn.execute("select 'still here'").fetchone()


@case
def terminated_by_another_session():
    with connect(autocommit=True) as victim, connect(autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", (victim.info.backend_pid,))
        try:
            victim.execute("select 1")
        except psycopg.Error as error:
            return failure(error)


@case
def many_short_sessions():
    out = 0
    for i in range(20):
        with connect() as conn:
            out += conn.execute("select %s::int", (i,)).fetchone()[0]
    return out


def setup():
    with connect(autocommit=True) as conn:
        conn.execute("drop table if exists base")
        conn.execute("create table base (id int primary key, v text)")
        conn.execute("insert into base values (1, 'one'), (2, 'a;b'), (3, null)")


def main():
    setup()
    for name, function in CASES:
        try:
            print(name, "|", function())
        except Exception as error:  # the transcript shows it; both runs must show the same
            print(name, "| raised", type(error).__name__, getattr(error, "sqlstate", None))
    print("cases", len(CASES))


main()
