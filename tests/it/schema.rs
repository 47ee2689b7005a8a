//! The messages are a contract: a program built against an older `proto/` must go on working.
//!
//! `proto/descriptors.binpb` holds the contract as it was last agreed. What is compiled now is compared with it, and
//! with the house's rules for messages. `make proto` (this test with `NALPACA_BLESS=1`) writes the file anew, but
//! never past a breaking change.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet,
};

/// What build.rs compiled, comments included.
const COMPILED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
const AGREED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/descriptors.binpb");

/// Messages that the Go program also has: its highest field number, and where ours begin.
const INHERITED: [(&str, i32, i32); 9] = [
    ("tradesvc.v0.Trade", 16, 20),
    ("tradesvc.v0.TakeProfit", 1, 20),
    ("tradesvc.v0.StopLoss", 2, 20),
    ("tradesvc.v0.Order", 31, 40),
    ("tradesvc.v0.TradeUpdate", 9, 20),
    ("tradesvc.v0.Position", 18, 20),
    ("tradesvc.v0.Positions", 1, 20),
    ("stream.v0.Bar", 9, 20),
    ("stream.v0.News", 9, 20),
];

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "NALPACA_BLESS speaks to this test, not to the daemon"
)]
fn the_agreed_contract_holds() {
    let compiled = without_comments(compiled());
    let bless = env::var("NALPACA_BLESS").is_ok_and(|text| text == "1");
    if bless && !Path::new(AGREED).exists() {
        fs::write(AGREED, compiled.encode_to_vec()).expect("write the agreed contract");
        return;
    }
    let agreed = fs::read(AGREED).expect("proto/descriptors.binpb is committed");
    let agreed =
        FileDescriptorSet::decode(agreed.as_slice()).expect("proto/descriptors.binpb is a descriptor set");

    let breaks = breaking_changes(&agreed, &compiled);
    assert!(
        breaks.is_empty(),
        "proto/ breaks programs that are out there:\n  {}",
        breaks.join("\n  ")
    );
    if agreed == compiled {
        return;
    }
    assert!(
        bless,
        "proto/ has grown, and nothing breaks: run `make proto` and commit proto/descriptors.binpb"
    );
    fs::write(AGREED, compiled.encode_to_vec()).expect("write the agreed contract");
}

#[test]
fn messages_follow_the_house_rules() {
    let offences = offences(&compiled());
    assert!(offences.is_empty(), "in proto/:\n  {}", offences.join("\n  "));
}

