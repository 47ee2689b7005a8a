//! The binary as it is shipped, as a child process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::scratch::{Scratch, free_port};
use super::until;

/// The key id the daemon is given, and the simulator wants.
pub(crate) const KEY: &str = "PKCANARYKEYID0000001";
/// The secret. It must show nowhere.
pub(crate) const SECRET: &str = "canarySecretThatMustShowNowhere0000000001";

/// Longest wait for one answer of the daemon's HTTP listener.
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);

/// Environment variables by name.
pub(crate) type Environment = BTreeMap<String, String>;

/// One daemon. It is killed when dropped; a failed test prints its log.
pub(crate) struct Daemon {
    environment: Environment,
    port: u16,
    /// Where its gRPC health service answers.
    pub(crate) health_port: u16,
    scratch: Scratch,
    child: Option<Child>,
}

/// An answer of the daemon's HTTP listener.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Daemon {
    /// Runs `nalpaca` with this environment and no other variable.
    pub(crate) fn start(environment: Environment) -> Self {
        let mut daemon = Self {
            environment,
            port: free_port(),
            health_port: free_port(),
            scratch: Scratch::new(),
            child: None,
        };
        daemon.run();
        daemon
    }

    /// Sets a variable for the next run.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Takes a variable away for the next run.
    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// Runs it again, as it was run before.
    pub(crate) fn run(&mut self) {
        assert!(self.child.is_none(), "the daemon runs already");
        let log = || {
            File::options()
                .create(true)
                .append(true)
                .open(self.log_path())
                .expect("open the daemon's log")
        };
        let child = Command::new(env!("CARGO_BIN_EXE_nalpaca"))
            .env_clear()
            .env("METRICS_PORT", self.port.to_string())
            .env("HEALTH_PORT", self.health_port.to_string())
            .envs(&self.environment)
            .current_dir(self.scratch.path())
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("run nalpaca");
        self.child = Some(child);
    }

    /// Waits until `/readyz` says 200.
    pub(crate) async fn ready(&mut self) {
        until("the daemon to be ready", async || {
            self.assert_alive();
            let answer = self.get("/readyz").await?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Waits until `/readyz` says 503, and a line of it holds this text.
    pub(crate) async fn not_ready(&mut self, because: &str) {
        until(&format!("the daemon to be unready for {because:?}"), async || {
            self.assert_alive();
            let answer = self.get("/readyz").await?;
            let failing = |line: &str| line.starts_with("[-]") && line.contains(because);
            (answer.status == 503 && answer.body.lines().any(failing)).then_some(())
        })
        .await;
    }

    fn assert_alive(&mut self) {
        let child = self.child.as_mut().expect("the daemon was started");
        if let Some(status) = child.try_wait().expect("ask for the daemon's status") {
            panic!("the daemon ended: {status}");
        }
    }

    /// Asks the HTTP listener. `None`: it does not answer.
    pub(crate) async fn get(&self, path: &str) -> Option<Answer> {
        let ask = async {
            let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            socket.write_all(request.as_bytes()).await.ok()?;
            let mut text = String::new();
            socket.read_to_string(&mut text).await.ok()?;
            let (head, body) = text.split_once("\r\n\r\n")?;
            let status = head.split(' ').nth(1)?.parse().ok()?;
            Some(Answer {
                status,
                body: body.to_owned(),
            })
        };
        tokio::time::timeout(HTTP_TIMEOUT, ask).await.ok().flatten()
    }

    /// Everything it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("read the daemon's log")
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path().join("nalpaca.log")
    }

    /// `kill -9`.
    pub(crate) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill nalpaca");
            child.wait().expect("wait for nalpaca");
        }
    }

    /// Sends SIGTERM and returns at once.
    pub(crate) fn tell_to_stop(&self) {
        let child = self.child.as_ref().expect("the daemon was started");
        signal(child, "TERM");
    }

    /// Whether its process has ended by itself, or by a signal of its own.
    pub(crate) fn has_ended(&mut self) -> bool {
        let Some(child) = &mut self.child else { return true };
        let ended = child.try_wait().expect("ask for the daemon's status").is_some();
        if ended {
            self.child = None;
        }
        ended
    }

    /// Whether its process stands still.
    pub(crate) fn is_stopped(&self) -> bool {
        let Some(child) = &self.child else { return false };
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        let state = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().next());
        state == Some("T")
    }

    /// Stops its process in its tracks.
    pub(crate) fn pause(&self) {
        signal(self.child.as_ref().expect("the daemon was started"), "STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        signal(self.child.as_ref().expect("the daemon was started"), "CONT");
    }

    /// A second one with the same environment, but for its name.
    pub(crate) fn another(&self, instance: &str) -> Self {
        let mut environment = self.environment.clone();
        environment.insert("INSTANCE".to_owned(), instance.to_owned());
        Self::start(environment)
    }

    /// Sends SIGUSR1.
    pub(crate) fn tell_to_halt(&self) {
        signal(self.child.as_ref().expect("the daemon was started"), "USR1");
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        signal(self.child.as_ref().expect("the daemon was started"), "HUP");
    }

    /// Waits for its end. Returns the exit code.
    pub(crate) async fn ended(&mut self) -> i32 {
        let child = self.child.as_mut().expect("the daemon was started");
        let status = ended(child).await;
        self.child = None;
        status.code().expect("it ended by itself")
    }

    /// Sends SIGTERM and waits. Returns the exit code.
    pub(crate) async fn terminate(&mut self) -> i32 {
        self.tell_to_stop();
        self.ended().await
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stderr, reason = "a failed test shows what its daemon said")]
    fn drop(&mut self) {
        self.kill9();
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        if std::thread::panicking() {
            eprintln!("--- nalpaca\n{log}");
        } else {
            assert!(!log.contains(SECRET), "the secret is in the daemon's log");
        }
    }
}

