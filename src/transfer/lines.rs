//! The lines of an import, one at a time.

use std::io::{BufRead, Read};

use serde::de::DeserializeOwned;

use crate::error::{Cause, Error, Result};
use crate::json::without_content;
use crate::transfer::Progress;

/// The longest line, in bytes without its end: 1 GiB. An event whose payload is as long as SQLite lets a value be
/// (1,000,000,000 bytes) fits, unless most of its characters are escaped.
pub(super) const LONGEST_LINE: u64 = 1 << 30;

/// What a line may leave behind in memory for the next one.
const KEPT_BYTES: usize = 1 << 20;

pub(super) struct Lines<R> {
    reader: R,
    longest: u64,
    text: Vec<u8>,
    /// The number of the line that was read last.
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
            // One byte more tells whether it is too long, and nothing is read beyond.
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

    /// What is wrong with the line that was read last.
    pub(super) fn error(&self, source: impl Into<Cause>) -> Error {
        // An empty file lacks its first line.
        wrong_line(self.number.max(1), source)
    }
}

/// What is wrong with a line; what was imported before is told in the end.
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
