"""Vectors by model and chunk."""

STATEMENTS = (
    "CREATE TABLE meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)",
    "CREATE TABLE models (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL)",
    "CREATE TABLE embeddings (model INTEGER NOT NULL, key BIGINT NOT NULL, digest BIGINT NOT NULL, "
    "vector FLOAT[] NOT NULL, PRIMARY KEY (model, key))",
)
