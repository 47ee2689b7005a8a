//! The truth log, as a checker reads it; and the TLS listener.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn parsed(lines: impl Iterator<Item = String>) -> Vec<Value> {
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

#[tokio::test]
async fn a_file_tells_the_whole_story_in_order_and_no_secret() {
    let folder = std::env::temp_dir().join(format!("nalpaca-sim-truth-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("truth.jsonl");
    let config = SimConfig {
        truth_log: Some(path.clone()),
        ..SimConfig::default()
    };
    let sim = sim(config).await;
    let mut socket = listening(&sim).await;
    sim.fault("submit_order: cut-after-commit").unwrap();
    let lost = keyed(&sim, Method::POST, "/v2/orders").body(market_order("lost").to_string());
    assert!(lost.send().await.is_err());
    for _ in 0..3 {
        hear(&mut socket).await;
    }
    let in_memory = sim.truth(0);
    sim.stop().await;
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(!text.contains("sim-secret"));
    let records = parsed(text.lines().map(str::to_owned));
    for (at, record) in records.iter().enumerate() {
        assert_eq!(record["seq"], at + 1);
    }
    assert!(records.is_sorted_by_key(|record| record["mono_ns"].as_u64()));
    let in_memory = parsed(in_memory.iter().map(ToString::to_string));
    assert_eq!(records[..in_memory.len()], in_memory);

    let order = sim_order(&records);
    let kinds: Vec<_> = records
        .iter()
        .map(|record| record["kind"].as_str().unwrap())
        .collect();
    let first = |kind: &str| kinds.iter().position(|found| *found == kind).unwrap();
    assert_eq!((kinds[0], &records[0]["format"]), ("start", &json!(1)));
    let post = records
        .iter()
        .position(|record| record["endpoint"] == "submit_order" && record["kind"] == "request");
    let post = post.unwrap();
    assert_eq!(records[post]["auth"], "key");
    assert!(records[post]["body"].as_str().unwrap().contains("lost"));
    assert!(post < first("fault") && first("fault") < first("commit"));
    assert_eq!(records[first("fault")]["what"], "cut-after-commit");
    let commit = &records[first("commit")];
    assert_eq!((&commit["request"], &commit["order_id"]), (&json!(1), &order));
    assert!(first("commit") < first("event") && first("event") < first("fill"));
    assert_eq!(records[first("fill")]["client_order_id"], "lost");
    assert!(!kinds.contains(&"answer"), "nobody was told");
    let mut frames = BTreeMap::new();
    for record in records.iter().filter(|record| record["kind"] == "frame") {
        let frame: Value = serde_json::from_str(record["text"].as_str().unwrap()).unwrap();
        let event = frame["data"]["event"].as_str().unwrap_or("dialogue").to_owned();
        *frames.entry(event).or_insert(0) += 1;
    }
    let expected = [("dialogue", 2), ("fill", 1), ("new", 1), ("pending_new", 1)];
    assert_eq!(
        frames,
        expected.map(|(event, count)| (event.to_owned(), count)).into()
    );
    assert_eq!(records.last().unwrap()["state"], "closed");
}

fn sim_order(records: &[Value]) -> Value {
    let event = records.iter().find(|record| record["kind"] == "event");
    event.unwrap()["order_id"].clone()
}

#[tokio::test]
async fn the_log_is_paged_by_the_admin_endpoint() {
    let sim = fast_sim().await;
    get(&sim, "/v2/clock").await;
    let page = async |query: &str| -> Value {
        let url = format!("{}/_sim/truth?{query}", sim.base_url());
        let text = client().get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let first = page("since=1&limit=2").await;
    assert_eq!((&first["next"], &first["forgotten"]), (&json!(3), &json!(0)));
    assert_eq!(first["records"][1]["path"], "/v2/clock");
    let second = page("since=3").await;
    assert_eq!(second["records"][0]["kind"], "answer");
    assert_eq!(
        page(&format!("since={}", second["next"])).await["records"],
        json!([])
    );
    sim.stop().await;
}

#[tokio::test]
async fn a_truth_log_that_cannot_be_made_is_said_at_the_start() {
    let config = SimConfig {
        truth_log: Some("/nonexistent/folder/truth.jsonl".into()),
        ..SimConfig::default()
    };
    assert!(matches!(Sim::start(config).await, Err(SimError::TruthLog { .. })));
}

#[tokio::test]
async fn tls_clients_meet_the_same_venue() {
    let config = SimConfig {
        tls_listen: Some(([127, 0, 0, 1], 0).into()),
        ..SimConfig::default()
    };
    let sim = sim(config).await;
    let mut roots = rustls::RootCertStore::empty();
    let certificate =
        <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(
            sim.tls_certificate().unwrap().as_bytes(),
        );
    roots.add(certificate.unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let connect = async || {
        let tcp = TcpStream::connect(sim.tls_address().unwrap()).await.unwrap();
        connector
            .connect("localhost".try_into().unwrap(), tcp)
            .await
            .unwrap()
    };
    let mut plain = connect().await;
    let request =
        "GET /v2/clock HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sim-secret\r\nconnection: close\r\n\r\n";
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.contains("is_open"),
        "{answer}"
    );

    let tls = connect().await;
    let (mut socket, _) = tokio_tungstenite::client_async("wss://localhost/stream", tls)
        .await
        .unwrap();
    let hello = json!({"action": "auth", "key": "sim-key", "secret": "sim-secret"}).to_string();
    socket.send(Message::text(hello)).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    assert!(answer.to_string().contains("authorized"));
    assert!(sim.stream_is_connected());
    sim.stop().await;
}
