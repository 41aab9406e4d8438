"""The audit log, and where its entries wait until a checkpoint."""

STATEMENTS = (
    'CREATE TABLE "auditPending" (entries VARCHAR NOT NULL)',
    'CREATE TABLE "auditLog" ("createdAt" TIMESTAMP NOT NULL, "action" VARCHAR NOT NULL, "outcome" VARCHAR NOT NULL, '
    '"memberId" VARCHAR, "actingAs" VARCHAR, "grantId" VARCHAR, "origin" VARCHAR NOT NULL, "ids" VARCHAR[] NOT NULL, '
    '"changed" BIGINT NOT NULL, "about" VARCHAR, "requests" BIGINT NOT NULL)',
)
