//! The house's floor plan: which room may use which, held against the sources.
//!
//! Imports go down. A room that is not in the plan, or uses one the plan does not let it, fails here with file and
//! line; whoever changes the plan changes it below, where it can be seen.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Usable from every floor above them.
const UNDERFOOT: [&str; 5] = ["domain", "clock", "backoff", "telemetry", "trial"];

/// What a room may use.
enum May {
    /// These rooms and nothing else.
    Only(&'static [&'static str]),
    /// What is underfoot, and these.
    Above(&'static [&'static str]),
}

use May::{Above, Only};

/// Every room, from the ground up.
const PLAN: &[(&str, May)] = &[
    // Nouns and laws: pure.
    ("domain", Only(&[])),
    // Underfoot.
    ("clock", Only(&[])),
    ("backoff", Only(&[])),
    ("trial", Only(&[])),
    ("config", Only(&["domain"])),
    ("telemetry", Only(&["domain", "config"])),
    ("gateway", Above(&[])),
    ("blotter", Above(&[])),
    // Pure judgement over what is underfoot.
    ("risk", Above(&["blotter"])),
    // Adapters: sockets, bytes, translation.
    ("wire", Only(&["domain"])),
    ("bus", Above(&["wire", "config"])),
    ("alpaca", Above(&["config"])),
    // Desks: policy.
    ("ledger", Above(&["bus", "wire"])),
    (
        "orders",
        Above(&[
            "alpaca", "blotter", "bus", "wire", "gateway", "config", "ledger", "risk",
        ]),
    ),
    (
        "positions",
        Above(&["alpaca", "bus", "wire", "gateway", "config"]),
    ),
    (
        "drop_copy",
        Above(&[
            "alpaca",
            "blotter",
            "bus",
            "wire",
            "gateway",
            "config",
            "ledger",
            "positions",
        ]),
    ),
    (
        "market_data",
        Above(&["alpaca", "bus", "wire", "gateway", "config"]),
    ),
    ("mode", Above(&["bus", "gateway", "wire"])),
    (
        "service",
        Above(&[
            "alpaca",
            "blotter",
            "bus",
            "gateway",
            "ledger",
            "market_data",
            "mode",
            "orders",
            "risk",
            "wire",
        ]),
    ),
    ("deadman", Above(&["alpaca", "bus", "orders", "risk", "wire"])),
    // Wiring.
    ("admin", Above(&[])),
    (
        "app",
        Above(&[
            "admin",
            "alpaca",
            "blotter",
            "bus",
            "config",
            "deadman",
            "drop_copy",
            "gateway",
            "ledger",
            "orders",
            "market_data",
            "mode",
            "positions",
            "risk",
            "service",
            "wire",
        ]),
    ),
    // Another venue, for tests and demos. It shares nothing with the gateway, so it cannot share its mistakes.
    ("sim", Only(&[])),
    ("demo", Above(&["config", "sim", "wire"])),
    // Bars on a disk, on whoever's.
    ("archive", Only(&["domain"])),
    // The front door.
    (
        "cli",
        Above(&["alpaca", "app", "archive", "bus", "config", "demo", "sim", "wire"]),
    ),
];

fn may_use(room: &str, used: &str) -> bool {
    let found = PLAN.iter().find(|(name, _)| *name == room);
    room == used
        || found.is_some_and(|(_, may)| match may {
            Only(rooms) => rooms.contains(&used),
            Above(rooms) => UNDERFOOT.contains(&used) || rooms.contains(&used),
        })
}

/// Rooms named by `crate::` in a piece of source, with the line each stands on. Comments do not count.
fn rooms_used(source: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (at, line) in source.lines().enumerate() {
        let code = line.split("//").next().unwrap_or(line);
        for (start, _) in code.match_indices("crate::") {
            // `pub(crate)` has no colons, and `$crate::` or `other_crate::` is somebody else.
            let before = code[..start].chars().next_back();
            if before.is_some_and(|before| before.is_alphanumeric() || before == '_') {
                continue;
            }
            let rest = &code[start + "crate::".len()..];
            if let Some(group) = rest.strip_prefix('{') {
                panic!(
                    "line {}: `use crate::{{{group}` hides rooms, write one line each",
                    at + 1
                );
            }
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            used.push((at + 1, name));
        }
    }
    used
}

