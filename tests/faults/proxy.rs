//! A TCP proxy that breaks connections: cuts them, freezes either direction, refuses new ones, slows bytes down.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to bytes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Bytes from the client to the server stand still.
    pub(crate) up_frozen: bool,
    /// Bytes from the server to the client stand still.
    pub(crate) down_frozen: bool,
    /// New connections are closed at once.
    pub(crate) refusing: bool,
    /// Each chunk of bytes waits so long.
    pub(crate) delay: Duration,
}

impl Weather {
    pub(crate) const FAIR: Self = Self {
        up_frozen: false,
        down_frozen: false,
        refusing: false,
        delay: Duration::ZERO,
    };
}

/// What came by: a client order id, and when.
type Passed = Arc<Mutex<Vec<(String, f64)>>>;

/// A proxy in front of one server. Gone when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Goes up with each cut.
    cuts: watch::Sender<u64>,
    /// Requests that name an order, as they came by, and when.
    passed: Passed,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    #[expect(clippy::disallowed_methods, reason = "it is aborted with the proxy")]
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("listen on loopback");
        let address = listener.local_addr().expect("the listener has an address");
        let weather = watch::Sender::new(Weather::FAIR);
        let cuts = watch::Sender::new(0);
        let passed = Passed::default();
        let route = Route {
            target: target.into(),
            passed: Arc::clone(&passed),
        };
        let task = tokio::spawn(serve(listener, route, weather.clone(), cuts.clone()));
        Self {
            passed,
            address,
            weather,
            cuts,
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Requests that named an order in their body, and when they left their sender.
    pub(crate) fn passed(&self) -> Vec<(String, f64)> {
        self.passed
            .lock()
            .expect("nobody panics while it is held")
            .clone()
    }

    /// Resets every connection that is open.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Route {
    target: Arc<str>,
    passed: Passed,
}

async fn serve(
    listener: TcpListener,
    route: Route,
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u64>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if weather.borrow().refusing {
                    reset(client);
                    continue;
                }
                let (route, weather, cuts) = (route.clone(), weather.subscribe(), cuts.subscribe());
                connections.spawn(carry(client, route, weather, cuts));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Closes a connection so that its peer learns of an error, not of an end.
fn reset(socket: TcpStream) {
    let _ = socket.set_zero_linger();
}

async fn carry(
    client: TcpStream,
    route: Route,
    weather: watch::Receiver<Weather>,
    mut cuts: watch::Receiver<u64>,
) {
    let Ok(server) = TcpStream::connect(&*route.target).await else {
        reset(client);
        return;
    };
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true);
        // Whatever ends this ends it the hard way.
        let _ = socket.set_zero_linger();
    }
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    cuts.mark_unchanged();
    let spy = Some(route.passed);
    let up = pump(
        client_reads,
        server_writes,
        weather.clone(),
        |weather| weather.up_frozen,
        spy,
    );
    let down = pump(
        server_reads,
        client_writes,
        weather,
        |weather| weather.down_frozen,
        None,
    );
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = cuts.changed() => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    frozen: impl Fn(&Weather) -> bool,
    passed: Option<Passed>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if let (Some(passed), Some(id)) = (&passed, named(&buffer[..read])) {
            let now = super::arena::now();
            passed
                .lock()
                .expect("nobody panics while it is held")
                .push((id, now));
        }
        if weather.wait_for(|weather| !frozen(weather)).await.is_err() {
            return;
        }
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// The client order id in the body of a request, if these are the bytes of one.
fn named(bytes: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\"client_order_id\":\"";
    let at = bytes.windows(KEY.len()).position(|window| window == KEY)?;
    let rest = &bytes[at + KEY.len()..];
    let end = rest.iter().position(|byte| *byte == b'"')?;
    String::from_utf8(rest[..end].to_vec()).ok()
}
