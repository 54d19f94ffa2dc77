//! Ctrl-C, and the signals that end a process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::failure::{Exit, Failure, Result, Stopped};

/// What a signal does.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Ends the process: there is nothing to tidy up.
    End,
    /// Asks the command to stop at the next good moment. A second one ends the process.
    Ask,
    /// Nothing: a pager has the terminal, and ends by itself.
    Nothing,
}

static EFFECT: AtomicU8 = AtomicU8::new(Effect::End as u8);
static ASKED: AtomicBool = AtomicBool::new(false);

pub fn install() {
    // Without a handler, a signal ends the process, which loses nothing that matters.
    let _ = ctrlc::set_handler(|| match EFFECT.load(Ordering::SeqCst) {
        effect if effect == Effect::Nothing as u8 => {}
        effect if effect == Effect::Ask as u8 && !ASKED.swap(true, Ordering::SeqCst) => {}
        _ => {
            for folder in folders().iter() {
                let _ = std::fs::remove_dir_all(folder);
            }
            std::process::exit(i32::from(Exit::Interrupted as u8))
        }
    });
}

/// Folders that go with the process.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn folders() -> MutexGuard<'static, Vec<PathBuf>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary folder, which goes when this is dropped, and when a signal ends the process.
#[derive(Debug)]
pub struct ScratchFolder(TempDir);

impl ScratchFolder {
    pub fn new() -> Result<Self> {
        let folder =
            tempfile::tempdir().map_err(|error| Failure::from(error).when("cannot make a temporary folder"))?;
        folders().push(folder.path().to_owned());
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        folders().retain(|folder| folder != self.0.path());
    }
}

/// As long as this is there, signals have another effect.
#[derive(Debug)]
pub struct Changed(u8);

impl Drop for Changed {
    fn drop(&mut self) {
        EFFECT.store(self.0, Ordering::SeqCst);
    }
}

fn change(effect: Effect) -> Changed {
    Changed(EFFECT.swap(effect as u8, Ordering::SeqCst))
}

/// From here on the command asks whether it should stop.
pub fn asked_for() -> Changed {
    change(Effect::Ask)
}

/// From here on a pager has the terminal.
pub fn left_to_pager() -> Changed {
    change(Effect::Nothing)
}

pub fn is_asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Fails if the command should stop.
pub fn check() -> Result<()> {
    if is_asked() { Err(Failure::Interrupted(None)) } else { Ok(()) }
}

/// The same for readers and writers. An error of the kind `Interrupted` would be tried again.
pub fn check_io() -> io::Result<()> {
    if is_asked() { Err(io::Error::other(Stopped)) } else { Ok(()) }
}
