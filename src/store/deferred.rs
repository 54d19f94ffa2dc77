//! An export whose writer and callback get their calls when it is done. A store in memory has one connection, which they
//! could not use while the export holds it; and what is in memory can be there once more.

use std::cell::RefCell;
use std::io::{self, Write};

use crate::transfer::Progress;

enum Call {
    Write(Vec<u8>),
    Flush,
    Progress(Progress),
}

/// What an export would have called, in order.
#[derive(Default)]
pub(super) struct Calls(RefCell<Vec<Call>>);

impl Calls {
    pub(super) fn progress(&self, progress: Progress) {
        self.0.borrow_mut().push(Call::Progress(progress));
    }

    pub(super) fn make(self, mut writer: impl Write, mut progress: impl FnMut(Progress)) -> io::Result<()> {
        self.0.into_inner().into_iter().try_for_each(|call| match call {
            Call::Write(bytes) => writer.write_all(&bytes),
            Call::Flush => writer.flush(),
            Call::Progress(done) => {
                progress(done);
                Ok(())
            }
        })
    }
}

impl Write for &Calls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().push(Call::Write(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().push(Call::Flush);
        Ok(())
    }
}
