//! Who may say what on NATS: for each role, the subjects it may publish and subscribe.
//!
//! Everything is allowed by name, nothing by exclusion. No role but the provisioner's may create a consumer: whoever can,
//! can have the server send stored messages to any subject, past its own permissions, as long as some stream holds
//! bytes of its choice. Subjects for answers are not checked by the server at all, which is why the gateway takes no
//! command that is an answer ([`super::Delivery::is_an_answer`]).

use serde_json::{Value, json};

use super::broadcast::LAST_BUCKET;
use super::bucket::key_subject;
use super::topology::LEASES_BUCKET;
use crate::config::ObjectNames;
use crate::domain::CommandKind;
use crate::wire::subject::{Subjects, encode_token};

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The daemon, on objects that are there.
    Gateway,
    /// Sends any command of the account, and sees what becomes of it.
    Trader,
    /// Sends commands whose ids begin with its name, and sees what becomes of those.
    Strategy,
    /// Cancels everything that is open, and nothing else.
    KillSwitch,
    /// Sees everything, changes nothing.
    Reader,
    /// Sees everything, may cancel, and asks the gateway's service.
    Operator,
    /// Makes and edits streams, consumers and buckets.
    Provisioner,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::Gateway,
        Self::Trader,
        Self::Strategy,
        Self::KillSwitch,
        Self::Reader,
        Self::Operator,
        Self::Provisioner,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Trader => "trader",
            Self::Strategy => "strategy",
            Self::KillSwitch => "kill-switch",
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Provisioner => "provisioner",
        }
    }
}

/// What one user may say and hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects it may publish.
    pub publish: Vec<String>,
    /// Subjects it may subscribe.
    pub subscribe: Vec<String>,
    /// It may answer whoever asks it something.
    pub answers: bool,
}

impl Permissions {
    /// What these roles take together, for a user of this name, whose answers arrive under `_INBOX_<name>`. The name is
    /// also the strategy's.
    pub fn of(roles: &[Role], user: &str, names: &ObjectNames, subjects: &Subjects) -> Self {
        let mut all = Self::default();
        let site = Site { names, subjects };
        for role in roles {
            let of_role = match role {
                Role::Gateway => site.gateway(),
                Role::Trader => site.trader(),
                Role::Strategy => site.strategy(user),
                Role::KillSwitch => site.kill_switch(),
                Role::Reader => site.reader(),
                Role::Operator => site.operator(),
                Role::Provisioner => site.provisioner(),
            };
            all.publish.extend(of_role.publish);
            all.subscribe.extend(of_role.subscribe);
            all.answers |= of_role.answers;
        }
        all.subscribe.push(format!("{}.>", inbox_prefix(user)));
        for subjects in [&mut all.publish, &mut all.subscribe] {
            subjects.sort();
            subjects.dedup();
        }
        all
    }

    /// As a server's configuration file has it.
    pub fn to_conf(&self, user: &str) -> String {
        let list = |subjects: &[String]| {
            let lines: Vec<String> = subjects
                .iter()
                .map(|subject| format!("        {subject:?}\n"))
                .collect();
            lines.concat()
        };
        format!(
            "{{\n  user: {user:?}, password: $NATS_PASSWORD_{}\n  permissions: {{\n    publish: {{\n      allow: [\n{}      ]\n    }}\n    subscribe: {{\n      allow: [\n{}      ]\n    }}\n{}  }}\n}}\n",
            user.to_uppercase()
                .replace(|c: char| !c.is_ascii_alphanumeric(), "_"),
            list(&self.publish),
            list(&self.subscribe),
            if self.answers {
                "    allow_responses: { max: 1, expires: \"1m\" }\n"
            } else {
                ""
            },
        )
    }

    /// As the claims of a user's JWT have it.
    pub fn to_claims(&self) -> Value {
        let mut claims = json!({
            "pub": { "allow": self.publish },
            "sub": { "allow": self.subscribe },
            "subs": -1,
            "data": -1,
            "payload": -1,
            "type": "user",
            "version": 2,
        });
        if self.answers {
            claims["resp"] = json!({ "max": 1, "ttl": 60_000_000_000_u64 });
        }
        claims
    }

