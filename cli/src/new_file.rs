//! A file that is there when it is complete, and not before.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use zstd::stream::write::Encoder;

use crate::failure::{Exit, Failure, Result};
use crate::interrupt;

/// Written beside its place under another name, private to its owner; compressed if its name ends in `.zst`. Dropped before
/// it is finished, it is gone.
pub struct NewFile {
    target: PathBuf,
    replaces: bool,
    writer: Lines,
}

enum Lines {
    Plain(BufWriter<NamedTempFile>),
    Compressed(Encoder<'static, BufWriter<NamedTempFile>>),
    /// A device or a pipe, which is no file that could be replaced.
    Straight(BufWriter<File>),
}

/// How a database file begins.
const DATABASE: &[u8] = b"SQLite format 3\0";

impl NewFile {
    /// Begins a file. Unless it may replace another, that there is one is an error.
    pub fn begin(target: &Path, replaces: bool) -> Result<Self> {
        if !replaces && std::fs::symlink_metadata(target).is_ok() {
            return Err(exists(target));
        }
        // A link stays, and what it leads to is replaced.
        let target = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let cannot_write = |error| cannot_write(&target, &error);
        let writer = match std::fs::metadata(&target) {
            Ok(there) if there.is_dir() => {
                return Err(Failure::usage(format!("{} is a folder: name a file", target.display())));
            }
            Ok(there) if !there.is_file() => {
                Lines::Straight(BufWriter::new(File::options().write(true).open(&target).map_err(cannot_write)?))
            }
            there => {
                if there.is_ok() && is_of_database(&target) {
                    return Err(Failure::usage(format!(
                        "{} is a database, which is not replaced: choose another name",
                        target.display()
                    )));
                }
                let file = NamedTempFile::with_prefix_in(".agent-sessions-", folder_of(&target));
                let file = BufWriter::new(file.map_err(cannot_write)?);
                if is_compressed(&target) { Lines::Compressed(Encoder::new(file, 0)?) } else { Lines::Plain(file) }
            }
        };
        Ok(Self { target, replaces, writer })
    }

    /// Writes what is left to disk and gives the file its name. Returns its size.
    pub fn finish(self) -> Result<u64> {
        let buffer = match self.writer {
            Lines::Plain(buffer) => buffer,
            Lines::Compressed(encoder) => encoder.finish()?,
            Lines::Straight(mut writer) => {
                writer.flush()?;
                return Ok(0);
            }
        };
        let file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
        interrupt::check()?;
        file.as_file().sync_all()?;
        let size = file.as_file().metadata()?.len();
        let named = if self.replaces { file.persist(&self.target) } else { file.persist_noclobber(&self.target) };
        match named {
            Ok(_) => sync_folder(&self.target),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(&self.target)),
            Err(error) => Err(cannot_write(&self.target, &error.error)),
        }?;
        Ok(size)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        interrupt::check_io()?;
        match &mut self.writer {
            Lines::Plain(writer) => writer.write(bytes),
            Lines::Compressed(writer) => writer.write(bytes),
            Lines::Straight(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Lines::Plain(writer) => writer.flush(),
            Lines::Compressed(writer) => writer.flush(),
            Lines::Straight(writer) => writer.flush(),
        }
    }
}

impl fmt::Debug for NewFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewFile").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Whether a file is a database, or one of those beside it.
fn is_of_database(path: &Path) -> bool {
    let begins_so = |path: &Path| {
        let mut beginning = [0; DATABASE.len()];
        File::open(path).and_then(|mut file| file.read_exact(&mut beginning)).is_ok() && beginning == *DATABASE
    };
    let name = path.to_str().unwrap_or_default();
    let beside = ["-wal", "-shm", "-journal"].iter().find_map(|end| name.strip_suffix(end));
    begins_so(path) || beside.is_some_and(|database| begins_so(Path::new(database)))
}

pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub fn exists(target: &Path) -> Failure {
    Failure::said(
        Exit::Failed,
        format!("{} exists, and is not overwritten: choose another name or remove it", target.display()),
    )
}

/// Without the other name, which tells nobody anything.
pub fn cannot_write(target: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::Unavailable,
        io::ErrorKind::NotFound => {
            let folder = folder_of(target).display().to_string();
            return Failure::said(
                Exit::NotFound,
                format!("cannot write {}: there is no folder {folder}", target.display()),
            );
        }
        _ => Exit::Failed,
    };
    Failure::said(exit, format!("cannot write {}: {}", target.display(), error.kind()))
}

/// The name is on disk as well.
fn sync_folder(target: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder_of(target))?.sync_all()?;
    }
    Ok(())
}
