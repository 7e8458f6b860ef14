"""Cases of pg8000 (a driver in Python alone) against one server, as a transcript: one line a case.

Usage: pg8000_cases.py HOST PORT USER DATABASE
"""
import datetime
import decimal
import io
import ipaddress
import sys
import uuid

import pg8000.dbapi
import pg8000.native

HOST, PORT, USER, DATABASE = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
CASES = []


def case(function):
    CASES.append((function.__name__, function))
    return function


def native():
    return pg8000.native.Connection(USER, host=HOST, port=PORT, database=DATABASE, application_name="pg8000-cases")


def dbapi():
    return pg8000.dbapi.connect(user=USER, host=HOST, port=PORT, database=DATABASE)


def failure(error):
    found = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return type(error).__name__, found.get("C")


VALUES = [
    ("int", 5), ("negative", -(2**40)), ("large", 2**62), ("float", 1.25), ("decimal", decimal.Decimal("12.3400")),
    ("true", True), ("text", "naïve ☃ ' \\"), ("empty", ""), ("bytes", bytes(range(256))), ("null", None),
    ("uuid", uuid.UUID(int=7)), ("date", datetime.date(2026, 11, 22)), ("time", datetime.time(1, 2, 3, 4)),
    ("timestamp", datetime.datetime(2026, 1, 2, 3, 4, 5)), ("interval", datetime.timedelta(days=1, seconds=2)),
    ("inet", ipaddress.ip_address("192.0.2.9")), ("ints", [1, 2, 3]), ("texts", ["a", "b,c"]), ("long", "y" * 300000),
]
for _name, _value in VALUES:
    def _run(value=_value):
        con = native()
        try:
            got = repr(con.run("select :v", v=value)[0][0])
            return got if len(got) < 300 else len(got)
        finally:
            con.close()

    _run.__name__ = f"value_{_name}"
    case(_run)

TEXTS = ["select 1", "select 1/0", "selec", "select * from nowhere", "select generate_series(1, 500)", "values (1, 'x')",
         "show server_version_num", "select 'x'::int", "select $$a;b$$", "select null, true", "select 1; select 2"]
for _at, _text in enumerate(TEXTS):
    def _run(text=_text):
        con = native()
        try:
            rows = con.run(text)
            return len(rows or []), con.row_count, [c["name"] for c in con.columns or []]
        except pg8000.exceptions.DatabaseError as error:
            return failure(error)
        finally:
            con.close()

    _run.__name__ = f"text_{_at:02}"
    case(_run)


@case
def transaction_commit_and_rollback():
    con = native()
    con.run("create temp table s (id int)")
    con.run("start transaction")
    con.run("insert into s values (1)")
    con.run("rollback")
    con.run("start transaction")
    con.run("insert into s values (2), (3)")
    con.run("commit")
    return con.run("select count(*) from s")


@case
def prepared_statement():
    con = native()
    statement = con.prepare("select :a::int + :b::int")
    out = [statement.run(a=i, b=1)[0][0] for i in range(20)]
    statement.close()
    return out


@case
def copy_both_ways():
    con = native()
    con.run("create temp table s (id int, v text)")
    con.run("copy s from stdin", stream=io.BytesIO(b"".join(b"%d\tv\n" % i for i in range(2000))))
    out = io.BytesIO()
    con.run("copy s to stdout", stream=out)
    return con.row_count, len(out.getvalue())


@case
def copy_from_an_iterable_with_bad_data():
    con = native()
    con.run("create temp table s (id int)")
    try:
        con.run("copy s from stdin", stream=["1\n", "x\n"])
    except pg8000.exceptions.DatabaseError as error:
        return failure(error), con.run("select count(*) from s")


@case
def notifications():
    con = native()
    con.run("listen pg8000_news")
    con.run("notify pg8000_news, 'p'")
    con.run("select 1")
    return [(channel, payload) for _, channel, payload in con.notifications]


@case
def notices():
    con = native()
    con.run("do $$ begin raise notice 'n8000'; end $$")
    return [notice[b"M"] for notice in con.notices]


@case
def parameter_statuses():
    con = native()
    con.run("set application_name = 'renamed'")
    return con.parameter_statuses["application_name"]


@case
def dbapi_executemany():
    con = dbapi()
    cursor = con.cursor()
    cursor.execute("create temp table s (id int, v text)")
    cursor.executemany("insert into s values (%s, %s)", [(i, str(i)) for i in range(50)])
    cursor.execute("select count(*), max(id) from s")
    return cursor.fetchone()


@case
def dbapi_fetchmany_and_description():
    con = dbapi()
    cursor = con.cursor()
    cursor.execute("select g as n, 'x' || g as t from generate_series(1, 30) g")
    return cursor.fetchmany(3), [d[0] for d in cursor.description], cursor.rowcount


@case
def dbapi_error_then_rollback():
    con = dbapi()
    cursor = con.cursor()
    try:
        cursor.execute("select 1/0")
    except pg8000.dbapi.DatabaseError as error:
        con.rollback()
        cursor.execute("select 'fine'")
        return failure(error), cursor.fetchone()


@case
def wrong_database():
    try:
        pg8000.native.Connection(USER, host=HOST, port=PORT, database="no_such_database")
    except pg8000.exceptions.DatabaseError as error:
        return failure(error)


def main():
    for name, function in CASES:
        try:
            print(name, "|", function())
        except Exception as error:  # the transcript shows it; both runs must show the same
            print(name, "| raised", type(error).__name__, error)
    print("cases", len(CASES))


main()
