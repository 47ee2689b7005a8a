//! Every metric's name, type, unit and meaning.

use metrics::Unit;

pub(super) const BUILD_INFO: &str = "nalpaca_build_info";
pub(super) const CONFIG_WARNINGS: &str = "nalpaca_config_warnings";
pub(super) const NATS_CONNECTED: &str = "nalpaca_nats_connected";
pub(super) const NATS_RECONNECTS: &str = "nalpaca_nats_reconnects_total";
pub(super) const STREAM_UP: &str = "nalpaca_stream_up";
pub(super) const STREAM_MUTE: &str = "nalpaca_stream_mute_total";
pub(super) const COMMANDS: &str = "nalpaca_commands_total";
pub(super) const OUTCOMES: &str = "nalpaca_outcomes_total";
pub(super) const PUBLISH_TO_OUTCOME: &str = "nalpaca_publish_to_outcome_seconds";
pub(super) const PUBLISH_TO_TAKEN: &str = "nalpaca_publish_to_taken_seconds";
pub(super) const PUBLISH_TO_POST: &str = "nalpaca_publish_to_post_seconds";
pub(super) const IN_DOUBT: &str = "nalpaca_orders_in_doubt";
pub(super) const OLDEST_DOUBT: &str = "nalpaca_oldest_doubt_timestamp_seconds";
pub(super) const PENDING: &str = "nalpaca_commands_pending";
pub(super) const MODE: &str = "nalpaca_mode";
pub(super) const UPDATES_RECOVERED: &str = "nalpaca_updates_recovered_total";
pub(super) const DELIVERIES_IN_HAND: &str = "nalpaca_deliveries_in_hand";
pub(super) const REDELIVERED: &str = "nalpaca_redelivered_total";
pub(super) const DEAD_LETTERS: &str = "nalpaca_dead_letters_total";
pub(super) const VENUE_REQUEST: &str = "nalpaca_venue_request_seconds";
pub(super) const RATE_BUDGET_REMAINING: &str = "nalpaca_rate_budget_remaining";
pub(super) const UPDATES: &str = "nalpaca_updates_total";
pub(super) const UPDATES_PUBLISHED: &str = "nalpaca_updates_published_total";
pub(super) const UPDATES_DROPPED: &str = "nalpaca_updates_dropped_total";
pub(super) const POSITIONS_AGE: &str = "nalpaca_positions_age_seconds";
pub(super) const POSITIONS_REFRESH: &str = "nalpaca_positions_refresh_total";
pub(super) const POSITIONS_DIFFERED: &str = "nalpaca_positions_differed_total";
pub(super) const CONDITION: &str = "nalpaca_condition";
pub(super) const STRANDED: &str = "nalpaca_commands_stranded";
pub(super) const ADOPTED: &str = "nalpaca_commands_adopted_total";
pub(super) const LEADING: &str = "nalpaca_leading";
pub(super) const DATA_CONNECTED: &str = "nalpaca_market_data_connected";
pub(super) const DATA_RECONNECTS: &str = "nalpaca_market_data_reconnects_total";
pub(super) const DATA_SUBSCRIBED: &str = "nalpaca_market_data_subscribed";
pub(super) const DATA_HEARD: &str = "nalpaca_market_data_heard_total";
pub(super) const DATA_LAG: &str = "nalpaca_market_data_lag_seconds";
pub(super) const DATA_PUBLISHED: &str = "nalpaca_market_data_published_total";
pub(super) const DATA_CONFLATED: &str = "nalpaca_market_data_conflated_total";
pub(super) const DATA_DROPPED: &str = "nalpaca_market_data_dropped_total";
pub(super) const DATA_RECOVERED: &str = "nalpaca_market_data_recovered_total";
pub(super) const DATA_UNREADABLE: &str = "nalpaca_market_data_unreadable_total";
pub(super) const DATA_WAITING: &str = "nalpaca_market_data_waiting";

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// Name, type and meaning of every metric.
pub fn families() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FAMILIES.iter().map(|(name, kind, _, help)| {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        (*name, kind, *help)
    })
}

