//! `nalpaca completions` and `nalpaca man`: what shells and `man` want to know of this command line.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Exit, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca completions bash > /etc/bash_completion.d/nalpaca
  nalpaca completions zsh > \"${fpath[1]}/_nalpaca\"
  nalpaca completions fish > ~/.config/fish/completions/nalpaca.fish")]
pub(super) struct Completions {
    /// For which shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca man | man -l -
  nalpaca man --into /usr/local/share/man/man1        a page for each command")]
pub(super) struct Man {
    /// Write a page for each command into this folder; without it the first page is printed.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

pub(super) fn completions(arguments: &Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "nalpaca", &mut script);
    output::answer(String::from_utf8_lossy(&script))
}

pub(super) fn man(arguments: &Man) -> Exit {
    let command = Cli::command();
    let Some(folder) = &arguments.into else {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(command).render(&mut page) {
            Ok(()) => output::answer(String::from_utf8_lossy(&page)),
            Err(error) => complain(&error),
        };
    };
    let mut command = command;
    command.build();
    match fs::create_dir_all(folder).and_then(|()| pages(&command, folder)) {
        Ok(()) => Exit::Ok,
        Err(error) => complain(&error),
    }
}

/// Writes the page of a command, and those of its own.
fn pages(command: &clap::Command, folder: &Path) -> std::io::Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    fs::write(folder.join(format!("{name}.1")), page)?;
    for inner in command
        .get_subcommands()
        .filter(|inner| inner.get_name() != "help")
    {
        pages(inner, folder)?;
    }
    Ok(())
}

fn complain(error: &std::io::Error) -> Exit {
    output::complain(format_args!("nalpaca man: {error}"));
    Exit::Internal
}
