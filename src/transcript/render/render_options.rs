//! What is rendered, and how.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A function that sees every text of the session and says what is shown in its place.
type Redaction = Arc<dyn for<'t> Fn(&'t str) -> Cow<'t, str> + Send + Sync>;

/// What of a transcript is rendered, and how. By default all of it, for a terminal of 80 columns without colours.
///
/// ```
/// use agent_session_store::transcript::Transcript;
/// use agent_session_store::transcript::render::RenderOptions;
///
/// let options = RenderOptions::new().thoughts(false).protocol(false).width(100);
/// assert_eq!(Transcript::new().to_text(&options), "Transcript\n");
/// ```
#[derive(Clone)]
pub struct RenderOptions {
    pub(super) thoughts: bool,
    pub(super) tool_details: bool,
    pub(super) protocol: bool,
    pub(super) width: usize,
    pub(super) colors: bool,
    redaction: Option<Redaction>,
}

impl RenderOptions {
    /// Everything is rendered, as it was said.
    ///
    /// ```
    /// use agent_session_store::transcript::render::RenderOptions;
    ///
    /// let options = RenderOptions::new();
    /// # let _ = options;
    /// ```
    pub fn new() -> Self {
        Self { thoughts: true, tool_details: true, protocol: true, width: 80, colors: false, redaction: None }
    }

    /// Whether the agent's thoughts are rendered. They are by default.
    ///
    /// ```
    /// # use agent_session_store::transcript::render::RenderOptions;
    /// let options = RenderOptions::new().thoughts(false);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn thoughts(mut self, shown: bool) -> Self {
        self.thoughts = shown;
        self
    }

    /// Whether tool calls, files and terminals are rendered with their inputs, outputs and diffs (by default), or only
    /// with their titles, files and states.
    ///
    /// ```
    /// # use agent_session_store::transcript::render::RenderOptions;
    /// let options = RenderOptions::new().tool_details(false);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn tool_details(mut self, shown: bool) -> Self {
        self.tool_details = shown;
        self
    }

    /// Whether messages are rendered that people rarely want to see: settings, offered commands, and the requests,
    /// notifications and updates that have no entry of their own kind. They are by default.
    ///
    /// ```
    /// # use agent_session_store::transcript::render::RenderOptions;
    /// let options = RenderOptions::new().protocol(false);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn protocol(mut self, shown: bool) -> Self {
        self.protocol = shown;
        self
    }

    /// Of how many columns a line of plain text is at most; 80 by default. A single character may need two even where
    /// there is one. Markdown and HTML have no such limit.
    ///
    /// ```
    /// # use agent_session_store::transcript::render::RenderOptions;
    /// let unwrapped = RenderOptions::new().width(usize::MAX);
    /// # let _ = unwrapped;
    /// ```
    #[must_use]
    pub fn width(mut self, columns: usize) -> Self {
        self.width = columns.max(1);
        self
    }

    /// Whether plain text has colours, as terminals know them (ANSI SGR). It has none by default. No other sequence is
    /// ever written.
    ///
    /// ```
    /// # use agent_session_store::transcript::render::RenderOptions;
    /// let options = RenderOptions::new().colors(true);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn colors(mut self, used: bool) -> Self {
        self.colors = used;
        self
    }

    /// A function that sees every text that came from the session before it is rendered, and returns what is rendered
    /// in its place: messages, titles, paths, ids, kinds and states, both sides of a diff, and of JSON every string,
    /// key and number. It sees a text whole, before it is wrapped, cut or read as Markdown, and a string of JSON
    /// without its escapes. Times, indexes and the data of pictures and sound are not texts: the first two are
    /// rendered, the data never is.
    ///
    /// ```
    /// use std::borrow::Cow;
    ///
    /// use agent_session_store::transcript::render::RenderOptions;
    ///
    /// let options = RenderOptions::new().redact(|text| match text.contains("sk-") {
    ///     true => Cow::Borrowed("(a key)"),
    ///     false => Cow::Borrowed(text),
    /// });
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn redact(mut self, redaction: impl for<'t> Fn(&'t str) -> Cow<'t, str> + Send + Sync + 'static) -> Self {
        self.redaction = Some(Arc::new(redaction));
        self
    }

    pub(super) fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.redaction.as_ref().map_or(Cow::Borrowed(text), |redaction| redaction(text))
    }
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RenderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenderOptions")
            .field("thoughts", &self.thoughts)
            .field("tool_details", &self.tool_details)
            .field("protocol", &self.protocol)
            .field("width", &self.width)
            .field("colors", &self.colors)
            .field("redact", &self.redaction.is_some())
            .finish()
    }
}
