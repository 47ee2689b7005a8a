//! Messages that break NATS clients.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::arena::{Arena, resting};
use super::judge::history::Kind;

/// One of them.
pub(crate) struct Poison {
    /// The id in its subject; none where the subject cannot be read.
    id: String,
    subject: Vec<u8>,
    header: Vec<u8>,
}

/// One of each kind.
pub(crate) fn all() -> Vec<Poison> {
    let poison = |id: &str, header: &[u8]| Poison {
        id: id.to_owned(),
        subject: format!("nalpaca.action.v0.orders.{id}").into_bytes(),
        header: header.to_vec(),
    };
    let mut not_utf8 = poison("", b"NATS/1.0\r\nX-Note: a\r\n\r\n");
    not_utf8.subject.extend_from_slice(&[0xff, 0xfe]);
    vec![
        poison("poison.cr", b"NATS/1.0\r\nX-Note: a\rb\r\n\r\n"),
        poison("poison.name", b"NATS/1.0\r\nX Note\xff: a\r\n\r\n"),
        poison("poison.version", b"NATS/9.9\r\nX-Note: a\r\n\r\n"),
        not_utf8,
    ]
}

/// Publishes bytes that no client would.
pub(crate) async fn publish(arena: &mut Arena, poison: &Poison) {
    let payload = resting("MSFT").to_string();
    let mut socket = TcpStream::connect(arena.world.nats.url())
        .await
        .expect("connect to nats-server");
    let mut bytes =
        b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB ack 1\r\nHPUB ".to_vec();
    bytes.extend_from_slice(&poison.subject);
    let sizes = format!(
        " ack {} {}\r\n",
        poison.header.len(),
        poison.header.len() + payload.len()
    );
    bytes.extend_from_slice(sizes.as_bytes());
    bytes.extend_from_slice(&poison.header);
    bytes.extend_from_slice(payload.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    socket.write_all(&bytes).await.expect("write to nats-server");
    // The stream's answer says where it stands.
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    let sequence = loop {
        let read = socket.read(&mut buffer).await.expect("read from nats-server");
        assert_ne!(read, 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&buffer[..read]));
        let after = answer.split("\"seq\":").nth(1);
        let digits: Option<String> =
            after.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect());
        if let Some(Ok(sequence)) = digits.map(|digits| digits.parse()) {
            break sequence;
        }
    };
    arena.publisher.noted(Kind::Poison, &poison.id, sequence);
}
