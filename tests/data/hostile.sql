-- Statements that must do no harm. A line that begins with ## names what must become of those below it; statements are
-- separated by empty lines. {secret} is a file that only its owner may read, {data} the data directory.

## refused: it changes something

DELETE FROM conversationMessages

INSERT INTO users (_id) VALUES ('x')

UPDATE users SET name = 'x'

WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone

WITH new AS (INSERT INTO tags (_id) VALUES ('x') RETURNING *) SELECT * FROM new

WITH changed AS (UPDATE users SET name = 'x' RETURNING *) SELECT * FROM changed

SELECT * FROM (WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone)

WITH a AS (WITH b AS (DELETE FROM users RETURNING *) SELECT * FROM b) SELECT * FROM a

SELECT (WITH gone AS (DELETE FROM users RETURNING 1) SELECT count(*) FROM gone)

WITH x AS (SELECT 1) DELETE FROM users

MERGE INTO users USING users u ON true WHEN MATCHED THEN DELETE

TRUNCATE users

CREATE TABLE x (a INTEGER)

CREATE TEMP TABLE x AS SELECT * FROM users

CREATE OR REPLACE VIEW users AS SELECT 1

CREATE MACRO f(x) AS x + 1

CREATE SEQUENCE s

CREATE SCHEMA s

CREATE TYPE mood AS ENUM ('a')

CREATE INDEX i ON users (name)

CREATE SECRET s (TYPE s3, KEY_ID 'k', SECRET 'x')

CREATE PERSISTENT SECRET s (TYPE http)

CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE PROCEDURE f()

DROP TABLE users

DROP VIEW IF EXISTS x

ALTER TABLE users ADD COLUMN x INTEGER

ALTER TABLE users RENAME TO people

COMMENT ON TABLE users IS 'x'

EXPLAIN ANALYZE DELETE FROM users

EXPLAIN DELETE FROM users

EXPLAIN ANALYZE WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone

EXPLAIN ANALYZE INSERT INTO tags (_id) VALUES ('x')

EXPLAIN (FORMAT json) DELETE FROM users

EXPLAIN ANALYZE COPY users TO '/tmp/one-mcp-hostile.csv'

EXPLAIN EXPLAIN SELECT 1

EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1

VACUUM

ANALYZE

CHECKPOINT

FORCE CHECKPOINT

BEGIN

BEGIN TRANSACTION READ WRITE

COMMIT

ROLLBACK

PREPARE p AS DELETE FROM users

EXECUTE p

DEALLOCATE p

CALL force_checkpoint()

CALL json_execute_serialized_sql('x')

SELECT * FROM json_execute_serialized_sql(json_serialize_sql('DELETE FROM users'))

SELECT json_execute_serialized_sql(json_serialize_sql('SELECT 1'))

PRAGMA json_execute_serialized_sql('x')

FROM query('DELETE FROM users')

FROM query('SELECT * FROM read_text(''{secret}'')')

SELECT * FROM query_table('users')

SELECT * FROM query_table(['users', 'tags'])

SELECT nextval('s')

SELECT main.nextval('s')

SELECT * FROM checkpoint()

SELECT * FROM force_checkpoint('analytics')

SELECT * FROM enable_logging()

SELECT * FROM truncate_duckdb_logs()

SELECT * FROM create_external_resource('x')

SELECT write_log('x')

PIVOT users ON name USING count(*)

## refused: it is more than one statement, or none

SELECT 1; SELECT 2

SELECT 1; DELETE FROM users

COMMIT; DELETE FROM users; BEGIN

SELECT 1; -- and then
DROP TABLE users

/* harmless */ SELECT 1 /* ; */; ATTACH '{secret}'

;

-- nothing

## refused: it reaches outside

COPY users TO '{data}/out.csv'

COPY (SELECT * FROM users) TO '{data}/out.parquet' (FORMAT parquet)

COPY users FROM '{secret}'

COPY FROM DATABASE analytics TO memory

EXPORT DATABASE '{data}/export'

IMPORT DATABASE '{data}'

ATTACH '{data}/auth.duckdb'

ATTACH '{data}/one.duckdb' AS one (READ_ONLY)

ATTACH ':memory:' AS m

ATTACH 'https://example.org/x.duckdb'

DETACH analytics

USE analytics.main

INSTALL httpfs

FORCE INSTALL spatial FROM community

INSTALL '{secret}'

LOAD httpfs

LOAD '{secret}'

UPDATE EXTENSIONS

SELECT * FROM '{secret}'

FROM "{secret}"

SELECT * FROM '{data}/link.csv'

SELECT * FROM '{data}/*.duckdb'

SELECT * FROM '/etc/passwd'

SELECT * FROM 'https://example.org/x.parquet'

SELECT * FROM 's3://bucket/x.parquet'

DESCRIBE SELECT * FROM '{secret}'

DESCRIBE '{secret}'

SUMMARIZE '{secret}'

SHOW '{secret}'

SELECT * FROM (FROM '{secret}')

WITH x AS (FROM '{secret}') SELECT * FROM x

SELECT * FROM users WHERE name IN (SELECT content FROM read_text('{secret}'))

SELECT * FROM read_text('{secret}')

SELECT * FROM read_text('{data}/link.csv')

SELECT * FROM read_text('/proc/self/environ')

SELECT * FROM read_blob('{data}/auth.duckdb')

SELECT * FROM read_blob('{data}/one.duckdb')

SELECT * FROM read_blob('{data}/hub.json')

SELECT * FROM read_csv('{secret}')

SELECT * FROM read_csv_auto('{secret}')

SELECT * FROM READ_CSV('{secret}')

SELECT * FROM main.read_csv('{secret}')

SELECT * FROM system.main.read_csv('{secret}')