    /// As the command that adds the user with NATS' own tool.
    pub fn to_nsc(&self, user: &str) -> String {
        let quoted = |subjects: &[String]| {
            let quoted: Vec<String> = subjects.iter().map(|subject| format!("'{subject}'")).collect();
            quoted.join(",")
        };
        format!(
            "nsc add user --name {user} \\\n  --allow-pub {} \\\n  --allow-sub {}{}\n",
            quoted(&self.publish),
            quoted(&self.subscribe),
            if self.answers {
                " \\\n  --allow-pub-response=1 --response-ttl 1m"
            } else {
                ""
            },
        )
    }
}

/// Where the answers to a user's requests arrive: its own place, which nobody else may read.
pub fn inbox_prefix(user: &str) -> String {
    format!("_INBOX_{user}")
}

/// The names of one gateway's objects and subjects.
struct Site<'a> {
    names: &'a ObjectNames,
    subjects: &'a Subjects,
}

impl Site<'_> {
    fn streams(&self) -> [String; 7] {
        let names = self.names;
        [
            names.action_stream.clone(),
            names.data_stream.clone(),
            names.journal_stream.clone(),
            format!("KV_{}", names.bucket),
            format!("KV_{}", names.orders_bucket),
            format!("KV_{LAST_BUCKET}"),
            format!("KV_{LEASES_BUCKET}"),
        ]
    }

    fn consumers(&self) -> [(&str, &str); 3] {
        let names = self.names;
        [
            (&names.action_stream, &names.orders_consumer),
            (&names.action_stream, &names.cancel_consumer),
            (&names.data_stream, &names.trade_update_consumer),
        ]
    }

    fn gateway(&self) -> Permissions {
        let names = self.names;
        let action = &names.action_stream;
        let mirrors = &names.bucket;
        let mut publish = vec![
            self.subjects.journal(),
            self.subjects.all_data(),
            key_subject(mirrors, ">"),
            key_subject(&names.orders_bucket, ">"),
            key_subject(LAST_BUCKET, ">"),
            format!("$JS.ACK.{action}.>"),
            // Who listens to what, of this account alone.
            super::interest::QUESTION.to_owned(),
        ];
        // orders.submit publishes what it is given, so that it goes the way of every command.
        // One line: a JWT has to fit into the server's `max_control_line`, 4 KiB.
        publish.push(self.subjects.all_commands());
        publish.push(self.subjects.json_copies(">"));
        for stream in self.streams() {
            publish.push(format!("$JS.API.STREAM.INFO.{stream}"));
            publish.push(format!("$JS.API.STREAM.MSG.GET.{stream}"));
        }
        for (stream, consumer) in self.consumers() {
            publish.push(format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}"));
        }
        for consumer in [&names.orders_consumer, &names.cancel_consumer] {
            publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{action}.{consumer}"));
        }
        Permissions {
            publish,
            subscribe: vec![
                self.subjects.service(">"),
                "$SRV.>".to_owned(),
                // Renewals of strategies' leases.
                key_subject(LEASES_BUCKET, ">"),
            ],
            answers: true,
        }
    }

    fn trader(&self) -> Permissions {
        let mut publish = self.subjects.commands();
        publish.extend(
            ["state.get", "orders.submit", "orders.cancel"].map(|endpoint| self.subjects.service(endpoint)),
        );
        Permissions {
            publish,
            subscribe: vec![
                self.subjects.outcome(">"),
                self.subjects.every_update(),
                self.subjects.trade_updates(),
                self.subjects.json_copies("journal.v0.>"),
            ],
            answers: false,
        }
    }

    fn strategy(&self, name: &str) -> Permissions {
        let token = encode_token(name);
        let kinds = [
            CommandKind::Order,
            CommandKind::Cancel,
            CommandKind::Replace,
            CommandKind::Close,
        ];
        let mut publish: Vec<String> = kinds
            .iter()
            .map(|kind| self.subjects.command_spelled(*kind, &format!("{token}.>")))
            .collect();
        publish.push(key_subject(LEASES_BUCKET, &token));
        // Whose money it is, and what is let through.
        publish.push(self.subjects.service("state.get"));
        Permissions {
            publish,
            subscribe: vec![
                self.subjects.outcome(&format!("{token}.>")),
                self.subjects.update_spelled(&format!("{token}.>")),
                self.subjects.json_copies(&format!("journal.v0.*.{token}.>")),
            ],
            answers: false,
        }
    }

    fn kill_switch(&self) -> Permissions {
        Permissions {
            publish: vec![
                self.subjects.command_spelled(CommandKind::Cancel, "ALL"),
                self.subjects.service("orders.cancel"),
                self.subjects.service("admin.halt"),
                self.subjects.service("admin.cancel_only"),
            ],
            subscribe: vec![self.subjects.outcome("ALL")],
            answers: false,
        }
    }

    fn reader(&self) -> Permissions {
        let names = self.names;
        let (data, journal, updates) = (
            &names.data_stream,
            &names.journal_stream,
            &names.trade_update_consumer,
        );
        let mut publish = vec![
            format!("$JS.API.CONSUMER.INFO.{data}.{updates}"),
            format!("$JS.API.CONSUMER.MSG.NEXT.{data}.{updates}"),
            format!("$JS.ACK.{data}.{updates}.>"),
            // The ledger is read through its leader.
            format!("$JS.API.STREAM.MSG.GET.KV_{}", names.orders_bucket),
            // And so is the journal, by `nalpaca replay` and `nalpaca order`.
            format!("$JS.API.STREAM.MSG.GET.{journal}"),
        ];
        let direct = [
            journal.clone(),
            format!("KV_{}", names.bucket),
            format!("KV_{LAST_BUCKET}"),
        ];
        for stream in &direct {
            publish.push(format!("$JS.API.DIRECT.GET.{stream}"));
            publish.push(format!("$JS.API.DIRECT.GET.{stream}.>"));
        }
        let ledger = format!("KV_{}", names.orders_bucket);
        for stream in direct.iter().chain([data, &ledger]) {
            publish.push(format!("$JS.API.STREAM.INFO.{stream}"));
        }
        for read in [
            "state.get",
            "account.get",
            "positions.get",
            "orders.list",
            "orders.get",
            "assets.get",
            "clock.get",
            "subscriptions.list",
            "bars.history",
            "limits.get",
            "schema",
        ] {
            publish.push(self.subjects.service(read));
        }
        Permissions {
            publish,
            subscribe: vec![
                self.subjects.journal(),
                self.subjects.all_data(),
                key_subject(&names.bucket, ">"),
                key_subject(&names.orders_bucket, ">"),
                key_subject(LAST_BUCKET, ">"),
                self.subjects.json_copies(">"),
            ],
            answers: false,
        }
    }

    fn operator(&self) -> Permissions {
        let mut operator = self.reader();
        operator.publish.extend([
            self.subjects.commands_of(CommandKind::Cancel),
            // Everything that can be asked, but for orders.submit.
            self.subjects.service("orders.cancel"),
            self.subjects.service("admin.*"),
            self.subjects.service("subscriptions.*"),
            "$SRV.>".to_owned(),
        ]);
        operator
    }

    fn provisioner(&self) -> Permissions {
        let mut publish = Vec::new();
        for stream in self.streams() {
            for action in ["INFO", "CREATE", "UPDATE"] {
                publish.push(format!("$JS.API.STREAM.{action}.{stream}"));
            }
        }
        for (stream, consumer) in self.consumers() {
            publish.push(format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}"));
            // With the filter behind it, where there is one.
            publish.push(format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}"));
            publish.push(format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}.>"));
        }
        Permissions {
            publish,
            subscribe: Vec::new(),
            answers: false,
        }
    }
}