#[test]
fn planted_breaking_changes_are_caught() {
    type Change = fn(&mut FileDescriptorSet);
    let changes: [(&str, Change, &str); 16] = [
        (
            "message removed",
            |set| trading(set).message_type.retain(|m| m.name() != "Leg"),
            "Leg: removed",
        ),
        (
            "enum removed",
            |set| trading(set).enum_type.retain(|e| e.name() != "AssetClass"),
            "AssetClass: removed",
        ),
        (
            "field removed",
            |set| message(set, "Trade").field.retain(|f| f.number() != 13),
            "Trade 13: removed",
        ),
        (
            "field removed, its number reserved but not its name",
            |set| {
                message(set, "Trade").field.retain(|f| f.number() != 13);
                reserve_number(message(set, "Trade"), 13);
            },
            "Trade 13: removed",
        ),
        (
            "field moved",
            |set| field(set, "Trade", "stop_loss").number = Some(30),
            "Trade 13: removed",
        ),
        (
            "field renamed",
            |set| field(set, "Trade", "tif").name = Some("time".to_owned()),
            "Trade 6: name",
        ),
        (
            "JSON name changed",
            |set| field(set, "Trade", "limit_price").json_name = Some("limit_price".to_owned()),
            "Trade 7: JSON name",
        ),
        (
            "type changed",
            |set| field(set, "Trade", "qty").set_type(prost_types::field_descriptor_proto::Type::Bytes),
            "Trade 2: type",
        ),
        (
            "enum of a field changed",
            |set| field(set, "Trade", "side").type_name = Some(".tradesvc.v0.OrderType".to_owned()),
            "Trade 4: type",
        ),
        (
            "single made repeated",
            |set| {
                field(set, "Trade", "take_profit")
                    .set_label(prost_types::field_descriptor_proto::Label::Repeated);
            },
            "Trade 12: label",
        ),
        (
            "presence changed",
            |set| field(set, "Trade", "notional").proto3_optional = Some(true),
            "Trade 3: label",
        ),
        (
            "moved into a oneof",
            |set| field(set, "Trade", "qty").oneof_index = Some(0),
            "Trade 2: oneof",
        ),
        (
            "reservation lifted",
            |set| message(set, "Trade").reserved_range.clear(),
            "Trade 10: reserved",
        ),
        (
            "enum value removed",
            |set| values(set, "Side").retain(|v| v.number() != 2),
            "Side 2: removed",
        ),
        (
            "enum value renumbered",
            |set| values(set, "Side")[1].number = Some(7),
            "Side 1: removed",
        ),
        (
            "enum value renamed",
            |set| values(set, "Side")[2].name = Some("SIDE_SHORT".to_owned()),
            "Side 2: name",
        ),
    ];
    for (what, change, expected) in changes {
        let agreed = compiled();
        let mut changed = compiled();
        change(&mut changed);
        let breaks = breaking_changes(&agreed, &changed);
        assert!(
            breaks.iter().any(|line| line.contains(expected)),
            "{what}: found only {breaks:?}"
        );
    }
}

#[test]
fn harmless_changes_pass() {
    let mut changed = compiled();
    let mut added = field(&mut changed, "Trade", "qty").clone();
    added.number = Some(40);
    added.name = Some("note".to_owned());
    added.json_name = Some("note".to_owned());
    message(&mut changed, "Trade").field.push(added);
    values(&mut changed, "Side").push(EnumValueDescriptorProto {
        name: Some("SIDE_CROSS".to_owned()),
        number: Some(3),
        options: None,
    });
    // Given up for good: neither the number nor the name can come back.
    message(&mut changed, "Trade").field.retain(|f| f.number() != 13);
    reserve_number(message(&mut changed, "Trade"), 13);
    message(&mut changed, "Trade")
        .reserved_name
        .push("stop_loss".to_owned());
    assert_eq!(breaking_changes(&compiled(), &changed), Vec::<String>::new());
}

#[test]
fn planted_offences_are_caught() {
    type Change = fn(&mut FileDescriptorSet);
    let changes: [(&str, Change, &str); 5] = [
        (
            "no comment",
            |set| trading(set).source_code_info = None,
            "Trade: has no comment",
        ),
        (
            "camelCase",
            |set| field(set, "Trade", "tif").name = Some("timeInForce".to_owned()),
            "lower_snake",
        ),
        (
            "a number of the Go program's range",
            |set| field(set, "Trade", "legs").number = Some(18),
            "Trade 18",
        ),
        (
            "no prefix",
            |set| values(set, "Side")[1].name = Some("BUY".to_owned()),
            "BUY: does not begin",
        ),
        (
            "zero means something",
            |set| values(set, "Side")[0].name = Some("SIDE_ANY".to_owned()),
            "SIDE_ANY",
        ),
    ];
    for (what, change, expected) in changes {
        let mut changed = compiled();
        change(&mut changed);
        let found = offences(&changed);
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{what}: found only {found:?}"
        );
    }
}

/// What a program built against `agreed` would trip over in `now`.
fn breaking_changes(agreed: &FileDescriptorSet, now: &FileDescriptorSet) -> Vec<String> {
    let mut breaks = Vec::new();
    let (agreed, now) = (Contract::of(agreed), Contract::of(now));
    for (name, old) in &agreed.messages {
        match now.messages.get(name) {
            Some(new) => breaking_fields(name, old, new, &mut breaks),
            None => breaks.push(format!("{name}: removed")),
        }
    }
    for (name, old) in &agreed.enums {
        match now.enums.get(name) {
            Some(new) => breaking_values(name, old, new, &mut breaks),
            None => breaks.push(format!("{name}: removed")),
        }
    }
    breaks
}

