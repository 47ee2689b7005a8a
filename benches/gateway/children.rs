//! The processes, each told what to do on its standard input and answering on its standard output.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::Result;

/// A run that is slower than this is broken.
const PATIENCE: Duration = Duration::from_secs(90);

/// One process, ended with this.
pub(super) struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts one of our own.
    pub(super) fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::spawn(command)
    }

    pub(super) fn spawn(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let lines = child.stdout.take().ok_or("no standard output")?;
        Ok(Self {
            child,
            stdin,
            lines: BufReader::new(lines).lines(),
        })
    }

    pub(super) async fn tell(&mut self, order: &str) -> Result<()> {
        self.stdin.write_all(format!("{order}\n").as_bytes()).await?;
        Ok(())
    }

    pub(super) async fn answer(&mut self) -> Result<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await??;
        line.ok_or_else(|| "a process has ended".into())
    }

    /// Tells it something that it answers.
    pub(super) async fn ask(&mut self, order: &str) -> Result<String> {
        self.tell(order).await?;
        self.answer().await
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Time on a core, all threads together.
    pub(super) cpu: Duration,
    /// Resident memory, KiB.
    pub(super) rss: u64,
}

impl Usage {
    pub(super) fn of(pid: u32) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        let nanos = tasks.into_iter().flatten().filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|text| text.split_whitespace().next()?.parse().ok());
        Self {
            cpu: Duration::from_nanos(nanos.sum()),
            rss: rss.unwrap_or_default(),
        }
    }
}
