//! Tables for people: as wide as their cells, numbers to the right, no colours.

use serde_json::Value;

/// One column: its heading, where its cells come from, and whether they are numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) heading: &'static str,
    /// A path into the message: `qty`, `outcome.kind`.
    pub(super) field: &'static str,
    pub(super) is_number: bool,
}

/// A column of words.
pub(super) const fn words(heading: &'static str, field: &'static str) -> Column {
    Column {
        heading,
        field,
        is_number: false,
    }
}

/// A column of numbers.
pub(super) const fn number(heading: &'static str, field: &'static str) -> Column {
    Column {
        heading,
        field,
        is_number: true,
    }
}

/// What stands in a message under a path, as people read it: the words of an enum without its name, times without the day
/// they share with everybody, and nothing for what is absent.
pub(super) fn cell(message: &Value, path: &str) -> String {
    let found = path.split('.').try_fold(message, |value, name| value.get(name));
    match found {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => shorten(path, text),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => String::new(),
        Some(Value::Array(values)) => {
            let texts: Vec<_> = values.iter().filter_map(Value::as_str).collect();
            texts.join(",")
        }
        Some(other @ (Value::Number(_) | Value::Object(_))) => other.to_string(),
    }
}

fn shorten(path: &str, text: &str) -> String {
    // The names of enums stand before their words: ORDER_TYPE_LIMIT.
    for (field, prefix) in [
        ("side", "SIDE_"),
        ("type", "ORDER_TYPE_"),
        ("time_in_force", "TIME_IN_FORCE_"),
        ("order_class", "ORDER_CLASS_"),
        ("asset_class", "ASSET_CLASS_"),
        ("kind", "OUTCOME_KIND_"),
        ("command", "COMMAND_KIND_"),
        ("mode", "GATEWAY_MODE_"),
        ("previous", "GATEWAY_MODE_"),
        ("state", "RECORD_STATE_"),
    ] {
        if path.rsplit('.').next() == Some(field)
            && let Some(word) = text.strip_prefix(prefix)
        {
            return if word == "UNSPECIFIED" {
                String::new()
            } else {
                word.to_ascii_lowercase()
            };
        }
    }
    match text.split_once('T') {
        // Seconds are enough for people.
        Some((date, time)) if is_instant(text) => {
            let time = time.split(['.', 'Z']).next().unwrap_or(time);
            format!("{date} {time}Z")
        }
        _ => text.to_owned(),
    }
}

fn is_instant(text: &str) -> bool {
    text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
}

/// A table of messages.
pub(super) fn table(columns: &[Column], messages: &[Value]) -> String {
    let cells = messages
        .iter()
        .map(|message| columns.iter().map(|column| cell(message, column.field)).collect());
    let rows: Vec<Vec<String>> = cells.collect();
    render(columns, &rows)
}

/// A table of cells.
pub(super) fn render(columns: &[Column], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = columns.iter().map(|column| column.heading.to_owned()).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            let cells = rows.iter().chain([&headings]).filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in [&headings].into_iter().chain(rows) {
        let mut line = String::new();
        for ((cell, column), width) in row.iter().zip(columns).zip(&widths) {
            // A table that scrolls by must not be repainted by what it shows.
            let cell = cell.replace(char::is_control, " ");
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            if column.is_number {
                line.push_str(&padding);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&padding);
            }
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One message as a list of names and values; what is absent is left out.
pub(super) fn list(fields: &[(&str, &str)], message: &Value) -> String {
    let lines: Vec<_> = fields
        .iter()
        .map(|(name, field)| (*name, cell(message, field)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let width = lines
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (name, value) in lines {
        let value = value.replace(char::is_control, " ");
        text.push_str(&format!("{name:<width$}  {value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells_and_repaints_nothing() {
        let columns = [
            words("SYMBOL", "symbol"),
            number("QTY", "qty"),
            words("SIDE", "side"),
        ];
        let rows = [
            json!({"symbol": "AAPL", "qty": "10", "side": "SIDE_BUY"}),
            json!({"symbol": "BRK.B\u{1b}[2J", "qty": 2.5, "side": "SIDE_UNSPECIFIED"}),
        ];
        let expected = "SYMBOL     QTY  SIDE\nAAPL        10  buy\nBRK.B [2J  2.5\n";
        assert_eq!(table(&columns, &rows), expected);
    }

    #[test]
    fn cells_are_what_people_read() {
        let message = json!({"kind": "OUTCOME_KIND_DENIED", "at": "2026-11-27T14:03:05.123456789Z", "fresh": true,
            "outcome": {"reason": "mode"}, "conditions": ["a", "b"], "id": "T-1Z"});
        for (path, expected) in [
            ("kind", "denied"),
            ("at", "2026-11-27 14:03:05Z"),
            ("fresh", "yes"),
            ("outcome.reason", "mode"),
            ("conditions", "a,b"),
            ("id", "T-1Z"),
            ("nothing.at.all", ""),
        ] {
            assert_eq!(cell(&message, path), expected, "{path}");
        }
    }
}