fn breaking_fields(message: &str, old: &DescriptorProto, new: &DescriptorProto, breaks: &mut Vec<String>) {
    for range in &old.reserved_range {
        for number in range.start()..range.end() {
            if !is_reserved(new, number) {
                breaks.push(format!("{message} {number}: reserved before, not any more"));
            }
        }
    }
    for name in &old.reserved_name {
        if !new.reserved_name.contains(name) {
            breaks.push(format!(
                "{message}: the name {name} was reserved before, it is not any more"
            ));
        }
    }
    for before in &old.field {
        let number = before.number();
        let Some(after) = new.field.iter().find(|field| field.number() == number) else {
            if !is_reserved(new, number) || !new.reserved_name.iter().any(|name| name == before.name()) {
                let name = before.name();
                breaks.push(format!(
                    "{message} {number}: removed; reserve {number} and \"{name}\" in its place"
                ));
            }
            continue;
        };
        let mut compare = |what: &str, before: String, after: String| {
            if before != after {
                breaks.push(format!("{message} {number}: {what} was {before}, is {after}"));
            }
        };
        compare("name", before.name().to_owned(), after.name().to_owned());
        compare(
            "JSON name",
            before.json_name().to_owned(),
            after.json_name().to_owned(),
        );
        compare("type", type_of(before), type_of(after));
        compare("label", label_of(before), label_of(after));
        compare("oneof", oneof_of(old, before), oneof_of(new, after));
    }
}

fn breaking_values(
    name: &str,
    old: &EnumDescriptorProto,
    new: &EnumDescriptorProto,
    breaks: &mut Vec<String>,
) {
    for before in &old.value {
        let number = before.number();
        match new.value.iter().find(|value| value.number() == number) {
            Some(after) if after.name() == before.name() => {}
            Some(after) => {
                breaks.push(format!(
                    "{name} {number}: name was {}, is {}",
                    before.name(),
                    after.name()
                ));
            }
            None => breaks.push(format!("{name} {number}: removed")),
        }
    }
}

fn is_reserved(message: &DescriptorProto, number: i32) -> bool {
    message
        .reserved_range
        .iter()
        .any(|range| (range.start()..range.end()).contains(&number))
}

fn type_of(field: &FieldDescriptorProto) -> String {
    format!("{:?}{}", field.r#type(), field.type_name())
}

fn label_of(field: &FieldDescriptorProto) -> String {
    format!(
        "{:?}{}",
        field.label(),
        if field.proto3_optional() {
            " with presence"
        } else {
            ""
        }
    )
}

fn oneof_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let Some(index) = field.oneof_index else {
        return "none".to_owned();
    };
    let oneof = usize::try_from(index)
        .ok()
        .and_then(|index| message.oneof_decl.get(index));
    oneof.map_or_else(|| format!("number {index}"), |oneof| oneof.name().to_owned())
}

