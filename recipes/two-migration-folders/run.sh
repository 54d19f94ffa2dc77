#!/usr/bin/env bash
# Two folders of migrations under the Diesel CLI, the store's and an application's, on SQLite and on PostgreSQL: what
# docs/diesel.md says, run. Without a server (AGENT_SESSIONS_TEST_POSTGRES) the second half is skipped, but not in CI.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
store=$here/../../migrations
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$here/diesel.toml" "$here/migrations" "$here/src" "$scratch"
cd "$scratch"

fail() { echo "two-migration-folders: $*" >&2; exit 1; }

# Whether a printed schema is the one that the application has in its source. PostgreSQL's name of a type is another.
is_ours() { sed 's/Int8/BigInt/' | diff "$here/src/schema.rs" -; }

# On the database that DATABASE_URL names, with the store's folder of that kind.
both_folders() {
    # A copy in the application's own source: on PostgreSQL `diesel setup` puts a migration of Diesel's into the folder.
    rm -rf session_migrations
    cp -r "$store/$1" session_migrations
    local ours=(--migration-dir session_migrations)

    echo "$1: the database is created, the store's folder runs, then the application's"
    diesel setup "${ours[@]}"
    diesel setup # runs no migrations, since there is a table of them by now
    diesel migration run

    echo "$1: each folder knows its own, and the schema that is printed is the application's alone"
    [ "$(diesel migration pending "${ours[@]}")" = false ] || fail "the store's migration is pending"
    [ "$(diesel migration pending)" = false ] || fail "the application's migration is pending"
    diesel print-schema | is_ours

    echo "$1: redo and revert take the application's last migration, as long as there is one"
    diesel migration redo
    diesel migration revert
    if diesel migration revert 2>"$scratch/revert"; then fail "the store's migration was found in the wrong folder"; fi
    grep -q 'Unable to find migration version' "$scratch/revert" || fail "$(cat "$scratch/revert")"
    diesel migration revert "${ours[@]}"
    diesel migration run "${ours[@]}"
    diesel migration run
    is_ours <src/schema.rs

    echo "$1: a reset starts with the store's folder too"
    diesel database reset "${ours[@]}"
    diesel migration run
    is_ours <src/schema.rs
}

export DATABASE_URL=$scratch/app.db
both_folders sqlite

server=${AGENT_SESSIONS_TEST_POSTGRES:-postgres://postgres@127.0.0.1:5432}
export DATABASE_URL=$server/two_migration_folders_$$
if psql -qAtc 'SELECT 1' "$server/postgres" >/dev/null 2>&1; then
    trap 'diesel database drop >/dev/null; rm -rf "$scratch"' EXIT
    both_folders postgres
elif [ -n "${CI:-}" ]; then
    fail "there is no PostgreSQL server at $server"
else
    echo "SKIPPED on PostgreSQL: there is no server at $server" >&2
fi
echo "two-migration-folders: well"
