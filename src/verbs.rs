//! THE table: every verb once, with its documentation and its example. The traits and the stores generate their methods
//! from it. A new verb is an entry here, a function in `verb/` and a rule in the contract.

/// Passes the table to a macro, after any tokens of the caller's:
///
/// - `read` verbs change nothing, `write` verbs are one atomic write, `rows` verbs are writes of nothing but rows, and
///   `steps` verbs are several writes,
/// - a `ref` argument is passed by reference, its type written without the `&`, a `val` argument by value,
/// - the three strings are the example: the code before the call, the arguments, and the code after it. It can use a
///   session `session-1` with one event, and the functions `session(id)`, `event(id, index)` and `new_event(id)`.
macro_rules! verbs {
    ($face:ident! $(($($given:tt)*))?) => {
        $face! {
            $($($given)*)?

            /// Returns the session with this id, or `None` if there is no such record.
            ///
            /// # Errors
            ///
            /// [`Error::Decode`](crate::Error::Decode) if a value in the row cannot be decoded, and any other error
            /// from the database.
            read get_session(ref id: str) -> Option<SessionRecord>:
                "let found = ", r#""session-1""#, r#"assert_eq!(found, Some(session("session-1")));"#;

            /// Returns the event with this id, or `None` if there is none. Where your PostgreSQL tables allow an id once in
            /// each session, it is one of those.
            ///
            /// # Errors
            ///
            /// [`Error::Decode`](crate::Error::Decode) if a value in the row cannot be decoded, and any other error
            /// from the database.
            read get_event(ref id: str) -> Option<SessionEvent>:
                "let found = ", r#""event-1""#, r#"assert_eq!(found, Some(event("event-1", 1)));"#;

            /// Returns a page of sessions, ordered by `created_at`, then by `id` (byte order).
            ///
            /// The cost of a page depends only on its size, not on the number of sessions or on how far into the
            /// listing it is.
            ///
            /// # Errors
            ///
            /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) for a cursor from another listing,
            /// [`Error::Decode`](crate::Error::Decode) if a row on the page cannot be decoded (the error carries a
            /// cursor that continues after that row), and any other error from the database.
            read list_sessions(ref request: ListSessionsRequest) -> ListPage<SessionRecord>:
                "let page = ", "&ListSessionsRequest::new().limit(20)", r#"assert_eq!(page.items, [session("session-1")]);"#;

            /// Returns a page of sessions as [`list_sessions`](Self::list_sessions) does, the same ones in the same order and
            /// with the same cursors, and for each what a list shows: its title, its working folder, when something happened
            /// last, whether a turn is running, and what the agent reported of tokens and cost. The page is one consistent
            /// snapshot.
            ///
            /// A session costs a few index seeks and at most 32 rows, however long it is: of its events, only the
            /// [first](crate::SessionSummary::FIRST_EVENTS) and the [last](crate::SessionSummary::LAST_EVENTS) are read. On
            /// PostgreSQL, a page of up to 100 sessions takes two statements, and one more for each session that begins with
            /// a prompt too long to be read with the others.
            ///
            /// # Errors
            ///
            /// Those of [`list_sessions`](Self::list_sessions). An event that cannot be decoded is none: the summary has
            /// what the others tell.
            read list_session_summaries(ref request: ListSessionsRequest) -> ListPage<SessionSummary>:
                "let page = ", "&ListSessionsRequest::new().descending().limit(20)", "assert_eq!(page.items[0].last_index, Some(1));";

            /// Upserts a session: inserts it, or overwrites every column of the row with the same id. A field that is
            /// `None` becomes NULL, even if the row had a value. An unknown id is not an error: the session is inserted.
            ///
            /// # Errors
            ///
            /// Any error from the database; nothing was written then.
            write update_session(ref session: SessionRecord) -> ():
                "", r#"&session("session-2")"#, "";

            /// Returns a page of one session's events, ordered by `event_index`, then by `id` (byte order).
            ///
            /// The cost of a page depends only on its size, not on the length of the session or on how far into it the
            /// page is.
            ///
            /// # Errors
            ///
            /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) for a cursor from another listing,
            /// [`Error::Decode`](crate::Error::Decode) if a row on the page cannot be decoded (the error carries a
            /// cursor that continues after that row), and any other error from the database.
            read list_events(ref request: ListEventsRequest) -> ListPage<SessionEvent>:
                "let page = ", r#"&ListEventsRequest::new("session-1").limit(50)"#, r#"assert_eq!(page.items, [event("event-1", 1)]);"#;

            /// Upserts an event: inserts it, or overwrites every column of the row with the same id. Its session need
            /// not exist.
            ///
            /// **A known id is overwritten, whichever session it is in**: an event with the id of one in another session
            /// replaces it and moves it to the new session. [`append_events`](Self::append_events) refuses that, and
            /// assigns the index too. (Where your PostgreSQL tables allow an id once in each session, only the event in
            /// the same session is overwritten.)
            ///
            /// Overwriting takes two statements: an insert that finds the id taken, then the upsert. A `BEFORE INSERT`
            /// trigger fires for both. (On PostgreSQL the second one is an update.)
            ///
            /// # Errors
            ///
            /// Any error from the database; nothing was written then.
            rows insert_event(ref event: SessionEvent) -> ():
                "", r#"&event("event-2", 2)"#, "";

            /// Upserts several events, of one session or many, atomically: inserts each one, or overwrites every column
            /// of the row with the same id, as [`insert_event`](Self::insert_event) does.
            ///
            /// On a connection inside your own transaction, the batch is a savepoint.
            ///
            /// # Errors
            ///
            /// Any error from the database; none of the events was written then.
            rows insert_events(ref events: [SessionEvent]) -> ():
                "", r#"&[event("event-2", 2), event("event-3", 3)]"#, "";

            /// Appends events to a session and returns the indexes assigned to them, in order: they continue from the
            /// session's last index plus 1, and the first event of a session gets 1. Any number of threads and
            /// processes can append to the same session at the same time without gaps or duplicates. The append is
            /// atomic.
            ///
            /// Appends are idempotent: an event that is already stored in this session with the same id, sender and
            /// payload keeps its index, its time and its connection, and is not written again. If you never saw the
            /// result of an append, repeat it, whatever the new attempt's `created_at` and `connection_id` are.
            ///
            /// On a connection inside your own transaction, the append takes the write lock as it starts. SQLite
            /// refuses that at once, as [`Error::Busy`](crate::Error::Busy), if your transaction has already read and
            /// another connection has written since. Start such a transaction with `immediate_transaction`. On PostgreSQL
            /// it locks only the session, for other appends; at REPEATABLE READ and SERIALIZABLE, `Error::Busy` means that
            /// another transaction got there first, and yours has to run again.
            ///
            /// # Errors
            ///
            /// [`Error::EventIdTaken`](crate::Error::EventIdTaken) if an id is already stored with another sender or payload, or in
            /// another session, and any other error from the database; nothing was written then.
            rows append_events(ref session_id: str, ref events: [NewEvent]) -> Vec<i64>:
                "let indexes = ", r#""session-1", &[new_event("a"), new_event("b")]"#, "assert_eq!(indexes, [2, 3]);";

            /// Like [`append_events`](Self::append_events), but only if the session is as the request requires: that it has
            /// a record, that it is live, that it ends at an index. If every event is already stored, nothing is required.
            ///
            /// # Errors
            ///
            /// [`Error::SessionNotFound`](crate::Error::SessionNotFound),
            /// [`Error::SessionEnded`](crate::Error::SessionEnded) and
            /// [`Error::AppendConflict`](crate::Error::AppendConflict) if the session is otherwise, and the errors of
            /// [`append_events`](Self::append_events); nothing was written then.
            write append(ref request: AppendRequest, ref events: [NewEvent]) -> Vec<i64>:
                "let indexes = ", r#"&AppendRequest::new("session-1").must_be_live(), &[new_event("a")]"#,
                "assert_eq!(indexes, [2]);";

            /// Like [`append_events`](Self::append_events), but only if the session still ends at `last_index`; pass 0
            /// for a session without events. If every event is already stored, there is no conflict, whatever has been
            /// appended since.
            ///
            /// # Errors
            ///
            /// [`Error::AppendConflict`](crate::Error::AppendConflict), which says where the session ends, and the
            /// errors of [`append_events`](Self::append_events).
            rows append_events_after(ref session_id: str, val last_index: i64, ref events: [NewEvent]) -> Vec<i64>:
                "let indexes = ", r#""session-1", 1, &[new_event("a")]"#, "assert_eq!(indexes, [2]);";

            /// Returns the greatest event index in a session, with a single index seek, or `None` if the session has no
            /// events.
            ///
            /// # Errors
            ///
            /// [`Error::Decode`](crate::Error::Decode) if that index is not an integer, and any other error from the
            /// database.
            read last_event_index(ref session_id: str) -> Option<i64>:
                "let last = ", r#""session-1""#, "assert_eq!(last, Some(1));";

            /// Returns the newest events of a session that fit, oldest first: what you replay to a new agent. Returns
            /// at most `count` events and at most `max_bytes` of payload, but always at least one event if the session
            /// has any and `count` is not 0. The cost depends on what it returns, not on the length of the session.
            ///
            /// # Errors
            ///
            /// Those of [`list_events`](Self::list_events). A cursor in an error belongs to the
            /// [`descending`](crate::ListEventsRequest::descending) listing.
            read latest_events(ref session_id: str, val count: u32, val max_bytes: Option<usize>) -> Vec<SessionEvent>:
                "let replay = ", r#""session-1", 50, Some(100_000)"#, r#"assert_eq!(replay, [event("event-1", 1)]);"#;

            /// Deletes a session, its record and its events, atomically. Returns whether there was anything to delete.
            ///
            /// The deletion is one transaction: about ten seconds for a million events, longer on a slow disk. On SQLite
            /// it blocks all other writers, on PostgreSQL those who append to the session. For long sessions use [`PruneRequest::session`], which works in steps.
            ///
            /// # Errors
            ///
            /// Any error from the database, such as a foreign key of yours that forbids the deletion; nothing was
            /// deleted then.
            write delete_session(ref id: str) -> bool:
                "let was_there = ", r#""session-1""#, "assert!(was_there);";

            /// Marks a session as ended by setting its `destroyed_at`, with millisecond precision. Returns whether the
            /// session has a record.
            ///
            /// It only marks: the record and the events stay, and both can still be written to. To delete them, use
            /// [`delete_session`](Self::delete_session) or [`prune`](Self::prune); to refuse events of a session that has
            /// ended, [`AppendRequest::must_be_live`](crate::AppendRequest::must_be_live).
            ///
            /// # Errors
            ///
            /// Any error from the database.
            write destroy_session(ref id: str, val at: DateTime<Utc>) -> bool:
                "let was_there = ", r#""session-1", DateTime::UNIX_EPOCH"#, "assert!(was_there);";

            /// Starts a session as a copy of another: stores the record `new` and copies the events of `from_id`,
            /// either all of them or those up to and including `up_to_index`. The copies keep their indexes; their ids
            /// are the new session's id, `:` and the old id. Returns the number of events copied. The fork is atomic.
            ///
            /// The fork is one transaction: about ten seconds for a million events, longer on a slow disk. On SQLite it
            /// blocks all other writers.
            ///
            /// # Errors
            ///
            /// [`Error::SessionNotFound`](crate::Error::SessionNotFound) if there is nothing to copy,
            /// [`Error::SessionExists`](crate::Error::SessionExists) if the new session already has a record or events,
            /// [`Error::EventIdTaken`](crate::Error::EventIdTaken) if another event already has the id of a copy, and
            /// any other error from the database; nothing was written then.
            write fork_session(ref from_id: str, val up_to_index: Option<i64>, ref new: SessionRecord) -> u64:
                "let events = ", r#""session-1", None, &session("session-2")"#, "assert_eq!(events, 1);";

            /// Deletes what the request's rules select, in transactions of about 500 rows and some ten milliseconds.
            /// On SQLite, after 100 milliseconds of work it leaves the database idle for long enough that a connection
            /// waiting in SQLite's busy handler gets its turn, so other writers wait less than 250 milliseconds; on
            /// PostgreSQL it blocks nobody. Each transaction checks again that its rows still match. A session's
            /// record is deleted once it has no events left. [The guide](crate::guide::retention) describes the rules.
            ///
            /// With [`archive_to`](crate::PruneRequest::archive_to), it first exports what goes to a new file.
            ///
            /// If it is interrupted, what it deleted stays deleted; call it again to continue. On a connection inside
            /// your own transaction, it is part of that transaction: atomic and without pauses.
            ///
            /// With a write-ahead log, searching for rows to delete does not block writers. With a rollback journal,
            /// other writers wait while `max_events_per_session` counts what each session keeps (100 milliseconds for a
            /// million events).
            ///
            /// # Errors
            ///
            /// Any error from the database, such as a foreign key of yours that forbids a deletion, or a lock held for
            /// too long. If something was deleted before it, the error is
            /// [`Error::Unfinished`](crate::Error::Unfinished) with a report of that. For an archive that cannot be made,
            /// [`Error::Io`](crate::Error::Io) (of the kind [`AlreadyExists`](std::io::ErrorKind::AlreadyExists) if the
            /// file exists), [`Error::DiskFull`](crate::Error::DiskFull), [`Error::Decode`](crate::Error::Decode) if a
            /// row cannot be exported, or [`Error::Unsupported`](crate::Error::Unsupported) if a name that ends in `.zst`
            /// asks for the feature `zstd`; nothing was deleted then.
            steps prune(ref request: PruneRequest) -> PruneReport:
                "let report = ", "&PruneRequest::new().max_events_per_session(10_000)", "assert_eq!(report.events, 0);";

            /// Returns the number of sessions and events, and the size of the database. It counts rows, so the time
            /// grows with their number.
            ///
            /// # Errors
            ///
            /// Any error from the database.
            read stats() -> Stats:
                "let stats = ", "", "assert_eq!((stats.sessions, stats.events), (1, 1));";

            /// Returns the number of events in each session, the size of their payloads, and the first and the last index and
            /// time, by session id. It reads all events.
            ///
            /// # Errors
            ///
            /// Any error from the database.
            read session_stats() -> Vec<SessionStats>:
                "let stats = ", "", "assert_eq!(stats[0].events, 1);";

            /// Returns what [`session_stats`](Self::session_stats) does of one session, or `None` if it has neither a record nor
            /// events. It reads all of its events.
            ///
            /// # Errors
            ///
            /// Any error from the database.
            read get_session_stats(ref session_id: str) -> Option<SessionStats>:
                "let stats = ", r#""session-1""#, "assert_eq!(stats.map(|stats| (stats.events, stats.last_index)), Some((1, Some(1))));";

            /// Looks for damage: runs SQLite's integrity check (on PostgreSQL it looks for invalid indexes), and looks for
            /// rows that cannot be decoded, events without a session, duplicate indexes, and a leftover `events_legacy`
            /// table. It reads everything and changes nothing.
            ///
            /// # Errors
            ///
            /// Findings are not errors, whatever a row or page contains. A file that cannot be read as a database of
            /// this crate at all is [`Error::NotADatabase`](crate::Error::NotADatabase) or
            /// [`Error::NotMigrated`](crate::Error::NotMigrated). Locks and the like are reported as usual.
            read check() -> CheckReport:
                "let report = ", "", "assert!(report.is_sound());";
        }
    };
}

