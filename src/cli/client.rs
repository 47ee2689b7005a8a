//! What the commands that speak to a running gateway share: its address, its answers, and how they are shown.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{Exit, nats, output};
use crate::bus::Connection;
use crate::bus::ask::{AskError, ask};
use crate::config::Config;
use crate::wire::subject::Subjects;
use crate::wire::{Encoded, decode_to_json};

/// Longest wait for the gateway to say whose money it trades.
const ENVIRONMENT_PATIENCE: Duration = Duration::from_secs(3);

/// What every command that speaks to the gateway takes.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Common {
    /// A table for people, or JSON for programs: the message as proto/ has it, names and all.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    /// Seconds to wait for NATS and for each answer.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub(super) timeout: u64,
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Common {
    pub(super) const fn is_json(&self) -> bool {
        matches!(self.output, Output::Json)
    }

    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout.max(1))
    }
}

/// A connection to the gateway's NATS.
pub(super) struct Client {
    pub(super) command: &'static str,
    pub(super) config: Config,
    pub(super) connection: Connection,
    pub(super) subjects: Subjects,
    pub(super) patience: Duration,
}

impl Client {
    /// Connects. What is wrong is told.
    pub(super) async fn connect(command: &'static str, common: &Common) -> Result<Self, Exit> {
        let config = nats::settings(command)?;
        let connection = nats::connect(command, &config, common.patience()).await?;
        let subjects = Subjects::new(config.prefix.clone());
        Ok(Self {
            command,
            config,
            connection,
            subjects,
            patience: common.patience(),
        })
    }

    /// Asks the service, and reads the answer.
    pub(super) async fn try_ask(
        &self,
        endpoint: &str,
        question: Encoded,
        reply: &str,
    ) -> Result<Value, AskError> {
        self.ask_within(endpoint, question, reply, self.patience).await
    }

    async fn ask_within(
        &self,
        endpoint: &str,
        question: Encoded,
        reply: &str,
        patience: Duration,
    ) -> Result<Value, AskError> {
        let answer = ask(&self.connection, &self.subjects, endpoint, question, patience).await?;
        let json =
            decode_to_json(reply, &answer, false).map_err(|error| AskError::Failed(error.to_string()))?;
        serde_json::from_str(&json).map_err(|error| AskError::Failed(error.to_string()))
    }

    /// As [`Client::try_ask`]; what is wrong is told.
    pub(super) async fn ask(&self, endpoint: &str, question: Encoded, reply: &str) -> Result<Value, Exit> {
        self.try_ask(endpoint, question, reply).await.map_err(|error| {
            self.complain(&error);
            match error {
                AskError::Nobody | AskError::Late(_) => Exit::Unavailable,
                AskError::Refused(refused) if matches!(refused.code, 503 | 504) => Exit::Unavailable,
                AskError::Refused(_) | AskError::Failed(_) => Exit::Refused,
            }
        })
    }

    /// Says what is wrong.
    pub(super) fn complain(&self, what: &dyn std::fmt::Display) {
        output::complain(format_args!("nalpaca {}: {what}", self.command));
    }

    /// Whose money it is, as the gateway says: `paper`, `sim` or `live`.
    pub(super) async fn environment(&self) -> Result<String, AskError> {
        // Who may not ask gets no answer at all, and is not to wait for it long.
        let patience = self.patience.min(ENVIRONMENT_PATIENCE);
        let state = self
            .ask_within(
                "state.get",
                Encoded::empty(),
                "tradesvc.v0.GatewayState",
                patience,
            )
            .await?;
        Ok(state["environment"].as_str().unwrap_or_default().to_owned())
    }

    /// Shows whose money is traded, and asks before it is real: on a terminal with a question, elsewhere for `--yes`.
    pub(super) async fn confirm(&self, what: &str, yes: bool) -> Result<(), Exit> {
        let environment = match self.environment().await {
            Ok(environment) => environment,
            // Who may trade need not be allowed to look. What is not known is taken for real.
            Err(AskError::Refused(_) | AskError::Failed(_) | AskError::Late(_)) => "live".to_owned(),
            Err(AskError::Nobody) => {
                if !yes {
                    self.complain(&"no gateway answers, so it is not known whose money this is; it would be executed when one \
                                    comes, until its deadline. Start the gateway, or say --yes");
                    return Err(Exit::Unavailable);
                }
                "unknown".to_owned()
            }
        };
        output::complain(format_args!("{}: {what}", environment.to_ascii_uppercase()));
        if yes || environment != "live" {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            self.complain(&"this is real money; say --yes");
            return Err(Exit::Usage);
        }
        let mut stderr = std::io::stderr();
        // A question nobody sees is not answered.
        let _ = write!(stderr, "This is real money. Type yes to go on: ").and_then(|()| stderr.flush());
        let mut answer = String::new();
        match std::io::stdin().read_line(&mut answer) {
            Ok(_) if answer.trim() == "yes" => Ok(()),
            Ok(_) | Err(_) => {
                self.complain(&"nothing was done");
                Err(Exit::Usage)
            }
        }
    }
}

/// A message for programs.
pub(super) fn json(message: &Value) -> Exit {
    output::answer(format_args!("{message:#}\n"))
}

/// Who asks, for the record: the user at this machine.
pub(super) fn whoami() -> String {
    use crate::config::{ProcessEnvironment, Source as _};
    let name = |variable: &str| {
        let text = ProcessEnvironment.variable(variable)?.into_string().ok()?;
        (!text.is_empty()).then_some(text)
    };
    let user = name("USER")
        .or_else(|| name("LOGNAME"))
        .unwrap_or_else(|| "somebody".to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}").replace(char::is_control, " ")
}
