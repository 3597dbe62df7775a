//! Bodies: a request body that can be sent again, a response body that reports its end, and a reader for event streams.
//!
//! [`CollectLayer`] reads a request body once, up to a limit, into a [`ReplayBody`]. From then on a retry or a fallback
//! clones a few pointers, and a changed `model` is a [`splice`](ReplayBody::splice) that copies nothing. A [`ReportBody`]
//! tells how a response body ended, for whatever is counted or held until then.
//!
//! [`EventReader`] finds the events of a stream while it passes through; [`EventCollector`] lets one look into them.

mod answer;
mod collect;
mod replay;
mod report;
mod sse;

pub use self::{
    answer::{AnswerBody, ErrorAnswer},
    collect::{Collect, CollectFuture, CollectLayer},
    replay::ReplayBody,
    report::{BodyEnd, Report, ReportBody},
    sse::{Event, EventCollector, EventReader, EventTooLarge, Fields},
};