/// The type of an argument in a signature.
macro_rules! argument_type {
    (ref $type:ty) => {
        &$type
    };
    (val $type:ty) => {
        $type
    };
}

/// Turns an owned copy of an argument into the argument.
macro_rules! from_owned {
    (ref $argument:ident) => {
        &$argument
    };
    (val $argument:ident) => {
        $argument
    };
}

/// Documents the verbs whose signature differs from face to face.
macro_rules! documented {
    (events on $face:ident { $($method:tt)* }) => {
        /// Iterates over all events of a listing and fetches pages as needed. The request's limit is the page size; one
        /// page is in memory at a time. If an event cannot be decoded, the iterator yields the error in its place and
        /// continues with the next event. After any other error it ends.
        #[doc = walk_example!($face, ".events(ListEventsRequest::new(\"session-1\"))", "event", "{}", ".payload")]
        $($method)*
    };
    (sessions on $face:ident { $($method:tt)* }) => {
        /// Iterates over all sessions of a listing, as [`events`](Self::events) does over events.
        #[doc = walk_example!($face, ".sessions(ListSessionsRequest::new().live())", "session", "{}", ".id")]
        $($method)*
    };
    (session_summaries on $face:ident { $($method:tt)* }) => {
        /// Iterates over the summaries of all sessions of a listing, page by page, as [`sessions`](Self::sessions) does over
        /// their records.
        #[doc = walk_example!($face, ".session_summaries(ListSessionsRequest::new().live())", "summary", "{:?}", ".title")]
        $($method)*
    };
    (export on $face:ident { $($method:tt)* }) => {
        /// Writes sessions as JSON Lines, from a consistent snapshot, with one page of events in memory. Pass a
        /// [`Selection`](crate::Selection), or an [`Export`](crate::Export) to report progress or skip rows that cannot
        /// be decoded. JSON columns are written byte for byte. [The guide](crate::guide::export) describes the format.
        /// Returns how much was written. You choose where the lines go and who can read them: create a file with mode
        /// `0o600`.
        ///
        /// # Errors
        ///
        /// [`Error::Io`](crate::Error::Io) from the writer, [`Error::Decode`](crate::Error::Decode) if a row cannot be
        /// decoded, and any other error from the database.
        #[doc = example!($face, "let written = ", "export", "Vec::new(), Selection::all()", "")]
        $($method)*
    };
    (import on $face:ident { $($method:tt)* }) => {
        /// Imports what [`export`](Self::export) wrote, from a reader, or from an [`Import`](crate::Import) to read a
        /// file, report progress or keep what is there. Each session is upserted as by [`update_session`] and [`insert_event`], so importing twice has the
        /// same effect as importing once. Rows that are not in the import stay.
        ///
        /// Each session is read to its end before any of it is written, with no lock held: 2 MB of it is kept in
        /// memory, the rest in a temporary file. A session of up to 500 events and one megabyte is written atomically.
        /// A longer one may take several transactions, with its record in the last, so that others can write in
        /// between. If the process dies before that, importing again finishes it. On a connection inside your own
        /// transaction, everything is part of that transaction.
        ///
        /// A line may be up to 1 GiB long; one line is in memory at a time.
        ///
        /// [`update_session`]: Self::update_session
        /// [`insert_event`]: Self::insert_event
        ///
        /// # Errors
        ///
        /// [`Error::Import`](crate::Error::Import), with the line number, if a line cannot be used: for example if it
        /// is too long, or if its event has the id of an event in another session. The session of that line is not
        /// imported; the sessions before it are, and the error counts them. [`Error::Io`](crate::Error::Io) from the
        /// reader or the temporary file, and any other error from the database: as
        /// [`Error::Unfinished`](crate::Error::Unfinished) if something was imported before it.
        #[doc = example!($face, "let done = ", "import", r#""{\"format\":\"agent-session-store\",\"version\":1}\n".as_bytes()"#, "assert_eq!(done.sessions, 0);")]
        $($method)*
    };
    (reclaim_space on $face:ident { $($method:tt)* }) => {
        /// Returns unused space to the file system.
        ///
        /// In a file that was created with
        /// [`incremental_vacuum`](crate::SessionStoreBuilder::incremental_vacuum) it does so in small steps, with room
        /// for other writers in between. Inside a transaction, these are part of it.
        ///
        /// In any other file it runs SQLite's `VACUUM`, which rewrites the whole database: it takes as long as copying the file, needs up to twice the file's
        /// size in free disk space, and blocks all other writers until it is done. You rarely need it: SQLite reuses
        /// free space, so a file that is pruned regularly stops growing.
        ///
        /// With a write-ahead log, a [`checkpoint`](Self::checkpoint) follows, unless the connection's automatic
        /// checkpoints are off (`PRAGMA wal_autocheckpoint = 0`). It does not wait for readers; while they run, the
        /// file may keep its size.
        ///
        /// # Errors
        ///
        /// [`Error::Unsupported`](crate::Error::Unsupported) from a store on a server,
        /// [`Error::Database`](crate::Error::Database) if `VACUUM` runs inside a transaction,
        /// [`Error::DiskFull`](crate::Error::DiskFull), [`Error::Busy`](crate::Error::Busy), and any other error from
        /// the database. No data is lost then.
        #[doc = example!($face, "", "reclaim_space", "", "")]
        $($method)*
    };
    (checkpoint on $face:ident { $($method:tt)* }) => {
        /// Moves the contents of the write-ahead log into the database file and empties the log. Without a log it does
        /// nothing.
        ///
        /// SQLite checkpoints by itself when the log reaches 1,000 frames, and the store empties a log that has grown
        /// large. Call this when you want everything in one file, or after the readers that kept the log in use have
        /// finished.
        ///
        /// It takes as long as copying the contents of the log, and blocks neither readers nor writers meanwhile. Then
        /// it waits about a twentieth of a second for connections that still read from the log; writers wait with it.
        /// If some of them read for longer, the report says that the checkpoint is incomplete: call it again later.
        ///
        /// # Errors
        ///
        /// [`Error::Unsupported`](crate::Error::Unsupported) from a store on a server,
        /// [`Error::Database`](crate::Error::Database) inside a transaction,
        /// [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::DiskFull`](crate::Error::DiskFull), and any other
        /// error from the database. No data is lost then.
        #[doc = example!($face, "let report = ", "checkpoint", "", "assert!(report.is_complete);")]
        $($method)*
    };
    (backup_to on $face:ident { $($method:tt)* }) => {
        /// Copies the whole database, including your own tables, into a new file, from a consistent snapshot, while
        /// others keep writing. The copy is compact, and is on disk when the call returns. If several calls copy to the
        /// same path at once, one succeeds.
        ///
        /// The copy is written in a folder next to the target,
        /// `<name>.agent-session-store-backup-<process>-<number>.tmp`, and gets its name once it is complete: if the
        /// process is killed, there is either no file of that name or a complete one. On file systems without hard
        /// links (FAT, some network file systems), a kill during the rename may leave an empty file.
        /// [`SessionStore::open`](crate::SessionStore::open) and [`migrate`](crate::migrate) refuse what a killed
        /// process leaves behind. You may delete it; the next backup into the same folder does.
        ///
        /// A copy of a database that SQLCipher encrypts is encrypted with the same key, but with SQLCipher's default
        /// settings. A store with [`on_open`](crate::SessionStoreBuilder::on_open) makes sure that it can read the copy;
        /// if it cannot, that is [`Error::Open`](crate::Error::Open), and there is no copy. Then set your settings in
        /// `on_open` as defaults, with `PRAGMA cipher_default_…` before `PRAGMA key`.
        ///
        /// On Unix, the copy has the mode of the database and, if this process may assign it, the same group; if it may
        /// not, the group gets the permissions of others. The owner is this process's user. A copy of an in-memory
        /// database, and any unfinished copy, is private to its owner. Access control lists are not copied. On other
        /// systems the copy inherits the permissions of its folder.
        ///
        /// # Errors
        ///
        /// [`Error::Io`](crate::Error::Io) if the file cannot be created or already exists (it is never overwritten;
        /// the kind is [`AlreadyExists`](std::io::ErrorKind::AlreadyExists)),
        /// [`Error::Unsupported`](crate::Error::Unsupported) from a store on a server,
        /// [`Error::Database`](crate::Error::Database) inside a transaction,
        /// [`Error::DiskFull`](crate::Error::DiskFull), and any other error from the database. No file is left behind
        /// then.
        #[doc = example!($face, "let folder = tempfile::tempdir().unwrap();\n", "backup_to", r#"folder.path().join("copy.db")"#, "")]
        $($method)*
    };
}

