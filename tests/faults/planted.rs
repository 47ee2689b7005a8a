//! Bugs somebody could make, each planted where it would be, and each caught: else the checker or the trials are blind.

use nalpaca::trial::{Bug, Point};

use super::crash::{Case, Victim};
use super::feed;
use super::market;
use super::matrix;
use super::trial::Report;
use super::wheel;

/// What catches a bug.
enum Net {
    Matrix(&'static str),
    Crash(Victim, Point),
    Feed(&'static str),
    Market(&'static str),
    Wheel(&'static str),
}

/// The trial that must catch a bug.
const fn net(bug: Bug) -> Net {
    match bug {
        Bug::AckFirst => Net::Matrix("daemon: kill -9 with orders in flight"),
        Bug::FreshIdOnRetry => Net::Matrix("venue: submit_order: cut-before-commit"),
        Bug::ServerErrorIsRefusal => Net::Matrix("venue: submit_order: status-after-commit 500"),
        Bug::TimeoutIsRefusal => Net::Matrix("venue: submit_order: hang-after-commit"),
        Bug::PacedIsRefusal => Net::Matrix("venue: submit_order: too-many retry-after 1s"),
        Bug::AccountIsRefusal => Net::Matrix("venue: refuses the account for 3 s"),
        Bug::DuplicateIsRefusal => Net::Matrix(matrix::DUPLICATE),
        Bug::OneAbsenceIsEnough => Net::Matrix("venue: does not know an order it took, for a while"),
        Bug::NoGrace => Net::Matrix("venue: submit_order: late-commit 4s"),
        Bug::BegunIsSent => Net::Crash(Victim::Order, Point::Answered),
        Bug::SuspectIsSent => Net::Matrix("nats: the store is rolled back"),
        Bug::NoDeadlineOnRedelivery => Net::Matrix("daemon: down past the deadlines"),
        Bug::DeadlineFromReading => Net::Matrix("daemon: down past the age of orders without a deadline"),
        Bug::DoubtExpires | Bug::InterimIsTheEnd | Bug::LateIsKept => {
            Net::Matrix("venue: past the deadline nobody knows, then it turns up")
        }
        Bug::HashIgnored | Bug::RepeatIsBegun => Net::Matrix("commands: published twice and in two versions"),
        Bug::OutcomeIdIsFresh => Net::Crash(Victim::Order, Point::Published),
        Bug::OutcomeIsNotPublished => Net::Crash(Victim::Refused, Point::Recorded),
        Bug::MarkIgnored => Net::Matrix("commands: cancels before, during and after"),
        Bug::WideCancelHasNoEnd => Net::Matrix("commands: a wide cancel in the middle of a load"),
        Bug::ReplaceIsNotFollowed => Net::Matrix("commands: a replace that loses to a fill"),
        Bug::CloseIsComputedAnew => Net::Crash(Victim::Close, Point::Answered),
        Bug::NoLanes => Net::Matrix("venue: submit_order: cut-before-commit"),
        Bug::PoisonTakesItsNeighbour | Bug::UnreadableIsSilent => {
            Net::Matrix("nats: poison between good orders")
        }
        Bug::StrandedIsForgotten => Net::Matrix("nats: stranded commands"),
        Bug::HandBackIsAck => Net::Matrix("daemon: SIGTERM with orders in flight"),
        Bug::CursorBeforePublish => Net::Feed(feed::CANCELED_MEANWHILE),
        Bug::KeyedByTimestamp => Net::Feed(feed::DROPPED),
        Bug::NoBackFill | Bug::HeardBeforeMissed => Net::Feed(feed::GAP),
        Bug::KeyedByQuantity | Bug::FillIsNotRead | Bug::OlderOverwrites | Bug::FlatIsNotWritten => {
            Net::Feed(feed::FLAT)
        }
        Bug::RepeatIsNews => Net::Feed(feed::DUPLICATE),
        Bug::BackFromTheEnd => Net::Feed(feed::REORDER),
        Bug::GapIsIgnored => Net::Feed(feed::LOSE),
        Bug::CleanEndIsCalm => Net::Feed(feed::ENDED),
        Bug::SilenceIsCalm => Net::Feed(feed::MUTE),
        Bug::FullIsDropped => Net::Feed(feed::BURST),
        Bug::UnreadableIsPassedOver => Net::Feed(feed::UNREADABLE),
        Bug::ElsewhereIsIgnored => Net::Feed(feed::FLAT),
        Bug::FreshOnATimer => Net::Feed(feed::POSITIONS_FAIL),
        Bug::BlindIsFresh => Net::Feed(feed::REFUSED),
        Bug::MissedBarsAreForgotten => Net::Market(market::AWAY),
        Bug::NobodyWasBeforeUs => Net::Market(market::KILLED),
        Bug::BarsHaveNoIdentity => Net::Market(market::DUPLICATE),
        Bug::HaltIsOnlyTold => Net::Wheel(wheel::HALT),
        Bug::HaltIsNotKept => Net::Wheel(wheel::HALT_KILLED),
        Bug::BegunIsNotCounted => Net::Wheel(wheel::OPEN_ORDERS),
        Bug::DayBeginsWithUs => Net::Wheel(wheel::ORDERS_A_DAY),
        Bug::LeaseIgnored => Net::Matrix("daemon: a leader asleep before its last check, and a standby"),
    }
}

/// How often a trial that leaves something to chance may miss a bug.
const TRIES: u64 = 3;

/// Runs the trial that must catch it. Good is a report that broke a promise.
pub(crate) async fn run(bug: Bug, seed: u64) -> Report {
    let mut report = once(bug, seed).await;
    for again in 1..TRIES {
        if report.caught.is_some() {
            break;
        }
        report = once(bug, seed.wrapping_add(again * 1_000_003)).await;
    }
    report
}

async fn once(bug: Bug, seed: u64) -> Report {
    let mut report = match net(bug) {
        Net::Matrix(name) => matrix::named(name).run(seed, Some(bug.as_str())).await,
        Net::Feed(name) => feed::named(name).run(seed, Some(bug.as_str())).await,
        Net::Market(name) => market::named(name).run(seed, Some(bug.as_str())).await,
        Net::Wheel(name) => wheel::Scenario { name }.run(seed, Some(bug.as_str())).await,
        Net::Crash(victim, point) => Case::new(victim, point).run_with(seed, Some(bug.as_str())).await,
    };
    let trial = std::mem::replace(&mut report.name, format!("planted bug: {}", bug.as_str()));
    if report.void.is_none() {
        match report.violations.first() {
            Some(violation) => {
                report.caught = Some(format!("{} in {trial:?}", violation.wrong.as_str()));
                report.violations.clear();
            }
            None => report.void = Some(format!("not caught by {trial:?}")),
        }
    }
    report
}
