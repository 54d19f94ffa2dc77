//! An export that calls its writer and callbacks only once it is done. A store in memory has a single connection, which
//! they could not use while the export holds it; and what is already in memory can be held there twice.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::model::report::Progress;
use crate::model::transfer::Export;

enum Call {
    Write(Vec<u8>),
    Flush,
    Progress(Progress),
    LeftOut(Error),
}

/// The calls that an export would have made, in order.
#[derive(Default)]
pub(super) struct Calls(Mutex<Vec<Call>>);

/// Runs an export that only records its calls, and then makes them, however it ended.
pub(super) fn export(
    mut writer: impl Write,
    mut export: Export<'_>,
    run: impl FnOnce(&Calls, Export<'_>) -> Result<Progress>,
) -> Result<Progress> {
    let calls = Calls::default();
    let mut noted = Export::of(export.selection().clone()).progress(|done| calls.note(Call::Progress(done)));
    if export.skips_undecodable() {
        noted = noted.skip_undecodable(|row| calls.note(Call::LeftOut(row)));
    }
    let done = run(&calls, noted);
    for call in calls.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match call {
            Call::Write(bytes) => writer.write_all(&bytes)?,
            Call::Flush => writer.flush()?,
            Call::Progress(done) => export.report_progress(done),
            Call::LeftOut(row) => export.report_undecodable(row),
        }
    }
    done
}

impl Calls {
    fn note(&self, call: Call) {
        self.noted().push(call);
    }

    fn noted(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &Calls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.note(Call::Write(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.note(Call::Flush);
        Ok(())
    }
}
