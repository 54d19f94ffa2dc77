//! What every renderer does, turn by turn.

use std::io;

use crate::model::session::SessionRecord;
use crate::transcript::assembly::Transcript;
use crate::transcript::turn::Turn;

/// Writes a transcript turn by turn, so that a session of any length needs memory for one turn at a time.
///
/// ```
/// use agent_session_store::transcript::Transcript;
/// use agent_session_store::transcript::render::{MarkdownRenderer, RenderOptions, TranscriptHead, TranscriptRenderer};
/// use agent_session_store::{ListEventsRequest, SessionStore};
///
/// fn write(store: &SessionStore, id: &str, out: &mut dyn std::io::Write) -> Result<(), Box<dyn std::error::Error>> {
///     let session = store.get_session(id)?;
///     let mut renderer = MarkdownRenderer::new(RenderOptions::new());
///     renderer.begin(&TranscriptHead::new().session(session.as_ref()), out)?;
///     let mut transcript = Transcript::new();
///     for event in store.events(ListEventsRequest::new(id)) {
///         transcript.push(&event?);
///         for turn in transcript.take_finished() {
///             renderer.turn(&turn, out)?;
///         }
///     }
///     for turn in transcript.turns() {
///         renderer.turn(turn, out)?;
///     }
///     Ok(renderer.end(out)?)
/// }
/// # let store = SessionStore::open_in_memory()?;
/// # write(&store, "session-1", &mut std::io::sink()).unwrap();
/// # Ok::<(), agent_session_store::Error>(())
/// ```
pub trait TranscriptRenderer {
    /// Writes what stands before the first turn. To be called once, first.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    fn begin(&mut self, head: &TranscriptHead<'_>, out: &mut dyn io::Write) -> io::Result<()>;

    /// Writes a turn, as it is now.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    fn turn(&mut self, turn: &Turn, out: &mut dyn io::Write) -> io::Result<()>;

    /// Writes what stands after the last turn.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    fn end(&mut self, out: &mut dyn io::Write) -> io::Result<()>;

    /// Writes a whole transcript: its beginning, the turns that are at hand, and its end.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    fn whole(&mut self, head: &TranscriptHead<'_>, transcript: &Transcript, out: &mut dyn io::Write) -> io::Result<()> {
        self.begin(head, out)?;
        for turn in transcript.turns() {
            self.turn(turn, out)?;
        }
        self.end(out)
    }
}

/// What a transcript is of, where that is known.
///
/// ```
/// use agent_session_store::SessionRecord;
/// use agent_session_store::transcript::Transcript;
/// use agent_session_store::transcript::render::{RenderOptions, TextRenderer, TranscriptHead, TranscriptRenderer};
///
/// let session = SessionRecord::new("session-1", "claude", "3f0c", "connection-1", chrono::DateTime::UNIX_EPOCH);
/// let head = TranscriptHead::new().title("Fix the build").session(&session);
/// let mut text = Vec::new();
/// TextRenderer::new(RenderOptions::new()).whole(&head, &Transcript::new(), &mut text)?;
/// assert!(String::from_utf8_lossy(&text).starts_with("Fix the build\nclaude · session-1 · began 1970-01-01 00:00:00 UTC\n"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TranscriptHead<'a> {
    pub(super) title: Option<&'a str>,
    pub(super) session: Option<&'a SessionRecord>,
}

impl<'a> TranscriptHead<'a> {
    /// Nothing is known.
    ///
    /// ```
    /// # use agent_session_store::transcript::render::TranscriptHead;
    /// let head = TranscriptHead::new();
    /// # let _ = head;
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The session's title. Without one the session's id is the title.
    ///
    /// ```
    /// # use agent_session_store::transcript::{Transcript, render::TranscriptHead};
    /// let transcript = Transcript::new();
    /// let head = TranscriptHead::new().title(transcript.title());
    /// # let _ = head;
    /// ```
    #[must_use]
    pub fn title(mut self, title: impl Into<Option<&'a str>>) -> Self {
        self.title = title.into();
        self
    }

    /// The session's record.
    ///
    /// ```
    /// # use agent_session_store::{SessionStore, transcript::render::TranscriptHead};
    /// # let store = SessionStore::open_in_memory()?;
    /// let session = store.get_session("session-1")?;
    /// let head = TranscriptHead::new().session(session.as_ref());
    /// # let _ = head;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    #[must_use]
    pub fn session(mut self, session: impl Into<Option<&'a SessionRecord>>) -> Self {
        self.session = session.into();
        self
    }
}
