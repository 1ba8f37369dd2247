-- +goose Up
-- Releases that operators brought, beside those built into the program. They
-- are kept as they came, and never change: rollouts and proofs name digests.

create table release_bundles (
    version text not null,
    digest text not null, -- hex SHA-256 over the files, as proofs name it
    bundle bytea not null, -- zip of one directory, named after the version
    origin text not null, -- what it was made of, for people
    saved_by text not null,
    saved_at timestamptz not null default now(),
    constraint release_bundles_pkey primary key (version),
    constraint release_bundles_digest_check check (digest ~ '^[0-9a-f]{64}$'),
    -- releases.MaxBundle
    constraint release_bundles_size_check check (octet_length(bundle) <= 3145728)
);
