//! Where a trial may end or stop the process, and which bugs it may plant.
//!
//! Compiled into builds with the feature `trial` alone, which only `make faults` makes; in every other build what is
//! called here is nothing. A point lies between every two steps of the order path and of the drop copy. A trial names one of them in
//! `NALPACA_TRIAL_POINT`, as `point:kill:text` or `point:stop:text`: the first command whose id holds the text and
//! which comes by is where the process ends as `kill -9` ends it, or stops until somebody lets it go on. A planted bug
//! (`NALPACA_TRIAL_BUG`) shows that whoever judges the trials would see it.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// A place between two steps of the order path.
    Point {
        /// In hand, not read yet.
        Taken = "taken",
        /// Read; its place in the lane is not taken.
        Read = "read",
        /// Its turn has come.
        Turn = "turn",
        /// The ledger was read, or need not be, and nothing is decided.
        LedgerRead = "ledger-read",
        /// What is to be sent for it was found out.
        Prepared = "prepared",
        /// The intent is in the ledger.
        IntentWritten = "intent-written",
        /// It may be sent; the last check is still to come.
        Permitted = "permitted",
        /// The last check is passed, and no byte is written.
        Checked = "checked",
        /// The request is on the wire, and its answer is not there.
        OnTheWire = "on-the-wire",
        /// The venue has answered, and the answer is not judged.
        Answered = "answered",
        /// The venue is about to be asked what became of it.
        Asking = "asking",
        /// The venue has said what became of it.
        Asked = "asked",
        /// The outcome is known, and nowhere written.
        Known = "known",
        /// An acceptance is in the journal, and not in the ledger. Both are written at once; a trial that waits here has the journal first.
        Told = "told",
        /// The outcome is in the ledger.
        Recorded = "recorded",
        /// The outcome is in the journal.
        Published = "published",
        /// A refusal was told to the listeners of trade updates.
        RefusalTold = "refusal-told",
        /// The ack is about to be sent.
        Acking = "acking",
        /// The ack is confirmed.
        Acked = "acked",
        /// A cancel has left its mark.
        Marked = "marked",
        /// A cancel is about to be sent to the venue.
        Canceling = "canceling",
        /// The venue has answered to a cancel.
        Canceled = "canceled",
        /// An order event was heard, and nothing is done with it.
        FeedHeard = "feed-heard",
        /// It is news, and told to nobody.
        FeedJudged = "feed-judged",
        /// It was fanned out, and is not in the journal.
        FeedFannedOut = "feed-fanned-out",
        /// It is in the journal, and nobody here knows.
        FeedStored = "feed-stored",
        /// Positions and order states were told of it; the watermark is behind it.
        FeedTold = "feed-told",
        /// The watermark is about to be written.
        FeedMarking = "feed-marking",
        /// The watermark is written.
        FeedMarked = "feed-marked",
        /// The venue has said what it remembers, and nothing of it is told.
        FeedRemembered = "feed-remembered",
        /// What was missed is told; the watermark is behind it.
        FeedCaughtUp = "feed-caught-up",
        /// The state of an order is about to be written.
        StateWriting = "state-writing",
        /// The state of an order is written.
        StateWritten = "state-written",
        /// The positions are read, and not written.
        PositionsRead = "positions-read",
        /// The list of positions is written, the single ones are not.
        PositionsHalf = "positions-half",
    }
}

