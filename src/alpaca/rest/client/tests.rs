//! The trading client beside a server that answers what a test says.

use std::sync::mpsc::Receiver;

use super::*;
use crate::alpaca::rest::test_server::{Reply, head, serve, whole_kept};
use crate::domain::order::{Exits, Pricing, Side, Size, Structure, TimeInForce};
use crate::domain::{NewOrder, Price, Quantity, Symbol};

const ORDER: &str = include_str!("../../fixtures/order_limit.json");

fn client(base_url: &str) -> Client {
    let endpoint = Endpoint {
        base_url: base_url.to_owned(),
        credential: Credential::key_pair("PKTEST".into(), "s3cr3t".into()).unwrap(),
        request_timeout: Duration::from_millis(500),
    };
    Client::new(endpoint, Pacer::new(200)).unwrap()
}

fn new_order() -> NewOrder {
    NewOrder {
        structure: Structure::Single {
            symbol: Symbol::parse("AAPL").unwrap(),
            side: Side::Buy,
            pricing: Pricing::Limit {
                limit: Price::parse("150").unwrap(),
            },
            exits: Exits::None,
        },
        size: Size::Quantity(Quantity::parse("2").unwrap()),
        time_in_force: TimeInForce::Gtc,
        extended_hours: false,
        position_intent: None,
        advanced: None,
        valid_until: None,
    }
}

async fn submit(client: &Client) -> SubmitAnswer {
    let id = ClientOrderId::parse("momentum.1").unwrap();
    let permit = client.pacer().acquire(Lane::NewOrder).await;
    client
        .submit(permit, &id, &Placement::New(new_order()), LastCheck::new(|| true))
        .await
}

/// What comes of an order when the venue does this once. Whoever asks again is told that it was accepted, so
/// any other answer also shows that nobody did.
async fn submit_to(reply: Reply) -> (SubmitAnswer, Receiver<String>) {
    let (address, requests) = serve(vec![reply, Reply::whole(200, "", ORDER)]);
    (submit(&client(&address)).await, requests)
}

#[tokio::test]
async fn what_the_last_check_withholds_is_not_written() {
    let (address, requests) = serve(vec![Reply::whole(200, "", ORDER)]);
    let client = client(&address);
    let id = ClientOrderId::parse("momentum.1").unwrap();
    let asked = Placement::New(new_order());
    let permit = client.pacer().acquire(Lane::NewOrder).await;
    let answer = client.submit(permit, &id, &asked, LastCheck::new(|| false)).await;
    assert!(matches!(answer, SubmitAnswer::NotSent { .. }), "{answer:?}");
    let silence = requests
        .recv_timeout(Duration::from_millis(100))
        .unwrap_or_default();
    assert_eq!(silence, "", "not even the head");
}

#[tokio::test]
async fn an_order_is_posted_once_with_our_id_and_headers() {
    let (address, requests) = serve(vec![Reply::whole(
        200,
        "x-request-id: abc123\r\nx-ratelimit-remaining: 17\r\n",
        ORDER,
    )]);
    let client = client(&address);
    let SubmitAnswer::Accepted(acceptance) = submit(&client).await else {
        panic!("the venue showed our order");
    };
    assert_eq!(acceptance.request_id.as_deref(), Some("abc123"));
    assert_eq!(client.pacer().remaining(), 17);
    let request = requests.recv().unwrap();
    assert!(request.starts_with("POST /v2/orders HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains("\r\napca-api-secret-key: s3cr3t\r\n"),
        "{request}"
    );
    assert!(
        request.contains("\r\ncontent-type: application/json\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\ncontent-length: "), "{request}");
    assert!(request.contains(r#""client_order_id":"momentum.1""#), "{request}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_secret_stays_here() {
    let (elsewhere, stolen) = serve(vec![Reply::whole(200, "", ORDER)]);
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {elsewhere}/v2/orders\r\n");
        let (heard, _) = submit_to(Reply::whole(status, &location, "")).await;
        assert!(
            matches!(heard, SubmitAnswer::Unknown { .. }),
            "{status} {heard:?}"
        );
    }
    assert!(stolen.try_recv().is_err());
}

#[tokio::test]
async fn an_answer_that_is_not_whole_proves_nothing() {
    let cut = format!("{}{}", head(200, "", ORDER.len()), &ORDER[..40]);
    let refusal = head(422, "", 60);
    let endless = head(200, "", BODY_MAX + 1) + &" ".repeat(BODY_MAX + 1);
    for (name, reply) in [
        ("cut after the headers", Reply::Close(head(200, "", 100))),
        ("cut in the body", Reply::Close(cut)),
        ("refusal without its body", Reply::Close(refusal)),
        ("closed at once", Reply::Close(String::new())),
        ("not HTTP", Reply::Close("SSH-2.0-OpenSSH_9.6\r\n".to_owned())),
        ("over the cap", Reply::Close(endless)),
        ("silent", Reply::Stall(String::new())),
        ("silent in the body", Reply::Stall(head(200, "", 100))),
    ] {
        let (heard, requests) = submit_to(reply).await;
        assert!(matches!(heard, SubmitAnswer::Unknown { .. }), "{name}: {heard:?}");
        assert!(requests.recv().unwrap().starts_with("POST"), "{name}");
    }
}

#[tokio::test]
async fn an_order_lost_on_a_reused_connection_is_not_posted_again() {
    let whole = Reply::whole(200, "", ORDER);
    let (address, requests) = serve(vec![Reply::KeepThenClose(whole_kept(ORDER)), whole]);
    let client = client(&address);
    let first = client.find_by_client_order_id("momentum.1").await;
    assert!(matches!(first, LookUpAnswer::Found(_)), "{first:?}");
    let heard = submit(&client).await;
    assert!(matches!(heard, SubmitAnswer::Unknown { .. }), "{heard:?}");
    let both = requests.recv().unwrap();
    assert!(
        both.contains("\r\n\r\nPOST /v2/orders "),
        "one connection: {both}"
    );
}

#[tokio::test]
async fn what_never_connected_was_not_sent() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let (plain, _requests) = serve(vec![Reply::Close("not TLS".to_owned())]);
    // The system opens connections to it, and nobody says a word on them.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for base_url in [
        format!("http://{address}"),
        format!("https://{}", mute.local_addr().unwrap()),
        plain.replace("http://", "https://"),
        "http://no-such-host.invalid".to_owned(),
    ] {
        let heard = submit(&client(&base_url)).await;
        let SubmitAnswer::NotSent { cause, retry_after } = heard else {
            panic!("{base_url}: {heard:?}");
        };
        assert_eq!(retry_after, None);
        assert!(!cause.contains("s3cr3t"), "{cause}");
    }
}