/// A verb's example on one face: a `connection`, an `async_connection`, a `store`, a `transaction` of one, or a store for
/// `tasks`.
macro_rules! example {
    (connection, $let:expr, $verb:expr, $arguments:expr, $then:expr) => {
        concat!(
            "# Example\n\n```\n",
            on!(connection),
            $let,
            "conn.",
            $verb,
            "(",
            $arguments,
            ")?;\n",
            $then,
            end!(connection)
        )
    };
    (async_connection, $let:expr, $verb:expr, $arguments:expr, $then:expr) => {
        concat!(
            "# Example\n\n```\n",
            on!(async_connection),
            $let,
            "conn.",
            $verb,
            "(",
            $arguments,
            ").await?;\n",
            $then,
            end!(async_connection)
        )
    };
    (store, $let:expr, $verb:expr, $arguments:expr, $then:expr) => {
        concat!(
            closed!(),
            "# Example\n\n```\n",
            on!(store),
            $let,
            "store.",
            $verb,
            "(",
            $arguments,
            ")?;\n",
            $then,
            end!(store)
        )
    };
    (transaction, $let:expr, $verb:expr, $arguments:expr, $then:expr) => {
        concat!(
            "# Example\n\n```\n",
            on!(transaction),
            $let,
            "tx.",
            $verb,
            "(",
            $arguments,
            ")?;\n",
            $then,
            end!(transaction)
        )
    };
    (tasks, $let:expr, $verb:expr, $arguments:expr, $then:expr) => {
        concat!(
            closed!(),
            "# Example\n\n```\n",
            on!(tasks),
            $let,
            "store.",
            $verb,
            "(",
            $arguments,
            ").await?;\n",
            $then,
            end!(tasks)
        )
    };
}

