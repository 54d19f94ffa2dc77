//! What a server can do to a store, each on a server of the tests' own.

mod alone;
mod disk_full;
mod following;
mod import_killed;
mod killed;
mod limits;
mod locks;
mod lost;
mod opening;
mod pooled;
mod prune_killed;
mod replica;
mod rights;
mod stopped;
mod tls;
