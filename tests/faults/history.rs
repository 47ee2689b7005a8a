//! What three witnesses saw: publishers, the venue, and whoever reads the journal. The daemon is no witness.
//!
//! All times are seconds since the epoch, by the one clock of the machine the trial runs on.

/// What a publisher asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Order,
    Replace,
    Close,
    /// One order per position, `<id>.<SYM>`.
    CloseAll,
    Cancel,
    /// `ALL` or `<strategy>.ALL`.
    CancelMany,
    /// What nobody can read.
    Poison,
}

/// What a publisher knows of a publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ack {
    /// Stored, under this sequence of the stream created then.
    Stored { stream: i128, sequence: u64 },
    /// The server said that it had it already.
    Duplicate,
    /// It may be stored, or not.
    Unknown,
}

/// One publish.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) kind: Kind,
    /// The client order id its subject names; of a cancel, what it cancels.
    pub(crate) id: String,
    /// Tells two payloads apart.
    pub(crate) payload: String,
    pub(crate) symbol: String,
    pub(crate) ack: Ack,
    pub(crate) published: f64,
    /// When the ack came, or was given up.
    pub(crate) acked: f64,
    /// Not to be sent after this.
    pub(crate) deadline: Option<f64>,
}

/// One request the venue received that would create an order, or asks for one by its client order id.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) what: Asks,
    pub(crate) id: String,
    /// When its head arrived.
    pub(crate) at: f64,
    /// The status it was answered with, if it was answered.
    pub(crate) status: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Create,
    LookUp,
}

/// A request that would create an order, on its way.
#[derive(Clone, Debug)]
pub(crate) struct Departure {
    pub(crate) id: String,
    pub(crate) at: f64,
}

/// An order as the venue has it in the end.
#[derive(Clone, Debug)]
pub(crate) struct VenueOrder {
    pub(crate) order_id: String,
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) created: f64,
}

impl VenueOrder {
    fn is_open(&self) -> bool {
        !matches!(
            self.status.as_str(),
            "filled" | "canceled" | "expired" | "rejected" | "replaced"
        )
    }
}

/// One outcome, as the journal holds it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) id: String,
    /// Without `OUTCOME_KIND_`.
    pub(crate) kind: String,
    pub(crate) terminal: bool,
    pub(crate) stream: i128,
    pub(crate) sequence: u64,
    pub(crate) order_id: String,
}

/// Everything the witnesses saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) commands: Vec<Command>,
    pub(crate) requests: Vec<Request>,
    /// When requests that would create an order left the daemon, as the wire before the venue saw them: what stands
    /// still on the way arrives late, and was in time.
    pub(crate) departures: Vec<Departure>,
    pub(crate) orders: Vec<VenueOrder>,
    pub(crate) outcomes: Vec<Outcome>,
}

impl History {
    pub(crate) fn orders_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a VenueOrder> {
        self.orders.iter().filter(move |order| order.id == id)
    }

    pub(crate) fn open_order(&self, id: &str) -> Option<&VenueOrder> {
        self.orders.iter().find(|order| order.id == id && order.is_open())
    }

    /// What became of one stored command.
    pub(crate) fn outcomes_of(&self, stream: i128, sequence: u64) -> impl Iterator<Item = &Outcome> {
        self.outcomes
            .iter()
            .filter(move |outcome| outcome.stream == stream && outcome.sequence == sequence)
    }
}