words! {
    /// A mistake somebody could make.
    Bug {
        /// The ack goes out before anything is done.
        AckFirst = "ack-first",
        /// A retry takes a new client order id.
        FreshIdOnRetry = "fresh-id-on-retry",
        /// A server error is taken for a refusal.
        ServerErrorIsRefusal = "server-error-is-refusal",
        /// A timeout is taken for a refusal.
        TimeoutIsRefusal = "timeout-is-refusal",
        /// "Too many requests" is taken for a refusal.
        PacedIsRefusal = "paced-is-refusal",
        /// A refused account is taken for a refused order.
        AccountIsRefusal = "account-is-refusal",
        /// "The id is taken" is taken for a refusal.
        DuplicateIsRefusal = "duplicate-is-refusal",
        /// One look that finds nothing counts as absence.
        OneAbsenceIsEnough = "one-absence-is-enough",
        /// An order is absent without a grace for requests on their way.
        NoGrace = "no-grace",
        /// What was begun is sent again without asking.
        BegunIsSent = "begun-is-sent",
        /// What may have been sent is sent without asking.
        SuspectIsSent = "suspect-is-sent",
        /// A redelivery has no deadline.
        NoDeadlineOnRedelivery = "no-deadline-on-redelivery",
        /// The deadline counts from when the command was read.
        DeadlineFromReading = "deadline-from-reading",
        /// At the deadline doubt ends as expiry.
        DoubtExpires = "doubt-expires",
        /// The interim outcome settles the command.
        InterimIsTheEnd = "interim-is-the-end",
        /// A late order is left working.
        LateIsKept = "late-is-kept",
        /// Another payload under a known id repeats the known outcome.
        HashIgnored = "hash-ignored",
        /// A known id is begun again.
        RepeatIsBegun = "repeat-is-begun",
        /// Each publication of an outcome has a message id of its own.
        OutcomeIdIsFresh = "outcome-id-is-fresh",
        /// The outcome is acked away without being published.
        OutcomeIsNotPublished = "outcome-is-not-published",
        /// A cancel that comes first is forgotten.
        MarkIgnored = "mark-ignored",
        /// A wide cancel takes down what came after it.
        WideCancelHasNoEnd = "wide-cancel-has-no-end",
        /// A replace is done when the venue takes it.
        ReplaceIsNotFollowed = "replace-is-not-followed",
        /// A resumed close is computed anew.
        CloseIsComputedAnew = "close-is-computed-anew",
        /// Orders of one symbol do not wait for each other.
        NoLanes = "no-lanes",
        /// Poison is terminated together with what was delivered beside it.
        PoisonTakesItsNeighbour = "poison-takes-its-neighbour",
        /// What cannot be read is terminated without an outcome.
        UnreadableIsSilent = "unreadable-is-silent",
        /// What was delivered and is in nobody's hand is not looked for.
        StrandedIsForgotten = "stranded-is-forgotten",
        /// What is handed back at the stop is acked.
        HandBackIsAck = "hand-back-is-ack",
        /// The lease is not asked before a POST or a write.
        LeaseIgnored = "lease-ignored",
        /// The watermark moves before the event is stored, and is trusted to the instant.
        CursorBeforePublish = "cursor-before-publish",
        /// An event's identity is when it was told.
        KeyedByTimestamp = "keyed-by-timestamp",
        /// A fill's identity is its own quantity.
        KeyedByQuantity = "keyed-by-quantity",
        /// What the venue repeats is published again.
        RepeatIsNews = "repeat-is-news",
        /// An old event brings an order that is over back to life.
        BackFromTheEnd = "back-from-the-end",
        /// A stream that comes up is listened to, and what came before it is not asked for.
        NoBackFill = "no-back-fill",
        /// What is heard after a gap is published before what was missed.
        HeardBeforeMissed = "heard-before-missed",
        /// A fill above one that was not heard does not wait for it.
        GapIsIgnored = "gap-is-ignored",
        /// A clean end of the stream is no fault.
        CleanEndIsCalm = "clean-end-is-calm",
        /// A stream that says nothing has nothing to say.
        SilenceIsCalm = "silence-is-calm",
        /// What is heard while there is no room is dropped.
        FullIsDropped = "full-is-dropped",
        /// What cannot be read is passed over.
        UnreadableIsPassedOver = "unreadable-is-passed-over",
        /// Orders placed elsewhere have no state.
        ElsewhereIsIgnored = "elsewhere-is-ignored",
        /// A flat account is not written.
        FlatIsNotWritten = "flat-is-not-written",
        /// Positions are dated anew by a timer, whether they were read or not.
        FreshOnATimer = "fresh-on-a-timer",
        /// A statement is written after the one that followed it.
        OlderOverwrites = "older-overwrites",
        /// Positions stay fresh while no fill can be seen.
        BlindIsFresh = "blind-is-fresh",
        /// A fill does not have the positions read again.
        FillIsNotRead = "fill-is-not-read",
        /// A halt is acknowledged, and orders go on.
        HaltIsOnlyTold = "halt-is-only-told",
        /// A halt ends with the process.
        HaltIsNotKept = "halt-is-not-kept",
        /// An order counts for the limits when the venue has it, and not before.
        BegunIsNotCounted = "begun-is-not-counted",
        /// Orders of before the start do not count for the day.
        DayBeginsWithUs = "day-begins-with-us",
        /// Minute bars of while a stream was away are not asked for.
        MissedBarsAreForgotten = "missed-bars-are-forgotten",
        /// Nor are those of while the daemon was.
        NobodyWasBeforeUs = "nobody-was-before-us",
        /// A bar that comes twice is two messages.
        BarsHaveNoIdentity = "bars-have-no-identity",
    }
}

