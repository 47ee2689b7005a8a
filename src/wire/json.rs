//! JSON payloads: proto3's mapping, plus the lenient forms a person types.
//!
//! `"side":"buy"` for `"SIDE_BUY"`, `"order_type":"trailing_stop"`, `"qty":1` for `"qty":"1"`. A number is taken
//! through its text, never through a float. The lenient forms are rewritten to proto3's, and `prost-reflect`
//! does the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use prost::Message as _;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    SerializeOptions,
};
use serde::de::DeserializeSeed as _;
use serde_json::value::RawValue;

use super::decode::Unreadable;
use super::proto::{DESCRIPTORS, tradesvc as pb};

/// Deepest nesting of messages read. The deepest inbound message has three levels.
const DEPTH_MAX: usize = 16;

/// Whether a payload is JSON: its header says so, or its first byte is `{`, which no inbound protobuf message
/// starts with (it would be field 15 as a group, and that number is kept free of groups for ever).
pub fn is_json(content_type: Option<&str>, payload: &[u8]) -> bool {
    let declared =
        content_type.map(|text| text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase());
    match declared.as_deref() {
        Some("application/json") => true,
        Some("application/protobuf" | "application/x-protobuf") => false,
        _ => payload.first() == Some(&b'{'),
    }
}

/// Rewrites a JSON payload as the protobuf bytes of a message of the trading package.
pub(super) fn to_protobuf(message: &str, payload: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let text = std::str::from_utf8(payload).map_err(|_| Unreadable::new("the JSON is not UTF-8"))?;
    let descriptor = descriptor(message).expect("only messages of the schema are asked for");
    let mut canonical = String::with_capacity(text.len() + 64);
    rewrite_message(&mut canonical, &descriptor, text, DEPTH_MAX)?;
    let mut deserializer = serde_json::Deserializer::from_str(&canonical);
    let message = descriptor
        .deserialize(&mut deserializer)
        .map_err(|error| Unreadable::new(error.to_string()))?;
    Ok(message.encode_to_vec())
}

/// Full names of the messages that can be decoded, sorted.
pub fn known_messages() -> Vec<String> {
    let ours = |name: &str| name.starts_with("tradesvc.") || name.starts_with("stream.");
    let mut names: Vec<_> = DESCRIPTORS
        .all_messages()
        .map(|message| message.full_name().to_owned())
        .filter(|name| ours(name))
        .collect();
    names.sort();
    names
}

/// Shows a payload as JSON with the schema's field names. `name` is a message's name, full or short.
pub fn decode_to_json(name: &str, payload: &[u8], pretty: bool) -> Result<String, Unreadable> {
    let descriptor = named(name)?;
    let message = DynamicMessage::decode(descriptor, payload)
        .map_err(|error| Unreadable::new(format!("the payload is no {name}: {error}")))?;
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false);
    let mut out = Vec::new();
    let written = if pretty {
        message.serialize_with_options(&mut serde_json::Serializer::pretty(&mut out), &options)
    } else {
        message.serialize_with_options(&mut serde_json::Serializer::new(&mut out), &options)
    };
    written.map_err(|error| Unreadable::new(error.to_string()))?;
    String::from_utf8(out).map_err(|error| Unreadable::new(error.to_string()))
}

/// How messages look: one and what it holds, or all of them where none is named.
pub(super) fn schema(name: &str) -> Result<pb::Schema, Unreadable> {
    let mut wanted: Vec<String> = if name.is_empty() {
        known_messages()
    } else {
        vec![named(name)?.full_name().to_owned()]
    };
    let (mut messages, mut enums) = (Vec::new(), BTreeMap::new());
    let mut seen = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        let Some(message) = DESCRIPTORS.get_message_by_name(&name) else {
            continue;
        };
        if !seen.insert(name) {
            continue;
        }
        let mut fields = Vec::new();
        for field in message.fields() {
            let r#type = match field.kind() {
                Kind::Message(inner) => {
                    wanted.push(inner.full_name().to_owned());
                    inner.full_name().to_owned()
                }
                Kind::Enum(inner) => {
                    let values = inner.values().map(|value| value.name().to_owned()).collect();
                    enums.insert(inner.full_name().to_owned(), values);
                    inner.full_name().to_owned()
                }
                Kind::Double => "double".to_owned(),
                Kind::Float => "float".to_owned(),
                Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "int32".to_owned(),
                Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "int64".to_owned(),
                Kind::Uint32 | Kind::Fixed32 => "uint32".to_owned(),
                Kind::Uint64 | Kind::Fixed64 => "uint64".to_owned(),
                Kind::Bool => "bool".to_owned(),
                Kind::String => "string".to_owned(),
                Kind::Bytes => "bytes".to_owned(),
            };
            fields.push(pb::FieldSchema {
                name: field.name().to_owned(),
                number: i32::try_from(field.number()).unwrap_or(i32::MAX),
                r#type,
                repeated: field.is_list(),
                about: about(&field.parent_file(), field.path()),
            });
        }
        messages.push(pb::MessageSchema {
            name: message.full_name().to_owned(),
            about: about(&message.parent_file(), message.path()),
            fields,
        });
    }
    messages.sort_by(|one, other| one.name.cmp(&other.name));
    let enums = enums
        .into_iter()
        .map(|(name, values)| pb::EnumSchema { name, values });
    Ok(pb::Schema {
        messages,
        enums: enums.collect(),
        descriptors: DESCRIPTORS.encode_to_vec().into(),
    })
}

