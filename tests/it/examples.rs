//! What a newcomer runs first: the demo, and the Python example with classes generated from `proto/`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::support::order::buy;
use crate::support::scratch::Scratch;
use crate::support::world::{JOURNAL_STREAM, Plan};
use crate::support::{World, until};

/// Longer than either takes by an order of magnitude.
const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command to its end; what it printed, and whether it succeeded.
async fn run(command: &mut Command) -> (bool, String) {
    let running = command
        .current_dir(root())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, running)
        .await
        .expect("it ends by itself")
        .expect("it starts");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

fn tool(path: &str) -> PathBuf {
    let path = root().join(path);
    assert!(
        path.exists(),
        "{} is missing; run `make test`, which fetches and generates it",
        path.display()
    );
    path
}

#[tokio::test]
async fn the_demo_does_the_main_job_and_ends_well() {
    let server = tool(".tools/nats-server/2.15.1/nats-server");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_nalpaca"));
    let (good, text) = run(demo.arg("demo").arg("--nats-server").arg(server)).await;
    assert!(good, "{text}");
    for line in [
        "10 commands published, 10 outcomes",
        "for 6 orders it took and 1 it refused; 0 orders twice",
        "BTC/USD",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_python_example_sees_outcome_fill_and_position() {
    let world = World::start().await;
    let classes = tool("examples/python/gen/tradesvc");
    let packages = tool(".tools/python");
    assert!(classes.is_dir());
    for (symbol, expected) in [("BRK.B", Some("position: 2 BRK.B")), ("NOPE", None)] {
        let mut example = Command::new("python3");
        let example = example
            .args(["examples/python/place_order.py", symbol, "buy", "2"])
            .env("PYTHONPATH", &packages)
            .env("NATS_URL", world.nats.url());
        let (good, text) = run(example).await;
        assert_eq!(good, expected.is_some(), "{text}");
        assert!(
            text.contains(expected.unwrap_or("OUTCOME_KIND_REJECTED")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_python_plotter_asks_for_what_it_plots() {
    let mut plan = Plan::new().set("ENABLE_STOCK_STREAM", "true");
    plan.sim.quote_interval = Duration::from_millis(50);
    let world = plan.start().await;
    let packages = tool(".tools/python");
    let plot = async |symbol: &str, count: &str| {
        let mut example = Command::new("python3");
        let example = example
            .args([
                "examples/python/plot_prices.py",
                symbol,
                "--of",
                "quotes",
                "--subscribe",
                "--count",
                count,
            ])
            .env("PYTHONPATH", &packages)
            .env("NATS_URL", world.nats.url());
        run(example).await
    };
    let (good, text) = plot("BRK.B", "5").await;
    assert!(good, "{text}");
    assert_eq!(text.matches("BRK.B ").count(), 5, "{text}");
    let (good, text) = plot("BTC/USD", "1").await;
    assert!(!good && text.contains("ENABLE_CRYPTO_STREAM=true"), "{text}");
}

#[tokio::test]
async fn the_python_follower_goes_on_where_it_stopped() {
    let world = World::start().await;
    let packages = tool(".tools/python");
    let scratch = Scratch::new();
    let state = scratch.path().join("events.seq");
    let follow = async || {
        let mut example = Command::new("python3");
        let example = example
            .args(["examples/python/follow_updates.py", "--until-now", "--state"])
            .arg(&state)
            .env("PYTHONPATH", &packages)
            .env("NATS_URL", world.nats.url());
        let (good, text) = run(example).await;
        assert!(good, "{text}");
        text
    };
    assert_eq!(follow().await, "", "nothing happened yet");
    let mut told = String::new();
    for id in ["follow.1", "follow.2"] {
        world.order(id, &buy("AAPL", "2")).await;
        until("the fill in the journal", async || {
            let subject = format!("nalpaca.journal.v0.updates.{id}");
            let updates = world.stored(JOURNAL_STREAM, &subject).await;
            updates
                .iter()
                .any(|update| update.message()["event"] == "fill")
                .then_some(())
        })
        .await;
        told = follow().await;
        assert!(told.contains(&format!("fill AAPL {id} 2 @ ")), "{told}");
        assert_eq!(told.matches(" new AAPL ").count(), 1, "each event once: {told}");
    }
    assert!(!told.contains("follow.1"), "{told}");
    assert_eq!(follow().await, "", "nothing happened since");
}
