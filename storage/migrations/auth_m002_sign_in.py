"""Sign-in: what sessions, accounts and tokens need beside the seed's fields, clients, and invitations.

The tables are made anew, for rows are stored by the place of columns.
"""

STATEMENTS = (
    'CREATE TABLE "authSessionsBefore" AS FROM "authSessions"',
    'DROP TABLE "authSessions"',
    'CREATE TABLE "authSessions" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT '
    'NULL, "userId" VARCHAR NOT NULL, "expirationTime" TIMESTAMP NOT NULL, "kind" VARCHAR, "hash" '
    'VARCHAR, "clientId" VARCHAR, "clientName" VARCHAR, "scopes" VARCHAR[], "resource" VARCHAR, '
    '"lastUsedTime" TIMESTAMP, "createdAt" TIMESTAMP NOT NULL)',
    'INSERT INTO "authSessions" BY NAME FROM "authSessionsBefore"',
    'DROP TABLE "authSessionsBefore"',
    'CREATE INDEX "authSessions.userId" ON "authSessions" ("userId")',
    'CREATE TABLE "authAccountsBefore" AS FROM "authAccounts"',
    'DROP TABLE "authAccounts"',
    'CREATE TABLE "authAccounts" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT '
    'NULL, "userId" VARCHAR NOT NULL, "provider" VARCHAR NOT NULL, "providerAccountId" VARCHAR NOT '
    'NULL, "secret" VARCHAR, "emailVerified" VARCHAR, "phoneVerified" VARCHAR, "scopes" VARCHAR[], '
    '"disabledTime" TIMESTAMP, "createdAt" TIMESTAMP NOT NULL)',
    'INSERT INTO "authAccounts" BY NAME FROM "authAccountsBefore"',
    'DROP TABLE "authAccountsBefore"',
    'CREATE INDEX "authAccounts.userIdAndProvider" ON "authAccounts" ("userId", "provider")',
    'CREATE INDEX "authAccounts.providerAndAccountId" ON "authAccounts" ("provider", "providerAccountId")',
    'CREATE TABLE "authRefreshTokensBefore" AS FROM "authRefreshTokens"',
    'DROP TABLE "authRefreshTokens"',
    'CREATE TABLE "authRefreshTokens" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT'
    ' NOT NULL, "sessionId" VARCHAR NOT NULL, "expirationTime" TIMESTAMP NOT NULL, "firstUsedTime" '
    'TIMESTAMP, "parentRefreshTokenId" VARCHAR, "hash" VARCHAR, "accessHash" VARCHAR, '
    '"accessExpirationTime" TIMESTAMP, "accessScopes" VARCHAR[], "createdAt" TIMESTAMP NOT NULL)',
    'INSERT INTO "authRefreshTokens" BY NAME FROM "authRefreshTokensBefore"',
    'DROP TABLE "authRefreshTokensBefore"',
    'CREATE INDEX "authRefreshTokens.sessionId" ON "authRefreshTokens" ("sessionId")',
    'CREATE INDEX "authRefreshTokens.sessionIdAndParentRefreshTokenId" ON "authRefreshTokens" '
    '("sessionId", "parentRefreshTokenId")',
    'CREATE TABLE "authVerifiersBefore" AS FROM "authVerifiers"',
    'DROP TABLE "authVerifiers"',
    'CREATE TABLE "authVerifiers" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT'
    ' NULL, "sessionId" VARCHAR, "signature" VARCHAR, "hash" VARCHAR, "userId" VARCHAR, "clientId" '
    'VARCHAR, "clientName" VARCHAR, "redirectUri" VARCHAR, "redirectGiven" BOOLEAN, "scopes" '
    'VARCHAR[], "resource" VARCHAR, "expirationTime" TIMESTAMP, "createdAt" TIMESTAMP NOT NULL)',
    'INSERT INTO "authVerifiers" BY NAME FROM "authVerifiersBefore"',
    'DROP TABLE "authVerifiersBefore"',
    'CREATE INDEX "authVerifiers.signature" ON "authVerifiers" ("signature")',
    'CREATE TABLE "authClients" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT '
    'NULL, "clientId" VARCHAR NOT NULL, "name" VARCHAR NOT NULL, "redirectUris" VARCHAR[] NOT NULL, '
    '"lastUsedTime" TIMESTAMP, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE INDEX "authClients.clientId" ON "authClients" ("clientId")',
    'CREATE TABLE "authInvitations" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT '
    'NOT NULL, "email" VARCHAR NOT NULL, "name" VARCHAR, "scopes" VARCHAR[] NOT NULL, "hash" VARCHAR '
    'NOT NULL, "code" VARCHAR, "expirationTime" TIMESTAMP NOT NULL, "secret" VARCHAR, "startedTime" '
    'TIMESTAMP, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE INDEX "authInvitations.hash" ON "authInvitations" ("hash")',
)
