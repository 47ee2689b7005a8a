//! Every door shows the same settings: the table, its forms, and the template in the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::daemon::Environment;
use crate::support::run;

/// Variables of an environment file, also those that are commented out.
fn variables(text: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let (name, _) = line.split_once('=')?;
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        (!name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
    };
    text.lines()
        .filter_map(name)
        .filter(|name| !["NAME", "NAME_FILE"].contains(&name.as_str()))
        .collect()
}

#[tokio::test]
async fn the_template_holds_every_variable_and_no_other() {
    let printed = run(&["config", "env", "--output", "env"], &Environment::new()).await;
    assert_eq!(printed.code, 0);
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.tmpl");
    let template = fs::read_to_string(template).expect("read .env.tmpl");
    let known = variables(&printed.stdout);
    assert!(known.contains("ALPACA_API_KEY") && known.len() > 30, "{known:?}");
    assert_eq!(
        variables(&template),
        known,
        "run `nalpaca config env --output env`"
    );
}

#[tokio::test]
async fn the_table_and_its_json_name_the_same_variables() {
    let nothing = Environment::new();
    let env = run(&["config", "env", "--output", "env"], &nothing).await;
    let json = run(&["config", "env", "--output", "json"], &nothing).await;
    let json: Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    let listed: BTreeSet<String> = json
        .as_array()
        .expect("a list")
        .iter()
        .map(|setting| setting["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(listed, variables(&env.stdout));
    let table = run(&["config", "env"], &nothing).await;
    for name in &listed {
        assert!(table.stdout.contains(&format!("  {name} ")), "{name}");
    }
}

#[tokio::test]
async fn the_template_as_it_is_asks_only_for_keys() {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.tmpl");
    let template = fs::read_to_string(template).expect("read .env.tmpl");
    let mut environment = Environment::new();
    for line in template.lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, value)) = line.split_once('=') {
            environment.insert(name.to_owned(), value.to_owned());
        }
    }
    let without = run(&["check-config"], &environment).await;
    assert_eq!(without.code, 78);
    let said = without.stdout + &without.stderr;
    assert!(said.contains("ALPACA_API_KEY"), "{said}");
    environment.insert("ALPACA_API_KEY".to_owned(), "PK1".to_owned());
    environment.insert("ALPACA_API_SECRET".to_owned(), "aSecretOfTheTemplate".to_owned());
    let with = run(&["check-config"], &environment).await;
    assert_eq!(with.code, 0, "{}{}", with.stdout, with.stderr);
    assert!(!with.stdout.contains("aSecretOfTheTemplate"));
}
