//! Writing to the terminal, or to whatever stands in its place.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};

use super::Exit;

/// Writes a command's answer to standard output. A reader that has seen enough (`| head`) is no failure.
pub(super) fn answer(text: impl fmt::Display) -> Exit {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Ok,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            complain(format_args!("nalpaca: cannot write the answer: {error}"));
            Exit::Internal
        }
    }
}

/// Writes what went wrong to standard error. When even that fails there is nobody left to tell.
pub(super) fn complain(line: impl fmt::Display) {
    writeln!(io::stderr().lock(), "{line}").unwrap_or_default();
}
