//! The lines of an export, as described in `docs/export.md`, and how they are read.
//!
//! A session's record comes before its events and gives their number, so that a truncated file is noticed; the events
//! are in order. A session without a record has events only. JSON columns are strings here, so they survive byte for
//! byte, including white space and line breaks, whatever tool handles the lines in between.

use std::io::{BufRead, Read};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::database::rows::{EventRow, SessionRow};
use crate::error::{Cause, Error, Result};
use crate::model::json_error::without_content;
use crate::model::report::Progress;

const FORMAT: &str = "agent-session-store";
const VERSION: u32 = 1;

/// A progress callback is called after this many events, and after every session.
pub(super) const EVENTS_PER_CALL: u64 = 1_000;

/// The first line.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    format: String,
    version: u32,
}

impl Header {
    pub(super) fn new() -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION }
    }

    /// Why this is not the header of a readable export.
    pub(super) fn problem(&self) -> Option<String> {
        let Self { format, version } = self;
        match (format == FORMAT, *version == VERSION) {
            (true, true) => None,
            (true, false) => Some(format!("the format is {FORMAT:?} version {version}, expected version {VERSION}")),
            (false, _) => Some(format!("the format is not {FORMAT:?}")),
        }
    }
}

/// Any other line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Line<S> {
    Session(SessionRow<S>),
    Event(EventRow<S>),
}

/// The longest line, in bytes without its end: 1 GiB. An event whose payload has SQLite's maximum size (1,000,000,000
/// bytes) fits, unless most of its characters are escaped.
pub(super) const LONGEST_LINE: u64 = 1 << 30;

/// How much buffer a line may leave allocated for the next one.
const KEPT_BYTES: usize = 1 << 20;

pub(super) struct Lines<R> {
    reader: R,
    longest: u64,
    text: Vec<u8>,
    /// The number of the last line read.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, longest: u64) -> Self {
        Self { reader, longest, text: Vec::new(), number: 0 }
    }

    /// The next line that is not blank.
    pub(super) fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        loop {
            self.text.clear();
            self.text.shrink_to(KEPT_BYTES);
            // One extra byte tells whether the line is too long; nothing beyond it is read.
            let mut line = (&mut self.reader).take(self.longest + 1);
            if line.read_until(b'\n', &mut self.text)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.text.last() != Some(&b'\n') && self.text.len() as u64 > self.longest {
                return Err(self.error(format!("it is longer than {} bytes", self.longest)));
            }
            if !self.text.trim_ascii().is_empty() {
                return serde_json::from_slice(&self.text)
                    .map(Some)
                    .map_err(|error| self.error(without_content(error)));
            }
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Why the last line read is wrong.
    pub(super) fn error(&self, source: impl Into<Cause>) -> Error {
        // An empty file has no first line.
        wrong_line(self.number.max(1), source)
    }
}

/// What is wrong with a line. The count of what was imported is filled in at the end.
pub(super) fn wrong_line(line: u64, source: impl Into<Cause>) -> Error {
    Error::Import { line, done: Progress::default(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test says what it expects")]
    fn a_line_may_be_as_long_as_the_limit() {
        for (text, is_read) in [
            ("\"12345678\"\n", true),
            ("\"12345678\"", true),
            ("\n\"12345678\"\n\n", true),
            ("\"123456789\"\n", false),
            ("\"123456789\"", false),
            ("\"12345678\"\r\n", false),
            ("           \n", false),
        ] {
            let mut reader = text.as_bytes();
            let mut lines = Lines::new(&mut reader, 10);
            let result: Result<Option<String>> = lines.read();
            if is_read {
                assert_eq!(result.unwrap().unwrap(), "12345678", "{text:?}");
                assert_eq!(lines.read::<String>().unwrap(), None, "{text:?}");
            } else {
                let error = result.unwrap_err();
                assert_eq!(error.to_string(), "cannot import line 1: it is longer than 10 bytes", "{text:?}");
                assert_eq!(reader.len(), text.len() - 11, "{text:?}");
            }
        }
    }
}
