//! What an export contains, where an import comes from, and their callbacks.

use std::fmt;
use std::io::BufRead;
use std::path::Path;

use super::lines_file::LinesFormat;
use super::report::Progress;
use super::request::ListSessionsRequest;
use crate::error::{Error, Result};

/// Which sessions to export.
///
/// ```
/// use agent_session_store::{ListSessionsRequest, Selection};
///
/// let everything = Selection::all();
/// let one = Selection::session("session-1");
/// let some = Selection::matching(ListSessionsRequest::new().agent("claude").destroyed());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Selection(pub(crate) Selected);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Selected {
    All,
    One(String),
    Matching(ListSessionsRequest),
}

impl Selection {
    /// Every session, including those that have events but no record.
    ///
    /// ```
    /// # use agent_session_store::Selection;
    /// let selection = Selection::all();
    /// ```
    pub fn all() -> Self {
        Self(Selected::All)
    }

    /// The session with this id.
    ///
    /// ```
    /// # use agent_session_store::Selection;
    /// let selection = Selection::session("session-1");
    /// ```
    pub fn session(id: impl Into<String>) -> Self {
        Self(Selected::One(id.into()))
    }

    /// The sessions of a listing, on all its pages. The request's limit is the page size for reading.
    ///
    /// ```
    /// # use agent_session_store::{ListSessionsRequest, Selection};
    /// let selection = Selection::matching(ListSessionsRequest::new().live());
    /// ```
    pub fn matching(request: ListSessionsRequest) -> Self {
        Self(Selected::Matching(request))
    }
}

pub(crate) type ProgressCallback<'a> = Box<dyn FnMut(Progress) + Send + 'a>;
type RowCallback<'a> = Box<dyn FnMut(Error) + Send + 'a>;

/// An export: a [`Selection`] with optional callbacks. You can also pass a selection on its own.
///
/// ```
/// use agent_session_store::{Export, Selection, SessionStore};
///
/// let store = SessionStore::open_in_memory()?;
/// let mut left_out = 0;
/// let export = Export::of(Selection::all())
///     .progress(|done| eprintln!("{} sessions", done.sessions))
///     .skip_undecodable(|_| left_out += 1);
/// store.export(Vec::new(), export)?;
/// assert_eq!(left_out, 0);
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[must_use]
pub struct Export<'a> {
    selection: Selection,
    progress: Option<ProgressCallback<'a>>,
    skip_undecodable: Option<RowCallback<'a>>,
}

impl<'a> Export<'a> {
    /// Creates an export of these sessions.
    ///
    /// ```
    /// # use agent_session_store::{Export, Selection};
    /// let export = Export::of(Selection::session("session-1"));
    /// ```
    pub fn of(selection: Selection) -> Self {
        Self { selection, progress: None, skip_undecodable: None }
    }

    /// Calls `callback` after every session and every 1,000 events.
    ///
    /// ```
    /// # use agent_session_store::{Export, Selection};
    /// let export = Export::of(Selection::all()).progress(|done| eprintln!("{} events", done.events));
    /// ```
    pub fn progress(self, callback: impl FnMut(Progress) + Send + 'a) -> Self {
        Self { progress: Some(Box::new(callback)), ..self }
    }

    /// Skips rows that cannot be decoded, instead of stopping at the first one, and calls `callback` once for each with
    /// the error that names the row. The output can still be imported.
    ///
    /// If a session's record cannot be decoded, its events are exported as those of a session without a record. Events
    /// whose `session_id` is not text belong to no session and are skipped. To get the counts right, this export reads
    /// each session's events twice.
    ///
    /// ```
    /// # use agent_session_store::{Export, Selection};
    /// let export = Export::of(Selection::all()).skip_undecodable(|row| eprintln!("left out: {row}"));
    /// ```
    pub fn skip_undecodable(self, callback: impl FnMut(Error) + Send + 'a) -> Self {
        Self { skip_undecodable: Some(Box::new(callback)), ..self }
    }
}

/// For implementations of the verbs.
impl Export<'_> {
    /// The sessions to export.
    ///
    /// ```
    /// # use agent_session_store::{Export, Selection};
    /// assert_eq!(Export::of(Selection::all()).selection(), &Selection::all());
    /// ```
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Whether to skip rows that cannot be decoded.
    ///
    /// ```
    /// # use agent_session_store::{Export, Selection};
    /// assert!(!Export::of(Selection::all()).skips_undecodable());
    /// ```
    pub fn skips_undecodable(&self) -> bool {
        self.skip_undecodable.is_some()
    }

    /// Reports how much has been written.
    ///
    /// ```
    /// # use agent_session_store::{Export, Progress, Selection};
    /// Export::of(Selection::all()).report_progress(Progress { sessions: 1, events: 0 });
    /// ```
    pub fn report_progress(&mut self, done: Progress) {
        if let Some(callback) = &mut self.progress {
            callback(done);
        }
    }

    /// Reports a skipped row.
    ///
    /// ```
    /// # use agent_session_store::{Error, Export, Selection};
    /// Export::of(Selection::all()).report_undecodable(Error::Closed);
    /// ```
    pub fn report_undecodable(&mut self, row: Error) {
        if let Some(callback) = &mut self.skip_undecodable {
            callback(row);
        }
    }
}

