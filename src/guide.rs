//! The guide: how to use the crate, page by page. These are the pages of the folder `docs` of the repository.
//!
//! | page | |
//! |---|---|
//! | [`command`] | `agent-sessions`, the command: looking at, following, moving and checking what is in a database |
//! | [`store`] | opening a store, the basic verbs, options, commits, closing, async code, features |
//! | [`diesel`] | the verbs on your own connections, joins, paging your own queries, two sets of migrations, the Diesel CLI |
//! | [`diesel_async`] | the verbs on connections of diesel-async, and what happens to dropped futures |
//! | [`beyond`] | appending, filters, deleting, forking, summaries, backups, checks, the write-ahead log |
//! | [`following`] | following sessions live, and waiting for changes |
//! | [`transcripts`] | the turns of a session, as data, text, Markdown and HTML; redaction, and what is safe |
//! | [`retention`] | pruning by age, activity and size, archives, and returning space |
//! | [`postgres`] | the same on a server, and what is different there |
//! | [`scale`] | after one server: tenants, partitions, connection pools, replicas |
//! | [`export`] | the format of exports, and how an import works |
//! | [`crate::schema`] | the tables, and compatibility with the TypeScript driver |
//! | [`opening_existing_files`] | what happens to files of other programs and versions |
//! | [`reliability`] | which faults your data survives, how that was tested, what is not guaranteed |
//! | [`benchmarks`] | the speed, compared with code written by hand |
//! | [`architecture`] | how the source is laid out |

/// Where the pages' links lead to. In the repository each page defines its own, at its end; the definitions here come
/// before those, and the first one of a name counts.
macro_rules! links {
    () => {
        "\
[benchmarks.md]: crate::guide::benchmarks
[benchmarks.md#how-long-other-writers-wait]: crate::guide::benchmarks#how-long-other-writers-wait
[benchmarks.md#following]: crate::guide::benchmarks#following
[beyond.md]: crate::guide::beyond
[beyond.md#the-write-ahead-log]: crate::guide::beyond#the-write-ahead-log
[beyond.md#summaries]: crate::guide::beyond#summaries
[command.md]: crate::guide::command
[diesel-async.md]: crate::guide::diesel_async
[diesel.md]: crate::guide::diesel
[export.md]: crate::guide::export
[following.md]: crate::guide::following
[following.md#how-commits-are-noticed]: crate::guide::following#how-commits-are-noticed
[opening-existing-files.md]: crate::guide::opening_existing_files
[opening-existing-files.md#reading-without-migrating]: crate::guide::opening_existing_files#reading-without-migrating
[postgres.md]: crate::guide::postgres
[postgres.md#the-schema]: crate::guide::postgres#the-schema
[postgres.md#what-differs-from-sqlite]: crate::guide::postgres#what-differs-from-sqlite
[reliability.md]: crate::guide::reliability
[retention.md]: crate::guide::retention
[scale.md]: crate::guide::scale
[scale.md#connection-pools-in-front]: crate::guide::scale#connection-pools-in-front
[store.md]: crate::guide::store
[transcripts.md]: crate::guide::transcripts
"
    };
}

#[doc = links!()]
#[doc = include_str!("../docs/command.md")]
pub mod command {}

#[doc = links!()]
#[cfg_attr(any(not(doctest), feature = "async"), doc = include_str!("../docs/store.md"))]
pub mod store {}

#[doc = links!()]
#[doc = include_str!("../docs/diesel.md")]
pub mod diesel {}

#[doc = links!()]
#[cfg_attr(any(not(doctest), feature = "diesel-async"), doc = include_str!("../docs/diesel-async.md"))]
pub mod diesel_async {}

#[doc = links!()]
#[cfg_attr(any(not(doctest), feature = "postgres"), doc = include_str!("../docs/postgres.md"))]
pub mod postgres {}

#[doc = links!()]
#[doc = include_str!("../docs/beyond.md")]
pub mod beyond {}

#[doc = links!()]
#[doc = include_str!("../docs/following.md")]
pub mod following {}

#[doc = links!()]
#[doc = include_str!("../docs/transcripts.md")]
pub mod transcripts {}

#[doc = links!()]
#[doc = include_str!("../docs/retention.md")]
pub mod retention {}

#[doc = links!()]
#[doc = include_str!("../docs/export.md")]
pub mod export {}

#[doc = links!()]
#[doc = include_str!("../docs/opening-existing-files.md")]
pub mod opening_existing_files {}

#[doc = links!()]
#[doc = include_str!("../docs/reliability.md")]
pub mod reliability {}

#[doc = links!()]
#[cfg_attr(any(not(doctest), feature = "postgres"), doc = include_str!("../docs/scale.md"))]
pub mod scale {}

#[doc = links!()]
#[doc = include_str!("../docs/benchmarks.md")]
pub mod benchmarks {}

#[doc = links!()]
#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}
