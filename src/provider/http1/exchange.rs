use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Method, Response};
use hyper_rustls::MaybeHttpsStream;
use pointsman_layers::body::ReplayBody;

use super::{
    Connection, Error, Http1Body, Pool, cut_off,
    head::{Head, HeadReader},
};
use crate::provider::client::Dialing;

/// A request under way to the head of its answer. Dropped before, it closes its connection.
pub(in crate::provider) struct Exchange {
    state: State,
    method: Method,
    pool: Arc<Pool>,
}

enum State {
    /// There is no connection yet. Boxed, as it is large and rare.
    Connecting(Box<(Dialing, Bytes, ReplayBody)>),
    Sent(Box<Connection>, HeadReader),
    Over,
}

impl Exchange {
    pub(super) fn on(
        mut connection: Box<Connection>,
        pool: &Arc<Pool>,
        method: Method,
        head: Bytes,
        body: ReplayBody,
    ) -> Self {
        connection.send(head, body);
        Self { state: State::Sent(connection, HeadReader::default()), method, pool: Arc::clone(pool) }
    }

    pub(super) fn connect(dialing: Dialing, pool: &Arc<Pool>, method: Method, head: Bytes, body: ReplayBody) -> Self {
        Self { state: State::Connecting(Box::new((dialing, head, body))), method, pool: Arc::clone(pool) }
    }
}

impl Future for Exchange {
    type Output = Result<Response<Http1Body>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Connecting(waiting) => {
                    let (dialing, head, body) = &mut **waiting;
                    let stream = match ready!(Pin::new(dialing).poll(cx)).map_err(Error::Connect)? {
                        MaybeHttpsStream::Http(stream) => stream.into_inner(),
                        MaybeHttpsStream::Https(_) => return Poll::Ready(Err(Error::Connect("TLS on http".into()))),
                    };
                    let mut connection = Box::new(Connection::new(stream));
                    connection.send(std::mem::take(head), std::mem::take(body));
                    this.state = State::Sent(connection, HeadReader::default());
                }
                State::Sent(connection, reader) => {
                    // A provider may answer before it has all of the request, and then close the connection.
                    let sent = match connection.poll_send(cx) {
                        Poll::Ready(Err(error)) => Err(error),
                        _ => Ok(()),
                    };
                    let head = ready!(poll_head(connection, reader, &this.method, cx));
                    let Head { response, framing, keeps_alive } = match (head, sent) {
                        (Ok(head), _) => head,
                        (Err(_), Err(error)) if connection.has_sent => return Poll::Ready(Err(Error::Broken(error))),
                        // It cannot have been carried out.
                        (Err(_), Err(error)) => return Poll::Ready(Err(Error::Connect(error.into()))),
                        (Err(error), Ok(())) => return Poll::Ready(Err(error)),
                    };
                    let State::Sent(connection, _) = std::mem::replace(&mut this.state, State::Over) else {
                        unreachable!("it is what was matched");
                    };
                    let body = Http1Body::new(connection, framing, keeps_alive.then(|| Arc::clone(&this.pool)));
                    return Poll::Ready(Ok(response.map(|()| body)));
                }
                State::Over => panic!("a future is not polled after it is ready"),
            }
        }
    }
}

fn poll_head(
    connection: &mut Connection,
    reader: &mut HeadReader,
    method: &Method,
    cx: &mut Context<'_>,
) -> Poll<Result<Head, Error>> {
    loop {
        if ready!(connection.poll_read(cx)).map_err(Error::Broken)? == 0 {
            return Poll::Ready(Err(cut_off("connection closed before message completed")));
        }
        if let Some(head) = reader.take(&mut connection.read, method)? {
            return Poll::Ready(Ok(head));
        }
    }
}