impl From<Selection> for Export<'_> {
    fn from(selection: Selection) -> Self {
        Self::of(selection)
    }
}

impl From<&Selection> for Export<'_> {
    fn from(selection: &Selection) -> Self {
        Self::of(selection.clone())
    }
}

impl fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("selection", &self.selection).finish_non_exhaustive()
    }
}

/// An import: a reader of the lines, with an optional callback. You can also pass a reader on its own.
///
/// ```
/// use agent_session_store::{Import, SessionStore};
///
/// let store = SessionStore::open_in_memory()?;
/// let lines = "{\"format\":\"agent-session-store\",\"version\":1}\n";
/// store.import(Import::new(lines.as_bytes()).progress(|done| eprintln!("{} sessions", done.sessions)))?;
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[must_use]
pub struct Import<'a, R> {
    pub(crate) reader: R,
    pub(crate) progress: Option<ProgressCallback<'a>>,
    pub(crate) keep_existing: bool,
}

impl<'a, R> Import<'a, R> {
    /// Creates an import of the lines from this reader.
    ///
    /// ```
    /// # use agent_session_store::Import;
    /// let import = Import::new(std::io::empty());
    /// ```
    pub fn new(reader: R) -> Self {
        Self { reader, progress: None, keep_existing: false }
    }

    /// Calls `callback` after every session and every 1,000 events, once they are committed. No lock is held then.
    ///
    /// ```
    /// # use agent_session_store::Import;
    /// let import = Import::new(std::io::empty()).progress(|done| eprintln!("{} events", done.events));
    /// ```
    pub fn progress(self, callback: impl FnMut(Progress) + Send + 'a) -> Self {
        Self { progress: Some(Box::new(callback)), ..self }
    }

    /// Adds only what is missing: a record or an event whose id is taken stays as it is. Use it to restore an archive next
    /// to what has changed since.
    ///
    /// ```
    /// # use agent_session_store::Import;
    /// let import = Import::new(std::io::empty()).keep_existing();
    /// ```
    pub fn keep_existing(self) -> Self {
        Self { keep_existing: true, ..self }
    }
}

impl Import<'_, Box<dyn BufRead + Send>> {
    /// Creates an import of a file: an export, or an archive of [`PruneRequest::archive_to`](crate::PruneRequest::archive_to). If its
    /// name ends in `.zst`, it is decompressed (feature `zstd`).
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if the file cannot be opened, and
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a compressed file without the feature.
    ///
    /// ```
    /// # use agent_session_store::{Import, Selection, SessionStore};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("sessions.jsonl");
    /// let store = SessionStore::open_in_memory()?;
    /// store.export(std::fs::File::create(&path)?, Selection::all())?;
    /// store.import(Import::from_path(&path)?)?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Self::new(LinesFormat::of(path)?.read(path)?))
    }
}

/// For implementations of the verbs.
impl<R> Import<'_, R> {
    /// Returns the reader of the lines.
    ///
    /// ```
    /// # use agent_session_store::Import;
    /// # use std::io::Read;
    /// let mut text = String::new();
    /// Import::new("{}".as_bytes()).reader().read_to_string(&mut text)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reader(&mut self) -> &mut R {
        &mut self.reader
    }

    /// Whether rows that exist stay as they are.
    ///
    /// ```
    /// # use agent_session_store::Import;
    /// assert!(!Import::new(std::io::empty()).keeps_existing());
    /// ```
    pub fn keeps_existing(&self) -> bool {
        self.keep_existing
    }

    /// Reports how much has been stored.
    ///
    /// ```
    /// # use agent_session_store::{Import, Progress};
    /// Import::new(std::io::empty()).report_progress(Progress { sessions: 1, events: 0 });
    /// ```
    pub fn report_progress(&mut self, done: Progress) {
        if let Some(callback) = &mut self.progress {
            callback(done);
        }
    }
}

/// A source of an import: a reader, or an [`Import`].
pub trait ImportSource<'a> {
    /// The reader of the lines.
    type Reader: BufRead;

    /// Converts the source to an [`Import`].
    ///
    /// ```
    /// # use agent_session_store::ImportSource;
    /// let import = std::io::empty().into_import();
    /// ```
    fn into_import(self) -> Import<'a, Self::Reader>;
}

impl<'a, R: BufRead> ImportSource<'a> for R {
    type Reader = R;

    fn into_import(self) -> Import<'a, R> {
        Import::new(self)
    }
}

impl<'a, R: BufRead> ImportSource<'a> for Import<'a, R> {
    type Reader = R;

    fn into_import(self) -> Self {
        self
    }
}

impl<R> fmt::Debug for Import<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").finish_non_exhaustive()
    }
}