/// Where `set` departs from the house's rules for messages.
fn offences(set: &FileDescriptorSet) -> Vec<String> {
    let mut offences = Vec::new();
    for file in own_files(set) {
        for (index, message) in file.message_type.iter().enumerate() {
            let name = format!("{}.{}", file.package(), message.name());
            if !has_comment(file, MESSAGES, index) {
                offences.push(format!("{name}: has no comment"));
            }
        }
        for (index, values) in file.enum_type.iter().enumerate() {
            let name = format!("{}.{}", file.package(), values.name());
            if !has_comment(file, ENUMS, index) {
                offences.push(format!("{name}: has no comment"));
            }
        }
    }
    let contract = Contract::of(set);
    for (name, message) in contract.messages {
        for field in &message.field {
            if !is_lower_snake(field.name()) {
                offences.push(format!(
                    "{name} {}: {} is not lower_snake",
                    field.number(),
                    field.name()
                ));
            }
        }
        if let Some((_, theirs, ours)) = INHERITED.iter().find(|(inherited, ..)| *inherited == name) {
            for field in message
                .field
                .iter()
                .filter(|f| (theirs + 1..*ours).contains(&f.number()))
            {
                offences.push(format!("{name} {}: new fields begin at {ours}", field.number()));
            }
        }
    }
    for (name, values) in contract.enums {
        let prefix = upper_snake(values.name());
        for value in &values.value {
            if !value.name().starts_with(&format!("{prefix}_")) {
                offences.push(format!("{name}: {}: does not begin with {prefix}_", value.name()));
            }
            if value.number() == 0 && value.name() != format!("{prefix}_UNSPECIFIED") {
                offences.push(format!("{name}: {}: zero is {prefix}_UNSPECIFIED", value.name()));
            }
        }
    }
    offences
}

/// Numbers of the fields of a file descriptor that hold its messages and enums: the first part of a comment's path.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;

fn has_comment(file: &FileDescriptorProto, kind: i32, index: usize) -> bool {
    let places = file.source_code_info.iter().flat_map(|info| &info.location);
    let mut here = places
        .filter(|place| matches!(place.path[..], [k, i] if k == kind && usize::try_from(i) == Ok(index)));
    here.any(|place| !place.leading_comments().trim().is_empty())
}

fn is_lower_snake(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.contains("__")
}

/// `TimeInForce` → `TIME_IN_FORCE`
fn upper_snake(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

/// Every message and enum of ours by full name, nested ones included.
#[derive(Default)]
struct Contract<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
}

impl<'a> Contract<'a> {
    fn of(set: &'a FileDescriptorSet) -> Self {
        let mut contract = Self::default();
        for file in own_files(set) {
            contract.add(file.package(), &file.message_type, &file.enum_type);
        }
        contract
    }

    fn add(&mut self, scope: &str, messages: &'a [DescriptorProto], enums: &'a [EnumDescriptorProto]) {
        for message in messages {
            let name = format!("{scope}.{}", message.name());
            self.add(&name, &message.nested_type, &message.enum_type);
            self.messages.insert(name, message);
        }
        for values in enums {
            self.enums.insert(format!("{scope}.{}", values.name()), values);
        }
    }
}

/// The imported files of the protobuf project are its own affair.
fn own_files(set: &FileDescriptorSet) -> impl Iterator<Item = &FileDescriptorProto> {
    set.file
        .iter()
        .filter(|file| !file.package().starts_with("google."))
}

fn compiled() -> FileDescriptorSet {
    FileDescriptorSet::decode(COMPILED).expect("build.rs wrote a descriptor set")
}

/// A comment may change freely, so the agreed contract does not hold them.
fn without_comments(mut set: FileDescriptorSet) -> FileDescriptorSet {
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set
}

fn trading(set: &mut FileDescriptorSet) -> &mut FileDescriptorProto {
    set.file
        .iter_mut()
        .find(|file| file.package() == "tradesvc.v0")
        .expect("proto/ has the package")
}

fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
    trading(set)
        .message_type
        .iter_mut()
        .find(|message| message.name() == name)
        .expect("proto/ has the message")
}

fn field<'a>(set: &'a mut FileDescriptorSet, of: &str, name: &str) -> &'a mut FieldDescriptorProto {
    message(set, of)
        .field
        .iter_mut()
        .find(|field| field.name() == name)
        .expect("the message has the field")
}

fn values<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut Vec<EnumValueDescriptorProto> {
    let found = trading(set)
        .enum_type
        .iter_mut()
        .find(|values| values.name() == name);
    &mut found.expect("proto/ has the enum").value
}

fn reserve_number(message: &mut DescriptorProto, number: i32) {
    message
        .reserved_range
        .push(prost_types::descriptor_proto::ReservedRange {
            start: Some(number),
            end: Some(number + 1),
        });
}
