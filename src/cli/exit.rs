//! Exit codes: what a supervisor or a script learns from our end. The numbers are those of `sysexits.h`.

use std::process::ExitCode;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or stopped when told to.
    Ok = 0,
    /// The gateway or the venue said no.
    Refused = 1,
    /// The command line was wrong. `clap` uses this number, too.
    Usage = 2,
    /// Something we depend on is not there.
    Unavailable = 69,
    /// A mistake of ours.
    Internal = 70,
    /// The venue refused our credentials.
    Credentials = 77,
    /// The configuration cannot be used. Trying again changes nothing.
    Config = 78,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
