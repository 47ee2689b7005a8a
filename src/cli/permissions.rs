//! `nalpaca permissions`: what a user of NATS is allowed to say and hear, role by role, in the forms servers take.

use clap::{Args, ValueEnum};

use super::{Exit, output};
use crate::bus::permissions::{Permissions, Role, inbox_prefix};
use crate::config::{self, ProcessEnvironment};
use crate::wire::subject::Subjects;

#[derive(Debug, Args)]
#[command(after_help = "\
Names of streams, buckets and subjects are those of the environment (PREFIX, ACTION_STREAM and so on).
Every user has its answers under a prefix of its own: give it to the client as the inbox prefix
(NATS_INBOX_PREFIX for the daemon and for nats, --inbox-prefix elsewhere), or requests go unanswered.

Examples:
  nalpaca permissions gateway                            for the daemon, with PROVISION=verify
  nalpaca permissions gateway provisioner --user nalpaca for a daemon that makes its objects
  nalpaca permissions strategy --user momentum           may send what begins with momentum.
  nalpaca permissions reader trader --user desk          two roles in one user
  nalpaca permissions reader --output nsc                a command that adds the user")]
pub(super) struct Arguments {
    /// What the user does.
    #[arg(required = true, value_enum)]
    roles: Vec<RoleName>,
    /// Name of the user; of a strategy, also the first token of its ids. Default: the first role.
    #[arg(long, value_parser = user_name)]
    user: Option<String>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = Output::Conf)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// An entry for `users` in a server's configuration file.
    Conf,
    /// The claim `nats` of a user's JWT.
    Jwt,
    /// A command for nsc.
    Nsc,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Gateway => Self::Gateway,
            RoleName::Trader => Self::Trader,
            RoleName::Strategy => Self::Strategy,
            RoleName::KillSwitch => Self::KillSwitch,
            RoleName::Reader => Self::Reader,
            RoleName::Operator => Self::Operator,
            RoleName::Provisioner => Self::Provisioner,
        }
    }
}

/// One token of a subject that needs no escape.
fn user_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("write 1 to 64 of A-Z a-z 0-9 - _".to_owned())
    }
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match config::load_for_nats(&ProcessEnvironment) {
        Ok(config) => config,
        Err(errors) => {
            output::complain(format_args!("nalpaca permissions: {errors}"));
            return Exit::Config;
        }
    };
    let roles: Vec<Role> = arguments.roles.iter().map(|name| (*name).into()).collect();
    let is_strategy = roles.contains(&Role::Strategy);
    let user = match (&arguments.user, roles.first()) {
        (Some(user), _) => user.clone(),
        (None, Some(role)) if !is_strategy => role.as_str().to_owned(),
        (None, _) => {
            output::complain("nalpaca permissions: which strategy? Add --user NAME");
            return Exit::Usage;
        }
    };
    let subjects = Subjects::new(config.prefix.clone());
    let permissions = Permissions::of(&roles, &user, &config.objects, &subjects);
    output::answer(match arguments.output {
        Output::Conf => format!(
            "# {}; inbox prefix {}\n{}",
            words(&roles),
            inbox_prefix(&user),
            permissions.to_conf(&user)
        ),
        Output::Jwt => format!("{:#}\n", permissions.to_claims()),
        Output::Nsc => permissions.to_nsc(&user),
    })
}

fn words(roles: &[Role]) -> String {
    let words: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_can_be_named() {
        let named: Vec<Role> = RoleName::value_variants()
            .iter()
            .map(|name| (*name).into())
            .collect();
        assert_eq!(named, Role::ALL);
        for name in RoleName::value_variants() {
            let word = name.to_possible_value().unwrap();
            assert_eq!(word.get_name(), Role::from(*name).as_str());
        }
    }

    #[test]
    fn a_user_is_one_plain_token() {
        assert_eq!(user_name("mean-reversion_2").as_deref(), Ok("mean-reversion_2"));
        for wrong in ["", "a.b", "a>", "*", "a b", "ü"] {
            assert!(user_name(wrong).is_err(), "{wrong}");
        }
    }
}