/// Going over the rows of a listing: the call, a name for a row, and how what is printed of it is written.
macro_rules! walk_example {
    (tasks $($given:tt)*) => {
        walk_example!(awaited tasks $($given)*)
    };
    (async_connection $($given:tt)*) => {
        walk_example!(awaited async_connection $($given)*)
    };
    (awaited $face:ident, $call:literal, $row:literal, $print:literal, $shown:literal) => {
        concat!(
            "# Example\n\n```\n",
            on!($face),
            "let mut rows = ",
            receiver!($face),
            $call,
            ";\nwhile let Some(",
            $row,
            ") = rows.next().await? {\n    println!(\"",
            $print,
            "\", ",
            $row,
            $shown,
            ");\n}",
            end!($face)
        )
    };
    ($face:ident, $call:literal, $row:literal, $print:literal, $shown:literal) => {
        concat!(
            "# Example\n\n```\n",
            on!($face),
            "for ",
            $row,
            " in ",
            receiver!($face),
            $call,
            " {\n    println!(\"",
            $print,
            "\", ",
            $row,
            "?",
            $shown,
            ");\n}",
            end!($face)
        )
    };
}

macro_rules! receiver {
    (connection) => {
        "conn"
    };
    (async_connection) => {
        "conn"
    };
    (transaction) => {
        "tx"
    };
    ($store:ident) => {
        "store"
    };
}

