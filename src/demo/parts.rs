//! The parts, as child processes or beside us, and their end.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::{DemoConfig, START_PATIENCE};
use crate::sim::{Sim, SimConfig};

/// The oldest nats-server that counts.
const NATS_OLDEST: (u32, u32) = (2, 10);
/// How long the daemon may take to settle and stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Lines of the daemon's log shown when something went wrong.
const LOG_TAIL: usize = 12;

/// Everything that runs.
pub(super) struct Parts {
    pub(super) nats_url: String,
    pub(super) nats_version: String,
    pub(super) sim: Sim,
    pub(super) admin: SocketAddr,
    pub(super) daemon_pid: u32,
    pub(super) ready_after: Duration,
    pub(super) folder: Folder,
    nats: Child,
    daemon: Child,
}

/// How it ended.
pub(super) struct Stopped {
    /// The daemon's exit code; `None` when it had to be killed.
    pub(super) exit_code: Option<i32>,
    pub(super) log_tail: String,
}

/// A folder of our own, removed at the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    fn create() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("nalpaca-demo-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the system's temporary folder and harmless.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Parts {
    /// Starts nats-server, the simulated Alpaca and the daemon, in this order, and waits until the daemon is ready.
    pub(super) async fn start(config: &DemoConfig) -> anyhow::Result<Self> {
        let (server, nats_version) = find_nats_server(config.nats_server.as_deref()).await?;
        let folder = Folder::create()?;
        let (nats, nats_url) = start_nats(&server, &folder).await?;
        let sim = Sim::start(SimConfig {
            seed: config.seed,
            ..SimConfig::default()
        })
        .await
        .context("start the simulated Alpaca")?;
        let admin = free_address()?;
        let began = Instant::now();
        let daemon = start_daemon(&folder, &nats_url, &sim, admin)?;
        let daemon_pid = daemon.id().context("the daemon ended at once")?;
        let ready_after = Duration::ZERO;
        let mut parts = Self {
            nats_url,
            nats_version,
            sim,
            admin,
            daemon_pid,
            ready_after,
            folder,
            nats,
            daemon,
        };
        if let Err(error) = parts.await_ready().await {
            let tail = parts.log_tail();
            return Err(error.context(tail));
        }
        parts.ready_after = began.elapsed();
        Ok(parts)
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.folder.path().join("nalpaca.log")
    }

    async fn await_ready(&mut self) -> anyhow::Result<()> {
        let url = format!("http://{}/readyz", self.admin);
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(1))
            .no_proxy()
            .build()?;
        let give_up = Instant::now() + START_PATIENCE;
        loop {
            if let Some(status) = self.daemon.try_wait().context("look at the daemon")? {
                bail!("the daemon ended before it was ready: {status}");
            }
            let answer = http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() >= give_up {
                bail!("the daemon was not ready within {START_PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the daemon as an operator would, then the rest.
    pub(super) async fn stop(mut self) -> Stopped {
        let pid = i32::try_from(self.daemon_pid).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let ended = if asked {
            tokio::time::timeout(STOP_PATIENCE, self.daemon.wait()).await.ok()
        } else {
            None
        };
        let exit_code = ended.and_then(Result::ok).and_then(|status| status.code());
        let log_tail = self.log_tail();
        // Both are killed by their handles if they still run.
        let _ = self.daemon.kill().await;
        let _ = self.nats.kill().await;
        self.sim.stop().await;
        Stopped { exit_code, log_tail }
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        format!(
            "the daemon's log ends with:\n{}",
            lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
        )
    }
}

/// The nats-server to run, and its version.
async fn find_nats_server(given: Option<&Path>) -> anyhow::Result<(PathBuf, String)> {
    if let Some(path) = given {
        let version = version_of(path)
            .await
            .with_context(|| format!("run {}", path.display()))?;
        return Ok((path.to_owned(), version));
    }
    // A name without a folder is looked up on the PATH.
    let mut candidates = vec![PathBuf::from("nats-server")];
    let fetched = fs::read_dir(".tools/nats-server").into_iter().flatten().flatten();
    let mut fetched: Vec<_> = fetched.map(|entry| entry.path().join("nats-server")).collect();
    fetched.sort();
    candidates.extend(fetched.into_iter().rev());
    for candidate in candidates {
        match version_of(&candidate).await {
            Ok(version) if parse_version(&version).is_some_and(|version| version >= NATS_OLDEST) => {
                return Ok((candidate, version));
            }
            Ok(_) | Err(_) => {}
        }
    }
    bail!(
        "no nats-server {}.{} or later on the PATH; run `make demo`, which fetches one, or name one with --nats-server",
        NATS_OLDEST.0,
        NATS_OLDEST.1
    )
}

async fn version_of(server: &Path) -> anyhow::Result<String> {
    let output = Command::new(server)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.trim().rsplit(['v', ' ']).next().unwrap_or_default();
    if !output.status.success() || parse_version(version).is_none() {
        bail!("it does not tell its version");
    }
    Ok(version.to_owned())
}

fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

async fn start_nats(server: &Path, folder: &Folder) -> anyhow::Result<(Child, String)> {
    // A stream's max_bytes is set aside when it is made, by default out of three quarters of what is free on the disk. What
    // the demo stores is a few megabytes; a disk nearly full must not keep it from starting.
    let settings = folder.path().join("nats-server.conf");
    let store = serde_json::to_string(&folder.path().join("jetstream"))?;
    fs::write(
        &settings,
        format!("jetstream {{ store_dir: {store}, max_file_store: 4GB, max_memory_store: 256MB }}\n"),
    )?;
    let log = File::create(folder.path().join("nats-server.log"))?;
    let mut child = Command::new(server)
        // Port -1 lets the server pick a free one and write it into the ports file: nobody can take it in between.
        .args(["--addr", "127.0.0.1", "--port", "-1"])
        .arg("--config")
        .arg(&settings)
        .arg("--ports_file_dir")
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Out of the terminal's process group: Ctrl-C is for us, and we stop the parts in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", server.display()))?;
    let pid = child.id().context("nats-server ended at once")?;
    let give_up = Instant::now() + START_PATIENCE;
    loop {
        if let Some(url) = read_ports(folder.path(), pid) {
            return Ok((child, url));
        }
        if let Some(status) = child.try_wait()? {
            let log = fs::read_to_string(folder.path().join("nats-server.log")).unwrap_or_default();
            bail!("nats-server ended: {status}\n{log}");
        }
        if Instant::now() >= give_up {
            bail!("nats-server did not say its port within {START_PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn read_ports(folder: &Path, pid: u32) -> Option<String> {
    let entries = fs::read_dir(folder).ok()?;
    let suffix = format!("_{pid}.ports");
    let file = entries
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().ends_with(&suffix))?;
    let ports: serde_json::Value = serde_json::from_str(&fs::read_to_string(file.path()).ok()?).ok()?;
    Some(ports["nats"][0].as_str()?.to_owned())
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr()?)
}

fn start_daemon(folder: &Folder, nats_url: &str, sim: &Sim, admin: SocketAddr) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("find this program")?;
    let log = File::create(folder.path().join("nalpaca.log"))?;
    let defaults = SimConfig::default();
    Command::new(program)
        .arg("serve")
        // Nothing of our own environment: what it needs is what a user would set.
        .env_clear()
        .env("ALPACA_URL", sim.base_url())
        .env("ALPACA_API_KEY", defaults.key)
        .env("ALPACA_API_SECRET", defaults.secret)
        .env("NATS_URL", nats_url)
        .env("METRICS_HOST", admin.ip().to_string())
        .env("METRICS_PORT", admin.port().to_string())
        .env("DISABLE_HEALTH", "true")
        .env("ENABLE_STOCK_STREAM", "true")
        .env("ENABLE_CRYPTO_STREAM", "true")
        .env("LOG_FMT", "text")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("start the daemon")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recent_servers_count() {
        assert!(parse_version("2.15.1") >= Some(NATS_OLDEST));
        assert!(parse_version("2.10.0-beta.1") >= Some(NATS_OLDEST));
        assert!(parse_version("2.9.25") < Some(NATS_OLDEST));
        assert_eq!(parse_version("latest"), None);
    }
}
