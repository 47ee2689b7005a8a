//! The program as a process: how it starts, how it ends, and what it never says.

use std::time::Duration;

use nalpaca::sim::Sim;
use tokio::net::UnixDatagram;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::daemon::{Environment, KEY, SECRET};
use crate::support::scratch::Scratch;
use crate::support::world::{self, Plan};
use crate::support::{Daemon, NatsServer, Release, run, until};

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn wrong_keys_end_the_daemon_with_the_names_of_the_variables() {
    let nats = NatsServer::start(Release::Recent).await;
    let sim = Sim::start(Plan::new().sim).await.expect("start the simulator");
    let mut variables = world::environment(&nats, &sim);
    variables.insert("ALPACA_API_SECRET".to_owned(), "notTheSecretOfThisKey".to_owned());
    let mut daemon = Daemon::start(variables);
    assert_eq!(daemon.ended().await, 77);
    let log = daemon.log();
    assert!(
        log.contains("check ALPACA_API_KEY and ALPACA_API_SECRET"),
        "{log}"
    );
    assert!(!log.contains("notTheSecretOfThisKey"));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_refused_with_every_problem_at_once() {
    let bad = environment(&[
        ("ORDER_MAX_AGE", "soon"),
        ("METRICS_PORT", "0"),
        ("PREFIX", "has a space"),
        ("ALPACA_API_KEY", KEY),
        ("ALPACA_URL", "https://api.alpaca.markets"),
    ]);
    for arguments in [vec![], vec!["serve"], vec!["check-config"]] {
        let ended = run(&arguments, &bad).await;
        assert_eq!(ended.code, 78, "{arguments:?}");
        let said = ended.stdout + &ended.stderr;
        for name in [
            "ORDER_MAX_AGE",
            "METRICS_PORT",
            "PREFIX",
            "ALPACA_API_SECRET",
            "LIVE_TRADING=yes",
        ] {
            assert!(said.contains(name), "{name} is not named in\n{said}");
        }
    }
}

#[tokio::test]
async fn help_and_version_answer_and_a_wrong_command_line_is_told() {
    let nothing = Environment::new();
    let help = run(&["--help"], &nothing).await;
    assert_eq!(help.code, 0);
    for word in [
        "serve",
        "check-config",
        "provision",
        "Exit codes",
        "ALPACA_API_SECRET",
    ] {
        assert!(help.stdout.contains(word), "{word} is not in\n{}", help.stdout);
    }
    let version = run(&["--version"], &nothing).await;
    assert_eq!(version.code, 0);
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")));
    let wrong = run(&["--no-such-flag"], &nothing).await;
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("--no-such-flag"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_variable_that_changes_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a port");
    let port = taken.local_addr().expect("it has an address").port().to_string();
    let variables = environment(&[
        ("ALPACA_API_KEY", KEY),
        ("ALPACA_API_SECRET", SECRET),
        ("METRICS_PORT", &port),
    ]);
    let ended = run(&[], &variables).await;
    assert_eq!(ended.code, 70);
    assert!(ended.stdout.contains("METRICS_PORT"), "{}", ended.stdout);
    assert!(ended.stdout.contains(&port), "{}", ended.stdout);
}

/// What gRPC's health service says of a name, to a probe like Kubernetes'.
async fn health(port: u16, service: &str) -> Option<i32> {
    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).ok()?;
    let mut client = HealthClient::new(channel.connect().await.ok()?);
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    client
        .check(request)
        .await
        .ok()
        .map(|answer| answer.into_inner().status)
}

#[tokio::test]
async fn grpc_probes_are_answered_as_those_over_http() {
    const SERVING: i32 = 1;
    const NOT_SERVING: i32 = 2;
    let nats = NatsServer::reserve(Release::Recent);
    let mut world = Plan::new().start_on(nats).await;
    let port = world.daemon.health_port;
    for (service, status) in [("", SERVING), ("liveness", SERVING), ("readiness", NOT_SERVING)] {
        until(&format!("{service:?} without NATS"), async || {
            (health(port, service).await? == status).then_some(())
        })
        .await;
    }
    world.nats.run().await;
    world.daemon.ready().await;
    until("readiness", async || {
        (health(port, "readiness").await? == SERVING).then_some(())
    })
    .await;
    assert_eq!(health(port, "somebody-else").await, None);
    world.nats.kill9();
    until("readiness to fall", async || {
        (health(port, "readiness").await? == NOT_SERVING).then_some(())
    })
    .await;
    assert_eq!(health(port, "").await, Some(SERVING));
    assert_eq!(world.daemon.terminate().await, 0);
}

#[tokio::test]
async fn systemd_is_told_when_it_is_ready_what_it_waits_for_and_when_it_stops() {
    let scratch = Scratch::new();
    let path = scratch.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bind a socket");
    let mut told = String::new();
    let mut heard = async |word: &str| {
        let give_up = tokio::time::Instant::now() + Duration::from_secs(30);
        let mut bytes = [0; 4096];
        // Several words may come in one message.
        while !told.lines().any(|line| line.starts_with(word)) {
            let message = tokio::time::timeout_at(give_up, socket.recv(&mut bytes)).await;
            let length = message
                .unwrap_or_else(|_| panic!("{word} is not among {told}"))
                .expect("a message");
            told.push_str(&String::from_utf8_lossy(&bytes[..length]));
            told.push('\n');
        }
    };
    let plan = Plan::new()
        .set("NOTIFY_SOCKET", path.to_str().expect("a path"))
        .set("WATCHDOG_USEC", "3000000");
    let mut world = plan.start().await;
    heard("READY=1").await;
    heard("STATUS=mode normal").await;
    heard("WATCHDOG=1").await;
    world.sim.refuse_streams_for(Duration::from_secs(600));
    world.sim.drop_streams();
    heard("STATUS=blind: ").await;
    assert_eq!(world.daemon.terminate().await, 0);
    heard("STOPPING=1").await;
}
