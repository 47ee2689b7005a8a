//! A venue of scripted bytes on loopback: one connection per reply, on a thread of its own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

/// What the server does with one request.
pub(super) enum Reply {
    /// Writes these bytes and closes.
    Close(String),
    /// Writes these bytes and says nothing more.
    Stall(String),
    /// Writes these bytes, reads a second request on the same connection and closes without a word.
    KeepThenClose(String),
}

impl Reply {
    /// A whole answer.
    pub(super) fn whole(status: u16, headers: &str, body: &str) -> Self {
        Self::Close(format!("{}{body}", head(status, headers, body.len())))
    }
}

/// The head of an answer that promises a body of `length`. Each of `headers` ends in CR LF.
pub(super) fn head(status: u16, headers: &str, length: usize) -> String {
    format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n")
}

/// A whole answer after which the connection stays open.
pub(super) fn whole_kept(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Serves the replies in order. Gives the address, and every request as text.
pub(super) fn serve(replies: Vec<Reply>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for reply in replies {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = read_request(&mut socket);
            let (Reply::Close(bytes) | Reply::Stall(bytes) | Reply::KeepThenClose(bytes)) = &reply;
            // The client may have hung up by now; that is what some tests are about.
            let _ = socket.write_all(bytes.as_bytes());
            match reply {
                Reply::Close(_) => {}
                Reply::Stall(_) => held.push(socket),
                Reply::KeepThenClose(_) => request += &read_request(&mut socket),
            }
            if sender.send(request).is_err() {
                return;
            }
        }
        // A silent connection stays open; the thread ends with the process.
        while !held.is_empty() {
            std::thread::park();
        }
    });
    (address, requests)
}

fn read_request(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        match socket.read(&mut chunk).unwrap() {
            0 => return text,
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
}
