//! How far a long piece of work is, on a terminal.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use agent_session_store::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::warn;
use crate::interrupt;
use crate::units::{GLANCE, counted};

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

    /// Says something above the bar.
    pub fn warn(&self, line: &str) {
        self.0.suspend(|| warn(line));
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

/// In bytes.
const CHUNK: usize = 1 << 16;

/// What another thread reads, so that nobody waits for it who wants to stop: it ends with an error once the work is
/// interrupted.
pub struct Interruptible {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    position: usize,
}

impl Interruptible {
    pub fn new(mut reader: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, chunks) = mpsc::sync_channel(4);
        std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = match reader.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(length) => {
                        chunk.truncate(length);
                        Ok(chunk)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let is_over = read.is_err();
                if sender.send(read).is_err() || is_over {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, chunk: Vec::new(), position: 0 })
    }
}

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Interruptible {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        interrupt::check_io()?;
        while self.position == self.chunk.len() {
            match self.chunks.recv_timeout(GLANCE) {
                Ok(chunk) => (self.chunk, self.position) = (chunk?, 0),
                Err(RecvTimeoutError::Timeout) => interrupt::check_io()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(&[]),
            }
        }
        Ok(&self.chunk[self.position..])
    }

    fn consume(&mut self, bytes: usize) {
        self.position += bytes;
    }
}
