//! What the parts of one connection know together.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::heads::Fault;
use crate::gateway::connection::Connection;

/// A connection, as its reader, its service and its driver see it. One task does nearly all of the writing, so the
/// atomics are for the requests of HTTP/2, which have tasks of their own.
#[derive(Debug)]
pub(super) struct State {
    /// What the service knows of it.
    connection: Connection,
    born: Instant,
    /// How many requests the service was given.
    taken: AtomicU64,
    in_flight: AtomicUsize,
    /// When the last request ended, or when the last of its answer left, in milliseconds since `born`; `JUST_NOW` until
    /// somebody asks.
    idle_since: AtomicU64,
    /// When the head began that is not yet whole, likewise; `NEVER` without one.
    head_since: AtomicU64,
    /// The request that is at fault, and which fault it has.
    fault_at: AtomicU64,
    fault: AtomicU8,
    /// The time for a head is over.
    expired: AtomicBool,
    is_cut: AtomicBool,
}

const NEVER: u64 = u64::MAX;

/// Whoever drives the connection asks right after it, so the clock is read once and not at each step.
const JUST_NOW: u64 = NEVER - 1;

impl State {
    pub(super) fn new(peer: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            connection: Connection::new(peer),
            born: Instant::now(),
            taken: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NEVER),
            fault_at: AtomicU64::new(NEVER),
            fault: AtomicU8::new(0),
            expired: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
        })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(JUST_NOW - 1)
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.born + Duration::from_millis(milliseconds)
    }

    /// A head has begun, or is whole.
    pub(super) fn set_inside_head(&self, inside: bool) {
        self.head_since.store(if inside { self.now() } else { NEVER }, SeqCst);
    }

    pub(super) fn set_fault(&self, request: u64, fault: Fault) {
        self.fault.store(fault as u8, SeqCst);
        self.fault_at.store(request, SeqCst);
    }

    /// Counts the next request in, and tells what is wrong with its head.
    pub(super) fn take(self: &Arc<Self>) -> (InFlight, Option<Fault>) {
        let number = self.taken.fetch_add(1, SeqCst);
        self.in_flight.fetch_add(1, SeqCst);
        (InFlight(Arc::clone(self)), self.fault_of(number))
    }

    fn fault_of(&self, request: u64) -> Option<Fault> {
        (self.fault_at.load(SeqCst) == request).then(|| match self.fault.load(SeqCst) {
            fault if fault == Fault::BareLineFeed as u8 => Fault::BareLineFeed,
            fault if fault == Fault::TooLarge as u8 => Fault::TooLarge,
            _ => Fault::TwoFramings,
        })
    }

    /// How many requests the service was given, if all of them are answered.
    pub(super) fn answered(&self) -> Option<u64> {
        (self.in_flight.load(SeqCst) == 0).then(|| self.taken.load(SeqCst))
    }

    /// What is wrong with the head of the request that comes next.
    pub(super) fn next_fault(&self) -> Option<Fault> {
        self.fault_of(self.taken.load(SeqCst))
    }

    /// What the connection waits for, and since when; nothing while it has requests to answer.
    pub(super) fn waits(&self) -> Option<Waits> {
        if self.in_flight.load(SeqCst) > 0 {
            return None;
        }
        let mut idle_since = self.idle_since.load(SeqCst);
        if idle_since == JUST_NOW {
            idle_since = self.now();
            self.idle_since.store(idle_since, SeqCst);
        }
        Some(match self.head_since.load(SeqCst) {
            NEVER => Waits::ForRequest { since: self.at(idle_since) },
            // A head that came while the request before it was answered could not be read on.
            head_since => Waits::ForHead { since: self.at(head_since.max(idle_since)) },
        })
    }

    /// Something happens: a connection without a request has waited from now on.
    pub(super) fn touch(&self) {
        self.idle_since.store(JUST_NOW, SeqCst);
    }

    /// Something was sent. While a request is under way nobody asks when.
    pub(super) fn has_sent(&self) {
        if self.in_flight.load(SeqCst) == 0 {
            self.touch();
        }
    }

    /// What is under way has to come to its end now.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, SeqCst);
        self.connection.cut_now();
    }

    pub(super) fn expire(&self) {
        self.expired.store(true, SeqCst);
    }

    pub(super) fn is_expired(&self) -> bool {
        self.expired.load(SeqCst)
    }
}

/// What a connection without a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// The rest of a head.
    ForHead { since: Instant },
    /// The first byte of a request.
    ForRequest { since: Instant },
}

/// A request that is under way, until its answer has been read or dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<State>);

impl InFlight {
    /// Whether it has to come to its end now.
    pub(super) fn is_cut(&self) -> bool {
        self.0.is_cut.load(SeqCst)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_a_connection_waits_for_and_since_when() {
        let state = State::new(([127, 0, 0, 1], 1).into());
        let start = Instant::now();
        assert_eq!(state.waits(), Some(Waits::ForRequest { since: start }));

        tokio::time::advance(SECOND).await;
        state.set_inside_head(true);
        tokio::time::advance(SECOND).await;
        assert_eq!(state.waits(), Some(Waits::ForHead { since: start + SECOND }));

        state.set_inside_head(false);
        let (request, fault) = state.take();
        assert_eq!((state.waits(), fault), (None, None));
        // The next head is here already, and its time begins when this request is over.
        state.set_inside_head(true);
        tokio::time::advance(SECOND).await;
        drop(request);
        assert_eq!(state.waits(), Some(Waits::ForHead { since: start + 3 * SECOND }));

        // A client that still reads the answer is not idle.
        state.set_inside_head(false);
        tokio::time::advance(SECOND).await;
        state.has_sent();
        assert_eq!(state.waits(), Some(Waits::ForRequest { since: start + 4 * SECOND }));
    }

    #[tokio::test]
    async fn a_fault_belongs_to_one_request() {
        let state = State::new(([127, 0, 0, 1], 1).into());
        state.set_fault(1, Fault::BareLineFeed);
        let faults: Vec<_> = (0..3).map(|_| state.take().1).collect();
        assert_eq!(faults, [None, Some(Fault::BareLineFeed), None]);
    }
}