SELECT * FROM sniff_csv('{secret}')

SELECT * FROM read_json('{secret}')

SELECT * FROM read_json_objects('{secret}')

SELECT * FROM read_ndjson('{secret}')

SELECT * FROM read_parquet('{secret}')

SELECT * FROM parquet_scan('{secret}')

SELECT * FROM parquet_metadata('{secret}')

SELECT * FROM read_duckdb('{data}/auth.duckdb')

SELECT * FROM glob('{data}/*')

SELECT * FROM read_csv('https://example.org/x.csv')

SELECT * FROM arrow_scan(1, 2, 3)

SELECT * FROM pandas_scan(1)

SELECT * FROM python_map_function(1)

SELECT * FROM seq_scan('users')

SELECT * FROM users, LATERAL (SELECT * FROM read_text(users.name))

SELECT * FROM users UNION ALL SELECT content FROM read_text('{secret}')

SELECT * FROM one.main.users

SELECT * FROM memory.main.users

SELECT * FROM temp.main.users

SELECT * FROM auth.accessTokens

SELECT * FROM connection

SELECT * FROM sys

SELECT * FROM request

## refused: settings, secrets and the environment

SET memory_limit = '100GB'

SET enable_external_access = true

SET lock_configuration = false

SET GLOBAL threads = 64

SET VARIABLE x = 1

RESET memory_limit

PRAGMA memory_limit = '100GB'

PRAGMA enable_profiling

PRAGMA database_list

PRAGMA table_info('users')

SELECT getenv('HOSTILE_SECRET')

SELECT GETENV('HOSTILE_SECRET')

SELECT current_setting('temp_directory')

SELECT upper(current_setting('secret_directory'))

SELECT list_transform(['x'], lambda n: current_setting(n))

SELECT * FROM duckdb_settings()

SELECT * FROM duckdb_secrets()

SELECT * FROM duckdb_secrets(redact = false)

SELECT * FROM which_secret('s3://x', 's3')

SELECT * FROM duckdb_extensions()

SELECT * FROM duckdb_databases()

SELECT * FROM duckdb_databases

SELECT * FROM pragma_database_list

SELECT * FROM pragma_database_size()

SELECT * FROM duckdb_temporary_files()

SELECT * FROM duckdb_external_file_cache()

SELECT * FROM duckdb_logs

SELECT * FROM duckdb_logs()

SELECT * FROM duckdb_prepared_statements()

SELECT * FROM pg_catalog.pg_settings

SELECT * FROM duckdb_variables()

SELECT $1

SELECT ?

## answered: nothing of it is outside the snapshot

SELECT current_user, current_database(), current_schema(), version()

SHOW DATABASES

SELECT * FROM duckdb_views() LIMIT 1

SELECT * FROM information_schema.tables LIMIT 1

SELECT json_serialize_sql('DELETE FROM users')

SELECT 'DELETE FROM users; DROP TABLE users' AS words

SELECT * FROM users -- ; DROP TABLE users

SELECT chr(27) || '[2J' || chr(10) || 'a | b' AS forged

SELECT parse_path('{secret}')

WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n FROM r) SELECT * FROM r

SELECT * FROM range(100000000000)

SELECT repeat('x', 100) FROM range(100000000)

## ended: it takes too much

WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r

WITH RECURSIVE r AS (SELECT 'x' AS t UNION ALL SELECT t || t FROM r) SELECT max(length(t)) FROM r

SELECT count(*) FROM range(10000000) a, range(10000000) b, range(10000000) c

SELECT sum(hash(a.range, b.range)) FROM range(1000000000) a, range(1000000000) b

SELECT max(md5(range::VARCHAR)) FROM range(10000000000)

SELECT repeat('x', 4000000000)

SELECT repeat(repeat('x', 100000000), 100)

SELECT lpad('x', 2000000000, 'y')

SELECT rpad('x', 2147483647, 'y')

SELECT string_agg(repeat('x', 1000000), '') FROM range(100000)

SELECT list(range) FROM range(10000000000)

SELECT list_sort(list_transform(range(1000000000), lambda x: hash(x)))

SELECT range(10000000000)

SELECT unnest(range(10000000000)) ORDER BY 1 DESC

SELECT array_agg(a) FROM (SELECT md5(range::VARCHAR) AS a FROM range(100000000))

SELECT md5(a.range::VARCHAR) AS x, repeat('y', 1000) AS y FROM range(100000000) a ORDER BY x

SELECT a.range, b.range FROM range(1000000) a, range(1000000) b ORDER BY hash(a.range, b.range)

SELECT DISTINCT md5(range::VARCHAR) FROM range(1000000000) ORDER BY ALL

SELECT count(DISTINCT repeat(range::VARCHAR, 100)) FROM range(1000000000)

SELECT a.range FROM range(100000000) a JOIN range(100000000) b ON hash(a.range) % 3 = hash(b.range) % 3 ORDER BY 1

SELECT regexp_replace(repeat('a', 100000000), '(a*)*b', 'x', 'g')

SELECT levenshtein(repeat('a', 1000000), repeat('b', 1000000))

SELECT factorial(range::INTEGER % 20), sum(range) OVER (ORDER BY hash(range)) FROM range(1000000000)

SELECT json_array_length(('[' || repeat('1,', 500000000) || '1]')::JSON)

SELECT bit_count(bitstring('1', 2000000000))

SELECT printf('%2000000000d', 1)

SELECT format('{:>2000000000}', 'x')

SELECT reduce(range(1000000000), lambda a, b: a + b)

SUMMARIZE SELECT md5(range::VARCHAR) FROM range(10000000000)

EXPLAIN ANALYZE SELECT count(*) FROM range(10000000000) a, range(10000000000) b
