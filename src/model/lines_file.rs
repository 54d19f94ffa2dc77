//! Files of lines, as an archive is written and an import is read. A name that ends in `.zst` means zstd.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Whether a file's name asks for compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinesFormat {
    Plain,
    Zstd,
}

impl LinesFormat {
    /// An error if this build cannot compress.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        if !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zst")) {
            Ok(Self::Plain)
        } else if cfg!(feature = "zstd") {
            Ok(Self::Zstd)
        } else {
            Err(Error::Unsupported {
                reason: "files that end in .zst need the feature \"zstd\" of agent-session-store",
            })
        }
    }

    pub(crate) fn read(self, path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
        let file = File::open(path)?;
        match self {
            #[cfg(feature = "zstd")]
            Self::Zstd => Ok(Box::new(BufReader::new(zstd::Decoder::new(file)?))),
            _ => Ok(Box::new(BufReader::new(file))),
        }
    }

    pub(crate) fn write(self, file: File) -> io::Result<LinesWriter> {
        match self {
            #[cfg(feature = "zstd")]
            Self::Zstd => {
                let mut encoder = zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                Ok(LinesWriter::Zstd(encoder))
            }
            _ => Ok(LinesWriter::Plain(file)),
        }
    }
}

/// Takes large pieces, which it does not gather.
pub(crate) enum LinesWriter {
    Plain(File),
    #[cfg(feature = "zstd")]
    Zstd(zstd::Encoder<'static, File>),
}

impl LinesWriter {
    /// Writes what compression still holds back.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => encoder.finish().map(drop),
        }
    }
}

impl Write for LinesWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}
