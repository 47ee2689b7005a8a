//! `nalpaca version`.

use super::{Exit, output};

pub(super) fn run() -> Exit {
    output::answer(format_args!(
        "nalpaca {} (revision {})\n",
        env!("CARGO_PKG_VERSION"),
        env!("NALPACA_REVISION")
    ))
}
