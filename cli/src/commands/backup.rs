//! `backup`: a copy of the whole file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};

use clap::Args;
use tempfile::TempDir;

use crate::arguments::Global;
use crate::copying;
use crate::failure::{Exit, Failure, Result, warn};
use crate::interrupt;
use crate::new_file::{NewFile, cannot_write, exists, folder_of, is_compressed};
use crate::output::Output;
use crate::place::Place;
use crate::progress::Meter;
use crate::units::{GLANCE, size};

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions backup sessions-2026-01-31.db
  agent-sessions backup sessions-2026-01-31.db.zst   # zstd -d restores it";

/// Copies a database file to a new file, while others use it
///
/// The copy is a consistent snapshot, with tables of others and of any format, and is there once it is complete; compressed
/// with zstd if its name ends in .zst. An interrupted backup leaves nothing. For a server, use pg_dump or export.
#[derive(Args, Debug)]
pub struct Backup {
    /// The new file, which must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Backup {
    pub fn run(self, global: &Global) -> Result<Exit> {
        let place = Place::of(global)?;
        place.existing()?;
        let source =
            place.file("a server's database is not copied as a file: use pg_dump, or `agent-sessions export`")?;
        if std::fs::symlink_metadata(&self.file).is_ok() {
            return Err(exists(&self.file));
        }
        let _asked = interrupt::asked_for();
        let bytes =
            if is_compressed(&self.file) { compressed(source, &self.file)? } else { plain(source, &self.file)? };
        let mut out = Output::new(global);
        if global.json {
            out.json(&serde_json::json!({ "bytes": bytes }))?;
        } else {
            warn(&format!("backed up {}", size(bytes)));
        }
        out.finish()?;
        Ok(Exit::Done)
    }
}

/// In a folder beside the target, so that it can be moved, which goes with all that is in it.
fn scratch(target: &Path) -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix(".agent-sessions-").tempdir_in(folder_of(target));
    folder.map_err(|error| cannot_write(target, &error))
}

fn plain(source: &Path, target: &Path) -> Result<u64> {
    let folder = scratch(target)?;
    let copy = folder.path().join("copy.db");
    copied(source, &copy, folder.path())?;
    let bytes = std::fs::metadata(&copy)?.len();
    // It has no second name there, and replaces none here.
    match std::fs::hard_link(&copy, target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(target)),
        // A file system without such links.
        Err(_) => std::fs::rename(&copy, target)?,
    }
    if cfg!(unix) {
        File::open(folder_of(target))?.sync_all()?;
    }
    Ok(bytes)
}

fn compressed(source: &Path, target: &Path) -> Result<u64> {
    let folder = scratch(target)?;
    let copy = folder.path().join("copy.db");
    copied(source, &copy, folder.path())?;
    let mut copy = File::open(&copy)?;
    let meter = Meter::bytes(copy.metadata()?.len());
    let mut file = NewFile::begin(target, false)?;
    let done = io::copy(&mut crate::progress::Metered::new(&mut copy, meter.clone()), &mut file);
    meter.clear();
    done?;
    file.finish()
}

/// Copies on another thread: SQLite does it in one statement, which nobody can stop. When that is asked for, the process ends
/// without waiting for it, and what is there of the copy is removed.
fn copied(source: &Path, target: &Path, folder: &Path) -> Result<()> {
    let meter = Meter::bytes(std::fs::metadata(source)?.len());
    let (sender, receiver) = mpsc::channel();
    let (from, to) = (source.to_owned(), target.to_owned());
    let spawned =
        std::thread::Builder::new().name("backup".to_owned()).spawn(move || _ = sender.send(copying::copy(&from, &to)));
    spawned.map_err(|error| Failure::from(error).when("cannot start a thread"))?;
    loop {
        match receiver.recv_timeout(GLANCE) {
            Ok(done) => {
                meter.clear();
                done?;
                return interrupt::check();
            }
            Err(RecvTimeoutError::Timeout) if interrupt::is_asked() => {
                meter.clear();
                return Err(Failure::Interrupted(Some("interrupted: there is no backup".to_owned())));
            }
            Err(RecvTimeoutError::Timeout) => {
                if !meter.is_hidden() {
                    meter.at(size_of_files(folder));
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::said(Exit::Failed, "the backup failed: run it again"));
            }
        }
    }
}

/// The files that are being written, which are in folders of this one.
fn size_of_files(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of_files(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