async fn ended(child: &mut Child) -> ExitStatus {
    until("a process to end", async || {
        child.try_wait().expect("ask for a process's status")
    })
    .await
}

/// Signals a process of ours. The standard library only knows how to kill.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("/bin/sh")
        .args(["-c", &format!("kill -{name} {}", child.id())])
        .status()
        .expect("run a shell");
    assert!(status.success(), "kill -{name} failed");
}

/// How a command ended.
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `nalpaca` with these arguments to its end.
pub(crate) async fn run(arguments: &[&str], environment: &Environment) -> Finished {
    let scratch = Scratch::new();
    let (out, err) = (scratch.path().join("stdout"), scratch.path().join("stderr"));
    let mut child = command(arguments, environment)
        .current_dir(scratch.path())
        .stdout(File::create(&out).expect("create a file for the output"))
        .stderr(File::create(&err).expect("create a file for the errors"))
        .spawn()
        .expect("run nalpaca");
    let status = ended(&mut child).await;
    Finished {
        code: status.code().expect("it ended by itself"),
        stdout: fs::read_to_string(&out).expect("read the output"),
        stderr: fs::read_to_string(&err).expect("read the errors"),
    }
}

/// A command that goes on until it is told to stop, or dropped.
pub(crate) struct Following {
    child: Child,
    scratch: Scratch,
}

impl Following {
    /// Runs `nalpaca` with these arguments.
    pub(crate) fn start(arguments: &[&str], environment: &Environment) -> Self {
        let scratch = Scratch::new();
        let file = |name: &str| File::create(scratch.path().join(name)).expect("create a file");
        let child = command(arguments, environment)
            .current_dir(scratch.path())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("run nalpaca");
        Self { child, scratch }
    }

    /// What it has written to standard output by now.
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.scratch.path().join("stdout")).expect("read the output")
    }

    /// What it has written to standard error by now.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.scratch.path().join("stderr")).expect("read the errors")
    }

    /// Tells it to stop, and gives its exit code.
    pub(crate) async fn stop(&mut self) -> i32 {
        signal(&self.child, "TERM");
        ended(&mut self.child).await.code().expect("it ended by itself")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It has ended already, or it is ended now.
        if self.child.kill().is_ok() {
            self.child.wait().expect("it ends");
        }
    }
}

/// Starts `nalpaca` with these arguments; what it says is lost. Whoever starts it ends it.
pub(crate) fn spawn(arguments: &[&str], environment: &Environment) -> Child {
    command(arguments, environment)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("run nalpaca")
}

fn command(arguments: &[&str], environment: &Environment) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nalpaca"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null());
    command
}
