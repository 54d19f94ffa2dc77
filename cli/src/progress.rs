//! How far a long piece of work is, on a terminal.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use agent_session_store::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::interrupt;
use crate::units::counted;

const TICK: Duration = Duration::from_millis(100);

/// A bar on standard error. Where that is no terminal, nothing.
#[derive(Clone, Debug)]
pub struct Meter(ProgressBar);

impl Meter {
    /// For work whose end is known, in bytes.
    pub fn bytes(total: u64) -> Self {
        Self::styled(ProgressBar::new(total), "{bar:30} {percent}% {bytes} of {total_bytes} {msg}")
    }

    /// For work whose end is not known.
    pub fn endless() -> Self {
        Self::styled(ProgressBar::no_length(), "{spinner} {msg}")
    }

    fn styled(bar: ProgressBar, template: &str) -> Self {
        bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("#> "));
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// Sessions and events that are done.
    pub fn rows(&self, done: Progress) {
        self.0.set_message(said(done));
    }

    pub fn at(&self, position: u64) {
        self.0.set_position(position);
    }

    pub fn is_hidden(&self) -> bool {
        self.0.is_hidden()
    }

    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// Such as "3 sessions, 120 events".
pub fn said(done: Progress) -> String {
    format!("{}, {}", counted(done.sessions, "session"), counted(done.events, "event"))
}

/// A file that is read: how far, and no further once the work is interrupted.
pub struct Metered<R> {
    reader: R,
    meter: Meter,
    position: u64,
}

impl<R> Metered<R> {
    pub fn new(reader: R, meter: Meter) -> Self {
        Self { reader, meter, position: 0 }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.position += read as u64;
        self.meter.at(self.position);
        Ok(read)
    }
}

/// Lines that end with an error once the work is interrupted.
pub struct Interruptible<R>(pub R);

impl<R: BufRead> Read for Interruptible<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        interrupt::check_io()?;
        self.0.read(buffer)
    }
}

impl<R: BufRead> BufRead for Interruptible<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        interrupt::check_io()?;
        self.0.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.0.consume(bytes);
    }
}
