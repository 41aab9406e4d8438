"""The six auth tables and our access tokens."""

STATEMENTS = (
    "CREATE TABLE meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)",
    'CREATE TABLE "authSessions" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT '
    'NULL, "userId" VARCHAR NOT NULL, "expirationTime" TIMESTAMP NOT NULL, "createdAt" TIMESTAMP NOT '
    "NULL)",
    'CREATE TABLE "authAccounts" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT '
    'NULL, "userId" VARCHAR NOT NULL, "provider" VARCHAR NOT NULL, "providerAccountId" VARCHAR NOT NULL, '
    '"secret" VARCHAR, "emailVerified" VARCHAR, "phoneVerified" VARCHAR, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "authRefreshTokens" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT'
    ' NULL, "sessionId" VARCHAR NOT NULL, "expirationTime" TIMESTAMP NOT NULL, "firstUsedTime" TIMESTAMP,'
    ' "parentRefreshTokenId" VARCHAR, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "authVerificationCodes" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT'
    ' NOT NULL, "accountId" VARCHAR NOT NULL, "provider" VARCHAR NOT NULL, "code" VARCHAR NOT NULL, '
    '"expirationTime" TIMESTAMP NOT NULL, "verifier" VARCHAR, "emailVerified" VARCHAR, "phoneVerified" '
    'VARCHAR, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "authVerifiers" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT '
    'NULL, "sessionId" VARCHAR, "signature" VARCHAR, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "authRateLimits" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT '
    'NULL, "identifier" VARCHAR NOT NULL, "lastAttemptTime" TIMESTAMP NOT NULL, "attemptsLeft" DOUBLE NOT'
    ' NULL, "createdAt" TIMESTAMP NOT NULL)',
    'CREATE TABLE "accessTokens" ("_id" VARCHAR NOT NULL, "seq" BIGINT PRIMARY KEY, "rev" BIGINT NOT '
    'NULL, "hash" VARCHAR NOT NULL, "name" VARCHAR, "ownerId" VARCHAR NOT NULL, "scopes" VARCHAR[] NOT '
    'NULL, "expirationTime" TIMESTAMP, "lastUsedTime" TIMESTAMP, "revokedTime" TIMESTAMP, "createdAt" '
    "TIMESTAMP NOT NULL)",
    'CREATE INDEX "authSessions.userId" ON "authSessions" ("userId")',
    'CREATE INDEX "authAccounts.userIdAndProvider" ON "authAccounts" ("userId", "provider")',
    'CREATE INDEX "authAccounts.providerAndAccountId" ON "authAccounts" ("provider", "providerAccountId")',
    'CREATE INDEX "authRefreshTokens.sessionId" ON "authRefreshTokens" ("sessionId")',
    'CREATE INDEX "authRefreshTokens.sessionIdAndParentRefreshTokenId" ON "authRefreshTokens" '
    '("sessionId", "parentRefreshTokenId")',
    'CREATE INDEX "authVerificationCodes.accountId" ON "authVerificationCodes" ("accountId")',
    'CREATE INDEX "authVerificationCodes.code" ON "authVerificationCodes" ("code")',
    'CREATE INDEX "authVerifiers.signature" ON "authVerifiers" ("signature")',
    'CREATE INDEX "authRateLimits.identifier" ON "authRateLimits" ("identifier")',
    'CREATE INDEX "accessTokens.hash" ON "accessTokens" ("hash")',
)