/// What breaks the plan in one file.
fn violations(room: &str, file: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (line, used) in rooms_used(source) {
        if !may_use(room, &used) {
            found.push(format!("{file}:{line}: {room} must not use {used}"));
        }
    }
    found
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("read a folder of the sources") {
        let path = entry.expect("read an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Every file of `src/` that belongs to a room: the room, its path, its text.
fn house() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    let mut house = Vec::new();
    for path in files {
        let inside = path.strip_prefix(&root).expect("it is inside");
        let first = inside.iter().next().expect("a file has a name").to_string_lossy();
        let room = first.trim_end_matches(".rs").to_owned();
        if room == "main" || room == "lib" {
            continue;
        }
        let text = fs::read_to_string(&path).expect("read a source");
        house.push((room, format!("src/{}", inside.display()), text));
    }
    house
}

#[test]
fn imports_go_down() {
    let mut found = Vec::new();
    for (room, file, text) in house() {
        found.extend(violations(&room, &file, &text));
    }
    assert!(
        found.is_empty(),
        "the floor plan is broken:\n  {}",
        found.join("\n  ")
    );
}

#[test]
fn every_room_is_in_the_plan_and_every_room_of_the_plan_exists() {
    let house: BTreeSet<String> = house().into_iter().map(|(room, ..)| room).collect();
    let plan: BTreeSet<String> = PLAN.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(house, plan);
}

#[test]
fn planted_violations_are_caught() {
    let cases = [
        (
            "domain",
            "use crate::wire::subject;",
            Some("src/x.rs:1: domain must not use wire"),
        ),
        (
            "domain",
            "use crate::clock::Clock;",
            Some("domain must not use clock"),
        ),
        (
            "orders",
            "\n\nuse crate::app::Ended;",
            Some("src/x.rs:3: orders must not use app"),
        ),
        (
            "orders",
            "let sim = crate::sim::Sim::start();",
            Some("orders must not use sim"),
        ),
        (
            "positions",
            "use crate::drop_copy::DropCopy;",
            Some("positions must not use drop_copy"),
        ),
        (
            "bus",
            "fn f() -> crate::alpaca::Pacer {",
            Some("bus must not use alpaca"),
        ),
        ("sim", "use crate::alpaca::rest;", Some("sim must not use alpaca")),
        ("drop_copy", "use crate::positions::PositionsHandle;", None),
        ("orders", "use crate::orders::Desk;", None),
        ("orders", "// once lived in crate::app", None),
        ("orders", "pub(crate) fn f() {}", None),
        ("cli", "use crate::app;", None),
    ];
    for (room, source, expected) in cases {
        let found = violations(room, "src/x.rs", source);
        match expected {
            Some(expected) => assert!(
                found.len() == 1 && found[0].contains(expected),
                "{source}: {found:?}"
            ),
            None => assert!(found.is_empty(), "{source}: {found:?}"),
        }
    }
}

#[test]
fn generated_types_stay_behind_their_door() {
    let leaks: Vec<_> = house()
        .into_iter()
        .filter(|(room, ..)| room != "wire")
        .filter(|(.., text)| text.contains("wire::proto"))
        .map(|(_, file, _)| file)
        .collect();
    assert_eq!(leaks, Vec::<String>::new(), "prost types are known in wire only");
}

/// Cargo reads no manifest that names a target without its file, so the layer of dependencies needs each of them.
#[test]
fn the_image_is_built_with_every_target_that_is_named() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let (manifest, image) = (text("Cargo.toml"), text("Dockerfile"));
    let manifest: toml::Table = manifest.parse().unwrap();
    let named = |kind: &str, folder: &str| -> Vec<String> {
        let targets = manifest[kind].as_array().unwrap().iter();
        let place = |target: &toml::Value| {
            let path = target.get("path").and_then(toml::Value::as_str);
            path.map_or_else(
                || format!("{folder}/{}.rs", target["name"].as_str().unwrap()),
                str::to_owned,
            )
        };
        targets.map(place).collect()
    };
    let all = [named("bench", "benches"), named("test", "tests")].concat();
    assert!(all.len() >= 4, "{all:?}");
    for file in all
        .iter()
        .chain(&["build.rs".to_owned(), "src/main.rs".to_owned()])
    {
        assert!(
            image.contains(&format!(" {file}")),
            "{file} is not made in the Dockerfile"
        );
    }
}