macro_rules! closed {
    () => {
        "[`Error::Closed`](crate::Error::Closed) once the store is closed.\n\n"
    };
}

/// The hidden setup of the examples.
macro_rules! on {
    (connection) => {
        concat!(
            given!(),
            "# use agent_session_store::diesel::{Connection, SqliteConnection};\n\
             # let mut conn = SqliteConnection::establish(\":memory:\").unwrap();\n\
             # migrate(&mut conn)?;\n\
             # conn.update_session(&session(\"session-1\"))?;\n\
             # conn.insert_event(&event(\"event-1\", 1))?;\n"
        )
    };
    (async_connection) => {
        concat!(
            given!(),
            "# use agent_session_store::diesel::SqliteConnection;\n\
             # use agent_session_store::diesel_async::{AsyncConnection, sync_connection_wrapper::SyncConnectionWrapper};\n\
             # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {\n\
             # let mut conn = SyncConnectionWrapper::<SqliteConnection>::establish(\":memory:\").await.unwrap();\n\
             # migrate_async(&mut conn).await?;\n\
             # conn.update_session(&session(\"session-1\")).await?;\n\
             # conn.insert_event(&event(\"event-1\", 1)).await?;\n"
        )
    };
    (store) => {
        concat!(
            given!(),
            "# let store = SessionStore::open_in_memory()?;\n\
             # store.update_session(&session(\"session-1\"))?;\n\
             # store.insert_event(&event(\"event-1\", 1))?;\n"
        )
    };
    (transaction) => {
        concat!(on!(store), "# store.transaction(|tx| {\n")
    };
    (tasks) => {
        concat!(
            given!(),
            "# tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {\n\
             # let store = AsyncSessionStore::open_in_memory()?;\n\
             # store.update_session(&session(\"session-1\")).await?;\n\
             # store.insert_event(&event(\"event-1\", 1)).await?;\n"
        )
    };
}

