//! The pager, which shows what is longer than the screen.

use std::io::{self, BufWriter, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::interrupt::{self, Changed};

#[derive(Debug)]
pub struct Pager {
    child: Child,
    input: Option<BufWriter<ChildStdin>>,
    _signals: Changed,
}

impl Pager {
    /// Starts the pager that the environment names, or `less`. `None` if there is none.
    pub fn start() -> Option<Self> {
        if cfg!(not(unix)) {
            return None;
        }
        let named = ["AGENT_SESSIONS_PAGER", "PAGER"].iter().find_map(std::env::var_os);
        let command = named.unwrap_or_else(|| "less".into());
        // A terminal that can do nothing shows no pages.
        if command.is_empty() || command == "cat" || std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
            return None;
        }
        let mut shell = Command::new("sh");
        // The shell reads the words and the quotes of the command. Where it is missing, the shell says so to nobody,
        // and `cat` shows the text.
        shell
            .arg("-c")
            .arg("if command -v \"${1%% *}\" >/dev/null; then eval \"$1\"; else cat; fi")
            .arg("sh")
            .arg(command);
        // Colours pass; what fits on the screen is shown and left there.
        if std::env::var_os("LESS").is_none() {
            shell.env("LESS", "FRX");
        }
        let mut child = shell.stdin(Stdio::piped()).spawn().ok()?;
        let input = child.stdin.take().map(BufWriter::new);
        Some(Self { child, input, _signals: interrupt::left_to_pager() })
    }

    /// Waits until it has been read.
    pub fn finish(&mut self) -> io::Result<()> {
        let flushed = match self.input.take() {
            Some(mut input) => input.flush(),
            None => Ok(()),
        };
        self.child.wait()?;
        flushed
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Pager {
    /// Whatever happens: it must not outlive us, since it has the terminal.
    fn drop(&mut self) {
        let _ = self.finish();
    }
}
