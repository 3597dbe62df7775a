use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use pointsman_layers::body::ErrorAnswer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use super::{heads::Fault, strict::faulty};
use crate::gateway::request_id::{Ids, REQUEST_ID};

/// How many refused clients are told why at a time; the others find their connection closed.
const MOST_TOLD: usize = 128;

/// The time for that.
const TELLING: Duration = Duration::from_secs(1);

/// An answer outside of hyper, after which the connection is closed.
pub(super) fn raw_answer(answer: ErrorAnswer, ids: &Ids) -> Bytes {
    let id = ids.next();
    tracing::debug!(id = ?id, code = answer.code(), "refused: {}", answer.message());
    let (status, json) = (answer.status(), answer.to_json());
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        json.len()
    )
    .into_bytes();
    for (name, value) in answer.header(REQUEST_ID, id).headers() {
        bytes.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&json);
    bytes.into()
}

/// What a client hears whose head took too long.
pub(super) fn late() -> ErrorAnswer {
    let message = "the head of the request did not come in time";
    ErrorAnswer::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
}

/// What a client hears whose head is over a limit.
pub(super) fn too_large() -> ErrorAnswer {
    let message = "the head of the request is over the limit, or has more than 100 fields";
    ErrorAnswer::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message)
}

/// What a client hears instead of a refusal of hyper's own, which begins with these bytes and says no more than a
/// status.
pub(super) fn instead_of(bare: &[u8], fault: Option<Fault>) -> ErrorAnswer {
    let (status, code, message) = match bare.get(9..12) {
        Some(b"431") => return too_large(),
        Some(b"414") => (StatusCode::URI_TOO_LONG, "uri_too_long", "the target of the request is over 16 KiB"),
        _ => match fault {
            Some(fault) => return faulty(fault),
            None => (StatusCode::BAD_REQUEST, "invalid_http", "the head of the request is not valid HTTP/1.1"),
        },
    };
    ErrorAnswer::new(status, code, message)
}

/// Tells clients that there is no place for their connection.
#[derive(Debug)]
pub(super) struct Refusals {
    /// `None` where a client would not understand: before a TLS handshake.
    answer: Option<ErrorAnswer>,
    ids: Ids,
    places: Arc<Semaphore>,
}

impl Refusals {
    pub(super) fn new(is_tls: bool, ids: Ids) -> Self {
        let message = "the gateway has all the connections that it can have";
        let answer = ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", message)
            .retry_after(Duration::from_secs(1));
        let answer = (!is_tls).then_some(answer);
        Self { answer, ids, places: Arc::new(Semaphore::new(MOST_TOLD)) }
    }

    pub(super) fn refuse(&self, mut stream: TcpStream) {
        let (Some(answer), Ok(place)) = (self.answer.clone(), Arc::clone(&self.places).try_acquire_owned()) else {
            return;
        };
        let answer = raw_answer(answer, &self.ids);
        tokio::spawn(timeout(TELLING, async move {
            let _place = place;
            stream.write_all(&answer).await?;
            stream.shutdown().await?;
            // Closed with something unread, the connection would be reset, and the answer might be lost with it.
            let mut unread = [0; 1024];
            while stream.read(&mut unread).await? > 0 {}
            Ok::<_, std::io::Error>(())
        }));
    }
}
