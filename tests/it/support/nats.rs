//! A real nats-server, as a child process with a store of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::jwt::Operator;
use super::scratch::{Scratch, free_port};
use super::until;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// What tests run on.
    Recent,
    /// The oldest one that is supported.
    Oldest,
}

impl Release {
    fn binary(self) -> PathBuf {
        let version = match self {
            Self::Recent => "2.15.1",
            Self::Oldest => "2.10.25",
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(".tools/nats-server")
            .join(version)
            .join("nats-server");
        assert!(
            path.is_file(),
            "nats-server {version} is missing: run `make test`, or `scripts/tools.sh test` once"
        );
        path
    }
}

/// One server. It is killed when dropped.
pub(crate) struct NatsServer {
    release: Release,
    port: u16,
    scratch: Scratch,
    child: Option<Child>,
    guarded: bool,
    /// A credentials file's text, of the one who runs a server that an operator's key guards.
    credentials: Option<String>,
}

/// Name and password of the one who runs a guarded server.
const OPERATOR: &str = "operator";
/// Name and password of the daemon on a guarded server.
pub(crate) const DAEMON: &str = "daemon";

impl NatsServer {
    /// Runs a server and waits until it answers.
    pub(crate) async fn start(release: Release) -> Self {
        let mut server = Self::reserve(release);
        server.run().await;
        server
    }

    /// A server that does not run yet; its address is known.
    pub(crate) fn reserve(release: Release) -> Self {
        Self {
            release,
            port: free_port(),
            scratch: Scratch::new(),
            child: None,
            guarded: false,
            credentials: None,
        }
    }

    /// A server that wants names and passwords: the operator's, and the daemon's.
    pub(crate) async fn start_guarded(release: Release) -> Self {
        let mut server = Self::reserve(release);
        server.guarded = true;
        server.allow_daemon(true);
        server.run().await;
        server
    }

    /// A server with these users beside its operator, as entries of its configuration, and whatever else belongs there.
    pub(crate) async fn start_with_users(release: Release, users: &str) -> Self {
        let mut server = Self::reserve(release);
        server.guarded = true;
        server.let_in_as(users);
        server.run().await;
        server
    }

    /// A server that knows but an operator's key.
    pub(crate) async fn start_operated(release: Release, operator: &Operator) -> Self {
        let mut server = Self::reserve(release);
        server.guarded = true;
        let everything = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        server.credentials = Some(operator.credentials(OPERATOR, &everything));
        fs::write(server.config_path(), operator.config()).expect("write the server's configuration");
        server.run().await;
        server
    }

    /// Runs a server with these lines in its configuration.
    pub(crate) async fn start_configured(release: Release, configuration: &str) -> Self {
        let mut server = Self::reserve(release);
        fs::write(server.config_path(), configuration).expect("write the server's configuration");
        server.run().await;
        server
    }

    /// Lets the daemon in, or not any more. A server that runs reads it at once.
    pub(crate) fn allow_daemon(&self, allowed: bool) {
        let daemon = if allowed {
            format!("{{user: {DAEMON}, password: {DAEMON}}}")
        } else {
            String::new()
        };
        self.let_in_as(&daemon);
    }

    /// Lets the daemon in with this password, and with no other. A server that runs reads it at once.
    pub(crate) fn let_in(&self, password: &str) {
        self.let_in_as(&format!("{{user: {DAEMON}, password: {password:?}}}"));
    }

    fn let_in_as(&self, daemon: &str) {
        let operator = format!("{{user: {OPERATOR}, password: {OPERATOR}}}");
        let users = format!("authorization {{\n users = [\n {operator}\n {daemon}\n ]\n}}\n");
        fs::write(self.config_path(), users).expect("write the server's configuration");
        if let Some(child) = &self.child {
            super::daemon::signal(child, "HUP");
        }
    }

    fn config_path(&self) -> PathBuf {
        self.scratch.path().join("nats-server.conf")
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it takes to be let in as its operator.
    pub(crate) fn options(&self) -> async_nats::ConnectOptions {
        let options = async_nats::ConnectOptions::new();
        if let Some(credentials) = &self.credentials {
            options.credentials(credentials).expect("they are well formed")
        } else if self.guarded {
            options.user_and_password(OPERATOR.to_owned(), OPERATOR.to_owned())
        } else {
            options
        }
    }

    /// Runs it, on the port and store it always had, and waits until JetStream answers.
    pub(crate) async fn run(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("open the server's log");
        let child = Command::new(self.release.binary())
            .args(["--addr", "127.0.0.1", "--port"])
            .arg(self.port.to_string())
            .args(["--jetstream", "--store_dir"])
            .arg(self.scratch.path().join("store"))
            .args(if self.config_path().exists() {
                vec!["--config".into(), self.config_path().into_os_string()]
            } else {
                Vec::new()
            })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("run nats-server");
        self.child = Some(child);
        until("nats-server to answer", async || {
            let client = self.options().connect(self.url()).await.ok()?;
            let context = async_nats::jetstream::new(client);
            context.query_account().await.ok()
        })
        .await;
    }

    /// Whether it runs.
    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Stops its process in its tracks.
    pub(crate) fn pause(&self) {
        super::daemon::signal(self.child.as_ref().expect("the server was started"), "STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        super::daemon::signal(self.child.as_ref().expect("the server was started"), "CONT");
    }

    /// `kill -9`.
    pub(crate) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill nats-server");
            child.wait().expect("wait for nats-server");
        }
    }

    /// Ends it as a crash would, and keeps its store as it is then.
    pub(crate) fn backup(&mut self) -> Scratch {
        self.kill9();
        let backup = Scratch::new();
        copy(&self.scratch.path().join("store"), &backup.path().join("store"));
        backup
    }

    /// Ends it, and puts a store from before in the place of its own.
    pub(crate) fn restore(&mut self, backup: &Scratch) {
        self.kill9();
        let store = self.scratch.path().join("store");
        fs::remove_dir_all(&store).expect("remove the store");
        copy(&backup.path().join("store"), &store);
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path().join("nats-server.log")
    }
}

/// Copies a directory, with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a directory");
    for entry in fs::read_dir(from).expect("read a directory") {
        let entry = entry.expect("read a directory");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("ask what a file is").is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("copy a file");
        }
    }
}

impl Drop for NatsServer {
    #[expect(clippy::print_stderr, reason = "a failed test shows what its server said")]
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log_path()).unwrap_or_default();
            for line in log.lines().filter(|line| !line.contains("[INF]")) {
                eprintln!("nats-server: {line}");
            }
        }
    }
}