macro_rules! end {
    (async_connection) => {
        end!(tasks)
    };
    (tasks) => {
        "\n# Ok::<(), Error>(())\n# })?;\n# Ok::<(), Error>(())\n```"
    };
    (transaction) => {
        "\n# Ok::<(), Error>(())\n# })?;\n# Ok::<(), Error>(())\n```"
    };
    ($face:ident) => {
        "\n# Ok::<(), Error>(())\n```"
    };
}

macro_rules! given {
    () => {
        "# use agent_session_store::*;\n\
         # use chrono::DateTime;\n\
         # let (at, json) = (DateTime::UNIX_EPOCH, || Json::parse(\"{}\").unwrap());\n\
         # let session = |id: &str| SessionRecord::new(id, \"claude\", \"a\", \"c\", at);\n\
         # let event = |id: &str, index| SessionEvent::new(id, index, \"session-1\", at, \"c\", Sender::Agent, json());\n\
         # let new_event = |id: &str| NewEvent::new(id, at, \"c\", Sender::Agent, json());\n"
    };
}

pub(crate) use {
    argument_type, closed, documented, end, example, from_owned, given, on, receiver, verbs, walk_example,
};

// The types in the signatures, for the files that print them.
pub(crate) use chrono::{DateTime, Utc};

pub(crate) use crate::model::append_request::AppendRequest;
pub(crate) use crate::model::event::{NewEvent, SessionEvent};
pub(crate) use crate::model::page::ListPage;
pub(crate) use crate::model::report::{CheckReport, CheckpointReport, Progress, PruneReport, SessionStats, Stats};
pub(crate) use crate::model::request::{ListEventsRequest, ListSessionsRequest};
pub(crate) use crate::model::retention::PruneRequest;
pub(crate) use crate::model::session::SessionRecord;
pub(crate) use crate::model::transfer::{Export, ImportSource};
pub(crate) use crate::transcript::summary::SessionSummary;
