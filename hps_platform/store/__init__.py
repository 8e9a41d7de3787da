"""PostgreSQL: the only place that speaks SQL.

Functions take a psycopg `Connection` first and never commit; `with database.connection() as conn` does, at its end.
"""