#[tokio::test]
async fn a_429_is_not_sent_and_closes_the_budget() {
    let (address, _requests) = serve(vec![Reply::whole(429, "retry-after: 7\r\n", "slow down")]);
    let client = client(&address);
    let SubmitAnswer::NotSent { retry_after, .. } = submit(&client).await else {
        panic!("a 429 was not sent");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
    assert_eq!(client.pacer().remaining(), 0);
}

#[tokio::test]
async fn ids_travel_escaped() {
    let (address, requests) = serve(vec![Reply::whole(200, "", ORDER)]);
    let heard = client(&format!("{address}/prefix/"))
        .find_by_client_order_id("a&b=c/d?#+ é")
        .await;
    assert!(matches!(heard, LookUpAnswer::Failed { .. }), "another order");
    let request = requests.recv().unwrap();
    let line = request.lines().next().unwrap();
    assert_eq!(
        line,
        "GET /prefix/v2/orders:by_client_order_id?client_order_id=a%26b%3Dc%2Fd%3F%23%2B+%C3%A9\
         &nested=true HTTP/1.1"
    );
}

#[tokio::test]
async fn positions_say_when_they_were_true() {
    let reply = Reply::whole(200, "date: Thu, 12 Nov 2026 08:49:37 GMT\r\n", "[]");
    let (address, _requests) = serve(vec![reply]);
    let read = client(&address).positions(Lane::Read).await.unwrap();
    assert_eq!(read.value, []);
    assert_eq!(read.server_date.unwrap().to_string(), "2026-11-12T08:49:37Z");
}

/// A page of orders with these numbers, one per second.
fn page(numbers: std::ops::Range<usize>) -> String {
    let orders: Vec<_> = numbers
        .map(|number| {
            let at = Timestamp::from_second(1_700_000_000 + number as i64).unwrap();
            format!(r#"{{"id":"00000000-0000-0000-0000-{number:012}","status":"new","submitted_at":"{at}"}}"#)
        })
        .collect();
    format!("[{}]", orders.join(","))
}

#[tokio::test]
async fn a_listing_follows_its_pages_with_overlap_and_names_each_order_once() {
    let (address, requests) = serve(vec![
        Reply::whole(200, "", &page(0..500)),
        Reply::whole(200, "", &page(499..700)),
    ]);
    let orders = client(&address).open_orders(Lane::Cancel).await.unwrap();
    assert_eq!(orders.len(), 700);
    let first = requests.recv().unwrap();
    assert!(
        first.contains("status=open") && !first.contains("after="),
        "{first}"
    );
    let second = requests.recv().unwrap();
    let after = "after=2023-11-14T22%3A21%3A38.999Z";
    assert!(second.contains(after), "{second}");
}

#[tokio::test]
async fn a_listing_that_leads_nowhere_is_no_listing() {
    let (address, _requests) = serve(vec![
        Reply::whole(200, "", &page(0..500)),
        Reply::whole(200, "", &page(0..500)),
    ]);
    let heard = client(&address).orders_since(Timestamp::UNIX_EPOCH).await;
    assert!(matches!(heard, Err(ReadError::Failed { .. })), "{heard:?}");
}

#[tokio::test]
async fn fills_follow_the_page_token() {
    let fill = include_str!("../../fixtures/activities_fill.json").trim();
    let row = |number: usize| {
        fill.trim_matches(['[', ']'])
            .replace("20220202135509981::", &format!("{number:017}::"))
    };
    let full = format!("[{}]", (0..100).map(row).collect::<Vec<_>>().join(","));
    let (address, requests) = serve(vec![
        Reply::whole(200, "", &full),
        Reply::whole(200, "", &format!("[{},{}]", row(99), row(100))),
    ]);
    let fills = client(&address)
        .fill_activities(Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    assert_eq!(fills.len(), 101);
    let first = requests.recv().unwrap();
    assert!(first.contains("activity_types=FILL"), "{first}");
    let second = requests.recv().unwrap();
    assert!(
        second.contains("page_token=00000000000000099%3A%3A2d7be4ff"),
        "{second}"
    );
}

#[test]
fn an_address_must_be_plain() {
    let credential = Credential::bearer("t".into()).unwrap();
    for wrong in [
        "",
        "paper-api.alpaca.markets",
        "ftp://x",
        "https://user:pw@x",
        "https://x/?a=b",
        "https://x/#a",
    ] {
        let endpoint = Endpoint {
            base_url: wrong.to_owned(),
            credential: credential.clone(),
            request_timeout: Duration::from_secs(1),
        };
        let heard = Client::new(endpoint, Pacer::new(200));
        assert!(matches!(heard, Err(ClientError::BaseUrl)), "{wrong}");
    }
}