/// A command with this id comes by.
#[cfg(not(feature = "trial"))]
#[inline]
pub fn at(_point: Point, _id: &str) {}

/// Whether a trial waits at a point.
#[cfg(not(feature = "trial"))]
#[inline]
pub const fn waits_at(_point: Point) -> bool {
    false
}

/// Whether a bug is planted.
#[cfg(not(feature = "trial"))]
#[inline]
pub const fn planted(_bug: Bug) -> bool {
    false
}

/// Lets a request on its way be a point, too.
#[cfg(not(feature = "trial"))]
pub async fn on_the_wire<T>(_id: &str, request: impl Future<Output = T>) -> T {
    request.await
}

#[cfg(feature = "trial")]
pub use armed::{at, on_the_wire, planted, waits_at};

#[cfg(feature = "trial")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::{Bug, Point};

    /// After so long a request counts as being on the wire. The trial has the venue answer later.
    const ON_THE_WIRE: Duration = Duration::from_millis(40);

    struct Trap {
        point: Point,
        signal: Signal,
        text: String,
    }

    static TRAP: OnceLock<Option<Trap>> = OnceLock::new();

    /// Whether a trial waits at a point.
    pub fn waits_at(point: Point) -> bool {
        TRAP.get_or_init(trap)
            .as_ref()
            .is_some_and(|trap| trap.point == point)
    }

    /// A command with this id comes by.
    pub fn at(point: Point, id: &str) {
        static SPRUNG: AtomicBool = AtomicBool::new(false);
        let Some(trap) = TRAP.get_or_init(trap) else {
            return;
        };
        if trap.point != point || !id.contains(&trap.text) || SPRUNG.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Err(error) = kill_process(getpid(), trap.signal) {
            panic!("the trial's signal was not sent: {error}");
        }
        // The signal is delivered before this process runs on.
    }

    /// Lets a request on its way be a point, too.
    pub async fn on_the_wire<T>(id: &str, request: impl Future<Output = T>) -> T {
        tokio::pin!(request);
        if let Ok(done) = tokio::time::timeout(ON_THE_WIRE, &mut request).await {
            return done;
        }
        at(Point::OnTheWire, id);
        request.await
    }

    /// A variable of the trial's. No setting of the daemon's, so not its configuration's to read.
    #[expect(clippy::disallowed_methods, reason = "no setting of the daemon's")]
    fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    /// Whether a bug is planted.
    pub fn planted(bug: Bug) -> bool {
        static PLANTED: OnceLock<Option<Bug>> = OnceLock::new();
        let planted = PLANTED.get_or_init(|| {
            let word = variable("NALPACA_TRIAL_BUG")?;
            let bug = Bug::ALL.iter().find(|bug| bug.as_str() == word);
            Some(*bug.unwrap_or_else(|| panic!("NALPACA_TRIAL_BUG: no bug is called {word:?}")))
        });
        *planted == Some(bug)
    }

    fn trap() -> Option<Trap> {
        let text = variable("NALPACA_TRIAL_POINT")?;
        let mut parts = text.splitn(3, ':');
        let (point, action, id) = (parts.next()?, parts.next()?, parts.next()?);
        let point = Point::ALL.iter().find(|known| known.as_str() == point);
        let point = *point.unwrap_or_else(|| panic!("NALPACA_TRIAL_POINT: no point of {text:?}"));
        let signal = match action {
            "kill" => Signal::KILL,
            "stop" => Signal::STOP,
            other => panic!("NALPACA_TRIAL_POINT: {other:?} is neither kill nor stop"),
        };
        Some(Trap {
            point,
            signal,
            text: id.to_owned(),
        })
    }
}