/// What stands above a definition in its file.
fn about(file: &FileDescriptor, path: &[i32]) -> String {
    let file = file.file_descriptor_proto();
    let info = file.source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let comment = location
        .map(|location| location.leading_comments())
        .unwrap_or_default();
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn named(name: &str) -> Result<MessageDescriptor, Unreadable> {
    descriptor(name).ok_or_else(|| {
        Unreadable::new(format!(
            "no message is called {name:?}; known: {}",
            known_messages().join(", ")
        ))
    })
}

fn descriptor(name: &str) -> Option<MessageDescriptor> {
    DESCRIPTORS.get_message_by_name(name).or_else(|| {
        ["tradesvc.v0", "stream.v0"]
            .iter()
            .find_map(|package| DESCRIPTORS.get_message_by_name(&format!("{package}.{name}")))
    })
}

fn rewrite_message(
    out: &mut String,
    descriptor: &MessageDescriptor,
    raw: &str,
    depth: usize,
) -> Result<(), Unreadable> {
    if depth == 0 {
        return Err(Unreadable::new("the JSON is nested too deep"));
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(raw)
        .map_err(|error| Unreadable::new(format!("{} is not a JSON object: {error}", descriptor.name())))?;
    out.push('{');
    let mut first = true;
    for (name, value) in fields {
        let Some(field) = descriptor
            .get_field_by_name(&name)
            .or_else(|| descriptor.get_field_by_json_name(&name))
        else {
            let known: Vec<_> = descriptor.fields().map(|field| field.name().to_owned()).collect();
            return Err(Unreadable::new(format!(
                "unknown field {name:?}; known: {}",
                known.join(", ")
            )));
        };
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{:?}:", field.name());
        rewrite_field(out, &field, value.get().trim(), depth)
            .map_err(|error| Unreadable::new(format!("{name}: {error}")))?;
    }
    out.push('}');
    Ok(())
}

fn rewrite_field(
    out: &mut String,
    field: &FieldDescriptor,
    raw: &str,
    depth: usize,
) -> Result<(), Unreadable> {
    if !field.is_list() || raw == "null" {
        return rewrite_value(out, &field.kind(), raw, depth);
    }
    let items: Vec<&RawValue> =
        serde_json::from_str(raw).map_err(|error| Unreadable::new(format!("is not a JSON list: {error}")))?;
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        rewrite_value(out, &field.kind(), item.get().trim(), depth)?;
    }
    out.push(']');
    Ok(())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "prost-reflect's set; all other kinds are alike in both forms"
)]
fn rewrite_value(out: &mut String, kind: &Kind, raw: &str, depth: usize) -> Result<(), Unreadable> {
    let is_number = raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match kind {
        Kind::Message(message) if raw.starts_with('{') => {
            return rewrite_message(out, message, raw, depth - 1);
        }
        Kind::String if is_number => {
            // Writing to a String cannot fail.
            let _ = write!(out, "\"{raw}\"");
        }
        Kind::String if raw.starts_with(['{', '[']) => {
            return Err(Unreadable::new(
                "must be text or a number, not an object or a list",
            ));
        }
        Kind::Enum(words) if raw.starts_with('"') => out.push_str(&enum_word(words, raw)?),
        _ => out.push_str(raw),
    }
    Ok(())
}

/// `"buy"`, `"Buy"`, `"trailing-stop"` and `"SIDE_BUY"` alike.
fn enum_word(words: &EnumDescriptor, raw: &str) -> Result<String, Unreadable> {
    let text: String = serde_json::from_str(raw).map_err(|error| Unreadable::new(error.to_string()))?;
    let typed = text.trim().to_ascii_uppercase().replace(['-', ' '], "_");
    let prefix = words
        .values()
        .next()
        .and_then(|value| value.name().strip_suffix("UNSPECIFIED").map(str::to_owned))
        .unwrap_or_default();
    let known = words
        .values()
        .find(|value| value.name() == typed || value.name() == format!("{prefix}{typed}"));
    match known {
        Some(value) => Ok(format!("{:?}", value.name())),
        None => {
            let short = |value: prost_reflect::EnumValueDescriptor| {
                value
                    .name()
                    .strip_prefix(prefix.as_str())
                    .unwrap_or(value.name())
                    .to_ascii_lowercase()
            };
            let known: Vec<_> = words
                .values()
                .filter(|value| value.number() != 0)
                .map(short)
                .collect();
            Err(Unreadable::new(format!(
                "{text:?} is none of {}",
                known.join(", ")
            )))
        }
    }
}
