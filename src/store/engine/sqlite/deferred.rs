//! An export whose writer and callback get their calls when it is done. A store in memory has one connection, which they
//! could not use while the export holds it; and what is in memory can be there once more.

use std::cell::RefCell;
use std::io::{self, Write};

enum Call<T> {
    Write(Vec<u8>),
    Flush,
    Tell(T),
}

/// What an export would have called, in order.
pub(super) struct Calls<T>(RefCell<Vec<Call<T>>>);

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Calls<T> {
    pub(super) fn tell(&self, what: T) {
        self.0.borrow_mut().push(Call::Tell(what));
    }

    pub(super) fn make(self, mut writer: impl Write, mut callback: impl FnMut(T)) -> io::Result<()> {
        self.0.into_inner().into_iter().try_for_each(|call| match call {
            Call::Write(bytes) => writer.write_all(&bytes),
            Call::Flush => writer.flush(),
            Call::Tell(what) => {
                callback(what);
                Ok(())
            }
        })
    }
}

impl<T> Write for &Calls<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().push(Call::Write(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().push(Call::Flush);
        Ok(())
    }
}