/// Name, type, unit of measure and meaning of every metric.
pub(super) const FAMILIES: [(&str, Type, Unit, &str); 42] = [
    (
        DATA_CONNECTED,
        Type::Gauge,
        Unit::Count,
        "1 while a stream of market data is connected, by class.",
    ),
    (
        DATA_RECONNECTS,
        Type::Counter,
        Unit::Count,
        "Connections to streams of market data that ended, by class.",
    ),
    (
        DATA_SUBSCRIBED,
        Type::Gauge,
        Unit::Count,
        "Symbols the venue has confirmed, each channel counted by itself, by class.",
    ),
    (
        DATA_HEARD,
        Type::Counter,
        Unit::Count,
        "Observations of the market that were heard, by class and channel.",
    ),
    (
        DATA_LAG,
        Type::Histogram,
        Unit::Seconds,
        "From when the last tick of a frame happened by the venue's clock to when it was heard, by class.",
    ),
    (
        DATA_PUBLISHED,
        Type::Counter,
        Unit::Count,
        "Observations handed to NATS, by class and channel.",
    ),
    (
        DATA_CONFLATED,
        Type::Counter,
        Unit::Count,
        "Observations that a newer one overtook before they were published, by class and channel.",
    ),
    (
        DATA_DROPPED,
        Type::Counter,
        Unit::Count,
        "Observations left out because too many waited, by class and channel.",
    ),
    (
        DATA_RECOVERED,
        Type::Counter,
        Unit::Count,
        "Minute bars that were missed and asked for afterwards, by class.",
    ),
    (
        DATA_UNREADABLE,
        Type::Counter,
        Unit::Count,
        "Frames and rows of market data that could not be read, by class.",
    ),
    (
        DATA_WAITING,
        Type::Gauge,
        Unit::Count,
        "Observations that wait for NATS.",
    ),
    (
        PUBLISH_TO_TAKEN,
        Type::Histogram,
        Unit::Seconds,
        "From when NATS stored a command to when it was taken up.",
    ),
    (
        PUBLISH_TO_POST,
        Type::Histogram,
        Unit::Seconds,
        "From when NATS stored a command to the first byte of its order's first POST.",
    ),
    (
        IN_DOUBT,
        Type::Gauge,
        Unit::Count,
        "Orders of which nobody knows whether the venue has them.",
    ),
    (
        OLDEST_DOUBT,
        Type::Gauge,
        Unit::Seconds,
        "Since when the oldest of them has been in doubt, in seconds since 1970; 0 when none is.",
    ),
    (
        PENDING,
        Type::Gauge,
        Unit::Count,
        "Commands a consumer has still to hand out.",
    ),
    (
        MODE,
        Type::Gauge,
        Unit::Count,
        "1 for the mode the gateway is in.",
    ),
    (
        UPDATES_RECOVERED,
        Type::Counter,
        Unit::Count,
        "Order events that were not heard, and found by asking.",
    ),
    (
        BUILD_INFO,
        Type::Gauge,
        Unit::Count,
        "Always 1; version and git revision are labels.",
    ),
    (
        CONFIG_WARNINGS,
        Type::Gauge,
        Unit::Count,
        "Settings that were accepted but will not do what they seem to.",
    ),
    (
        NATS_CONNECTED,
        Type::Gauge,
        Unit::Count,
        "1 while NATS is connected.",
    ),
    (
        NATS_RECONNECTS,
        Type::Counter,
        Unit::Count,
        "Connections to NATS made after the first.",
    ),
    (
        STREAM_UP,
        Type::Gauge,
        Unit::Count,
        "1 while the venue's trade updates are heard.",
    ),
    (
        STREAM_MUTE,
        Type::Counter,
        Unit::Count,
        "Streams that were given up because they did not tell what the venue did.",
    ),
    (COMMANDS, Type::Counter, Unit::Count, "Commands read, by kind."),
    (
        OUTCOMES,
        Type::Counter,
        Unit::Count,
        "Outcomes settled, by kind of command and outcome.",
    ),
    (
        PUBLISH_TO_OUTCOME,
        Type::Histogram,
        Unit::Seconds,
        "From the stream's storing of a command to its terminal outcome.",
    ),
    (
        DELIVERIES_IN_HAND,
        Type::Gauge,
        Unit::Count,
        "Deliveries taken and not yet settled.",
    ),
    (
        REDELIVERED,
        Type::Counter,
        Unit::Count,
        "Deliveries that were not the first of their message.",
    ),
    (
        DEAD_LETTERS,
        Type::Counter,
        Unit::Count,
        "Messages that could not be read, by kind.",
    ),
    (
        VENUE_REQUEST,
        Type::Histogram,
        Unit::Seconds,
        "Requests to the trading API, by route and class of status; none is no answer.",
    ),
    (
        RATE_BUDGET_REMAINING,
        Type::Gauge,
        Unit::Count,
        "Requests the account may make now.",
    ),
    (
        UPDATES,
        Type::Counter,
        Unit::Count,
        "Order events heard from the venue, by class of event.",
    ),
    (
        UPDATES_PUBLISHED,
        Type::Counter,
        Unit::Count,
        "Order events whose publication the journal confirmed.",
    ),
    (
        UPDATES_DROPPED,
        Type::Counter,
        Unit::Count,
        "Order events heard again and not published again, by reason: repeat, or replay of an order that is over.",
    ),
    (
        POSITIONS_AGE,
        Type::Gauge,
        Unit::Seconds,
        "Age of the positions in the bucket.",
    ),
    (
        POSITIONS_REFRESH,
        Type::Counter,
        Unit::Count,
        "Reads of the positions, by result.",
    ),
    (
        POSITIONS_DIFFERED,
        Type::Counter,
        Unit::Count,
        "Positions that were not what the fills in the journal add up to.",
    ),
    (
        CONDITION,
        Type::Gauge,
        Unit::Count,
        "1 while the named condition lasts.",
    ),
    (
        STRANDED,
        Type::Gauge,
        Unit::Count,
        "Commands in the stream that no consumer will hand out again. Must be 0.",
    ),
    (
        ADOPTED,
        Type::Counter,
        Unit::Count,
        "Commands taken up by sequence, because they had been delivered and were in nobody's hand.",
    ),
    (
        LEADING,
        Type::Gauge,
        Unit::Count,
        "1 while this daemon holds the lease, 0 while it stands by.",
    ),
];
