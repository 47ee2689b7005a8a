//! The `nalpaca` program: arguments in, exit code out. Everything else is the library's.

use std::process::ExitCode;

use clap::Parser as _;
use nalpaca::cli::{self, Cli};

fn main() -> ExitCode {
    // rustls leaves the choice of cryptography to the program. It fails only if one was made before.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing else runs yet that could have installed a provider");
    cli::run(Cli::parse()).into()
}
