use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use pin_project::pin_project;
use pointsman_layers::body::ErrorAnswer;
use tokio::time::{Instant, Sleep};
use tower_layer::Layer;
use tower_service::Service;

use super::{client_keys::INVALID_KEY, connection::Connection};

/// How many bad keys an address may send before their answers are slowed: a client with a wrong setting, trying all it
/// knows.
const FREE: u32 = 20;

/// The time that a bad key takes from then on, and in which an address is forgiven one.
const EACH: Duration = Duration::from_secs(1);

/// The longest that an answer is kept back: a client that waits longer takes the gateway for dead.
const LONGEST: Duration = Duration::from_secs(10);

/// How many addresses are remembered. More than that at a time share one memory.
const MOST: usize = 10_000;

/// Slows the answers to bad keys that keep coming from one address. A good key from there is answered as ever.
#[derive(Clone, Debug, Default)]
pub(super) struct SlowBadKeysLayer(Arc<Memory>);

impl<S> Layer<S> for SlowBadKeysLayer {
    type Service = SlowBadKeys<S>;

    fn layer(&self, inner: S) -> SlowBadKeys<S> {
        SlowBadKeys { inner, memory: Arc::clone(&self.0) }
    }
}

/// Until when the bad keys of each address last, each of them being worth [`EACH`]. Touched for bad keys alone.
#[derive(Debug, Default)]
struct Memory(Mutex<Addresses>);

#[derive(Debug, Default)]
struct Addresses {
    until: HashMap<IpAddr, Instant>,
    /// When those that are forgiven were last taken out of a full memory.
    cleared: Option<Instant>,
}

impl Memory {
    /// Notes a bad key, and says how long its answer is to be kept back.
    fn note(&self, address: IpAddr, now: Instant) -> Duration {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Addresses { until, cleared } = &mut *addresses;
        if until.len() >= MOST && cleared.is_none_or(|cleared| now >= cleared + EACH) {
            *cleared = Some(now);
            until.retain(|_, until| *until > now);
        }
        let is_known = until.len() < MOST || until.contains_key(&address);
        let until = until.entry(if is_known { address } else { Ipv6Addr::UNSPECIFIED.into() }).or_insert(now);
        // Bounded, so that a flood is forgiven as soon as what came before it.
        *until = (*until).max(now).min(now + EACH * FREE + LONGEST) + EACH;
        until.duration_since(now).saturating_sub(EACH * FREE).min(LONGEST)
    }
}

/// One address, or what one customer of a provider has of them.
fn of_one(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// The service of [`SlowBadKeysLayer`].
#[derive(Clone, Debug)]
pub(super) struct SlowBadKeys<S> {
    inner: S,
    memory: Arc<Memory>,
}

impl<S, Q, B> Service<Request<Q>> for SlowBadKeys<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = SlowBadKeysFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> SlowBadKeysFuture<S::Future, B> {
        // Mounted in another server, nobody says who asks, and nobody is slowed.
        let peer = request.extensions().get::<Connection>().map(|connection| of_one(connection.peer().ip()));
        let memory = peer.map(|peer| (peer, Arc::clone(&self.memory)));
        SlowBadKeysFuture { inner: self.inner.call(request), memory, kept: None }
    }
}

/// The response future of [`SlowBadKeys`].
#[pin_project]
pub(super) struct SlowBadKeysFuture<F, B> {
    #[pin]
    inner: F,
    memory: Option<(IpAddr, Arc<Memory>)>,
    /// An answer that is kept back.
    kept: Option<Box<Kept<B>>>,
}

/// An answer, and the time until it may go.
struct Kept<B> {
    sleep: Pin<Box<Sleep>>,
    response: Option<Response<B>>,
}

impl<F, B, E> Future for SlowBadKeysFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.kept.is_none() {
            let response = ready!(this.inner.poll(cx))?;
            let is_bad_key =
                response.extensions().get::<ErrorAnswer>().is_some_and(|answer| answer.code() == INVALID_KEY);
            let wait = match this.memory {
                Some((address, memory)) if is_bad_key => memory.note(*address, Instant::now()),
                _ => Duration::ZERO,
            };
            if wait.is_zero() {
                return Poll::Ready(Ok(response));
            }
            let sleep = Box::pin(tokio::time::sleep(wait));
            *this.kept = Some(Box::new(Kept { sleep, response: Some(response) }));
        }
        let Kept { sleep, response } = this.kept.as_deref_mut().expect("it is there, or was put there just now");
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Ok(response.take().expect("a future is not polled after it is ready")))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::StatusCode;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    /// Answers as the keys do: a path that starts with `/good` has a good one.
    async fn ask(layer: &SlowBadKeysLayer, path: &str, peer: Option<&str>) -> Duration {
        let keys = service_fn(async |request: Request<()>| {
            let good = request.uri().path().starts_with("/good");
            let bad = || ErrorAnswer::new(StatusCode::UNAUTHORIZED, INVALID_KEY, "no").into_response::<String>();
            Ok::<_, std::convert::Infallible>(if good {
                Response::new(pointsman_layers::body::AnswerBody::own(""))
            } else {
                bad()
            })
        });
        let mut request = Request::get(path).body(()).unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(Connection::new(SocketAddr::new(peer.parse().unwrap(), 1)));
        }
        let start = Instant::now();
        layer.layer(keys).oneshot(request).await.unwrap();
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn bad_keys_of_one_address_are_slowed_and_good_ones_are_not() {
        let layer = SlowBadKeysLayer::default();
        let (mallory, alice) = (Some("192.0.2.1"), Some("192.0.2.2"));
        for _ in 0..FREE {
            assert_eq!(ask(&layer, "/bad", mallory).await, Duration::ZERO);
        }
        for _ in 0..5 {
            assert_eq!(ask(&layer, "/bad", mallory).await.as_secs(), 1);
            assert_eq!(ask(&layer, "/good", mallory).await, Duration::ZERO);
            assert_eq!(ask(&layer, "/bad", alice).await, Duration::ZERO);
            assert_eq!(ask(&layer, "/bad", None).await, Duration::ZERO);
        }
        // The same address in another form.
        assert_eq!(ask(&layer, "/bad", Some("::ffff:192.0.2.1")).await.as_secs(), 1);
        tokio::time::advance(EACH * FREE).await;
        assert_eq!(ask(&layer, "/bad", mallory).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn asked_at_once_each_waits_for_those_before_it_up_to_a_limit() {
        let memory = Memory::default();
        let (address, now) = ("2001:db8::1".parse().unwrap(), Instant::now());
        let waits: Vec<_> = (0..FREE + 20).map(|_| memory.note(address, now).as_secs()).collect();
        assert_eq!(waits[..20], [0; 20]);
        assert_eq!(waits[20..32], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10]);
        assert_eq!(waits.last(), Some(&10));
        // However many there were, they are forgiven in time.
        for _ in 0..10_000 {
            memory.note(address, now);
        }
        assert_eq!(memory.note(address, now + EACH * FREE + LONGEST + EACH), Duration::ZERO);
    }

    #[test]
    fn addresses_of_one_customer_count_as_one() {
        let of = |text: &str| of_one(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let (memory, now) = (Memory::default(), Instant::now());
        for number in 0..2 * MOST as u32 {
            memory.note(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(memory.0.lock().unwrap().until.len() <= MOST + 1);
        // Those of long ago make place.
        let later = now + Duration::from_secs(3600);
        assert_eq!(memory.note("192.0.2.1".parse().unwrap(), later), Duration::ZERO);
        assert!(memory.0.lock().unwrap().until.len() < 10);
    }
}
