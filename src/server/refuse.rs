use std::{sync::Arc, time::Duration};

use http::StatusCode;
use pointsman_layers::body::ErrorAnswer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use super::io::raw_answer;

/// How many refused clients are told why at a time; the others find their connection closed.
const MOST_TOLD: usize = 128;

/// The time for that.
const TELLING: Duration = Duration::from_secs(1);

/// Tells clients that there is no place for their connection.
#[derive(Debug)]
pub(super) struct Refusals {
    /// `None` where a client would not understand: before a TLS handshake.
    answer: Option<Arc<[u8]>>,
    places: Arc<Semaphore>,
}

impl Refusals {
    pub(super) fn new(is_tls: bool) -> Self {
        let message = "the gateway has all the connections that it can have";
        let answer = ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", message)
            .retry_after(Duration::from_secs(1));
        let answer = (!is_tls).then(|| raw_answer(&answer).into());
        Self { answer, places: Arc::new(Semaphore::new(MOST_TOLD)) }
    }

    pub(super) fn refuse(&self, mut stream: TcpStream) {
        let (Some(answer), Ok(place)) = (self.answer.clone(), Arc::clone(&self.places).try_acquire_owned()) else {
            return;
        };
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
